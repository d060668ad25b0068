"""Files of weights: what they hold, and that none of them can do harm."""

import io
import json
import os
import pathlib
import pickle
import struct
import subprocess
import sys
import tracemalloc
import zipfile

import fuzz_files
import h5py
import hostile_files
import ml_dtypes
import numpy as np
import old_torch_files
import pytest
from caffe_nets import blob, field, varint
from weight_files import (
    BIAS,
    GOLDENS,
    KERNEL,
    WRITERS,
    write_caffemodel,
    write_keras,
    write_safetensors,
)

from ssd_jax.pretrained import files

HERE = pathlib.Path(__file__).parent


@pytest.mark.parametrize("name", ["zip", "legacy", "nested"])
def test_pytorch(name):
    arrays = files.read(GOLDENS / f"{name}.pth")
    numbers = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    expected = {
        "conv.weight": numbers,
        "transposed": numbers.transpose(2, 0, 1),
        "part": numbers[1, 1:],
        "half": np.array([0.5, -1.25], np.float16),
        "brain": np.array([1.5, 3.0], ml_dtypes.bfloat16),
        "steps": np.array(7),
        "mask": np.array([True, False]),
    }
    assert list(arrays) == list(expected)
    for key, value in expected.items():
        assert arrays[key].dtype == value.dtype
        np.testing.assert_array_equal(arrays[key], value)


def test_pytorch_before_0_4(tmp_path):
    """`_rebuild_tensor`, Python 2's texts, parameters in place of tensors, and a tar."""
    path = tmp_path / "x.pth"
    for content in (
        old_torch_files.of_03(old_torch_files.ARRAYS),
        old_torch_files.of_03(old_torch_files.ARRAYS, as_parameters=("0.bias",)),
        old_torch_files.of_01(old_torch_files.ARRAYS),
    ):
        path.write_bytes(content)
        arrays = files.read(path)
        assert list(arrays) == list(old_torch_files.ARRAYS)
        for name, value in old_torch_files.ARRAYS.items():
            np.testing.assert_array_equal(arrays[name], value)


def test_pytorchs_storages_that_are_part_of_others(tmp_path):
    path = tmp_path / "x.pth"
    # Numbers 3 to 6 of the row; the tensor begins at the second of them.
    path.write_bytes(old_torch_files.of_03_with_a_view(np.arange(9.0), 3, 4))
    assert files.read(path)["part"].tolist() == [4.0, 5.0]
    path.write_bytes(old_torch_files.of_01(old_torch_files.ARRAYS, view=(4, 5)))
    assert files.read(path)["0.bias"].tolist() == [4.0, 5.0, 6.0, 7.0, 8.0]


def test_tied_weights_share_a_storage(tmp_path):
    path = tmp_path / "x.pth"
    tied = {name: hostile_files.tensor((1 << 20,), count=1 << 20) for name in "abc"}
    numbers = np.arange(1 << 20, dtype=np.float32)
    path.write_bytes(hostile_files.torch_zip(hostile_files.state(**tied), numbers.tobytes()))
    arrays = files.read(path)
    for name in tied:
        np.testing.assert_array_equal(arrays[name], numbers)


def test_a_compressed_npz_is_read_as_far_as_it_is_one_of_weights(tmp_path):
    path = tmp_path / "x.npz"
    values = np.random.default_rng(0).normal(size=(256, 256)).astype(np.float32)
    np.savez_compressed(path, a=values, zeros=np.zeros((512, 512), np.float32))
    np.testing.assert_array_equal(files.read(path)["a"], values)
    np.savez_compressed(path, a=np.zeros(1 << 24, np.float32))
    with pytest.raises(ValueError, match=r"more than 4 times .* save it again without compression"):
        files.read(path)


def test_what_is_no_number_is_left_out(tmp_path, caplog):
    path = tmp_path / "x.npz"
    np.savez(path, a=BIAS, names=np.array(["x", "y"]), big=BIAS.astype(">f4"))
    with caplog.at_level("INFO", "ssd_jax"):
        arrays = files.read(path)
    assert list(arrays) == ["a", "big"]
    np.testing.assert_array_equal(arrays["big"], BIAS)
    assert "names holds no numbers and is left out" in caplog.text


def test_caffe(tmp_path):
    write_caffemodel(tmp_path / "x.caffemodel")
    arrays = files.read(tmp_path / "x.caffemodel")
    assert list(arrays) == ["conv1/0", "conv1/1", "fc/0"]
    np.testing.assert_array_equal(arrays["conv1/0"], KERNEL)
    np.testing.assert_array_equal(arrays["conv1/1"], BIAS)
    np.testing.assert_array_equal(arrays["fc/0"], KERNEL[:1])


def test_safetensors_keras_and_npz(tmp_path):
    for name in ("x.safetensors", "x.npz"):
        WRITERS[name](tmp_path / name)
        arrays = files.read(tmp_path / name)
        np.testing.assert_array_equal(arrays["a"], KERNEL)
        np.testing.assert_array_equal(arrays["b"], BIAS)
    np.testing.assert_array_equal(arrays["fortran"], KERNEL[0, 0])
    write_keras(tmp_path / "x.h5")
    arrays = files.read(tmp_path / "x.h5")
    np.testing.assert_array_equal(arrays["model_weights/conv1/conv1/kernel:0"], KERNEL)
    assert len(arrays) == 2


def test_a_format_can_be_named(tmp_path):
    write_caffemodel(tmp_path / "weights.bin")
    assert "conv1/0" in files.read(tmp_path / "weights.bin", "caffe")
    with pytest.raises(ValueError, match=r"ends in one of \.npz, .*weights\.bin"):
        files.read(tmp_path / "weights.bin")


# ---- files that mean harm


class Command:
    def __reduce__(self):
        import os

        return os.system, ("touch harmed",)


def pickled(content, path):
    """A torch file with this pickle."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", content)
        archive.writestr("x/byteorder", "little")


def test_a_pickle_that_runs_a_command_is_refused_by_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for protocol in range(6):
        pickled(pickle.dumps({"a": Command()}, protocol), tmp_path / "x.pth")
        with pytest.raises(ValueError, match=r"it would call (posix|nt)\.system when it is loaded"):
            files.read(tmp_path / "x.pth")
        # The old format has no zip around it.
        (tmp_path / "y.pth").write_bytes(pickle.dumps(Command(), protocol))
        with pytest.raises(ValueError, match=r"it would call (posix|nt)\.system"):
            files.read(tmp_path / "y.pth")
    np.savez(tmp_path / "x.npz", a=np.array([Command()], object))
    with pytest.raises(ValueError, match="Python objects"):
        files.read(tmp_path / "x.npz")
    assert not (tmp_path / "harmed").exists()


def hostile_pickles():
    laughs = b"]"
    for _ in range(60):
        laughs += b"2\x86"  # DUP, TUPLE2: 2^60 elements when printed
    return {
        "memo of terabytes": b"\x80\x02Nr\xff\xff\xff\x7f.",  # LONG_BINPUT 2^31 - 1
        "buffer of terabytes": b"\x80\x05\x96" + struct.pack("<Q", 2**42) + b".",
        "long string": b"\x80\x04\x8d" + struct.pack("<Q", 2**42) + b"a.",
        "laughs": b"\x80\x02" + laughs + b"Q.",
        "extension": b"\x80\x02\x82\x01.",
        "nothing": b"",
        "no end": b"\x80\x02}",
        "text": b"not a pickle at all",
    }


@pytest.mark.parametrize("name", hostile_pickles())
def test_hostile_pickles(tmp_path, name):
    content = hostile_pickles()[name]
    pickled(content, tmp_path / "zip.pth")
    (tmp_path / "legacy.pth").write_bytes(content)
    for path in (tmp_path / "zip.pth", tmp_path / "legacy.pth"):
        refuses(path)


def busy():
    """Seconds of the processor, of HDF5's processes too: what else runs here does not count."""
    return sum(os.times()[:4])


def refuses(path):
    """The file is refused with its name in a message, at once, without much memory."""
    tracemalloc.start()
    began = busy()
    with pytest.raises(ValueError, match=r"^pretrained: ") as caught:
        files.read(path)
    took, (_, most) = busy() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert path.name in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert took < 1
    assert most < 20e6 + 10 * (path.stat().st_size if path.is_file() else 0)


def test_zip_bombs(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        header = io.BytesIO()
        np.save(header, np.zeros(0, np.float32))
        archive.writestr("a.npy", header.getvalue() + bytes(200_000_000))
    refuses(tmp_path / "x.npz")
    with zipfile.ZipFile(tmp_path / "x.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", bytes(200_000_000))
    refuses(tmp_path / "x.pth")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("a", (10**9,), "f4", chunks=(10**6,), compression="gzip")
    refuses(tmp_path / "x.h5")


def test_an_array_longer_than_its_file(tmp_path):
    header = io.BytesIO()
    description = {"descr": "<f4", "fortran_order": False, "shape": (10**12,)}
    np.lib.format.write_array_header_1_0(header, description)
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("a.npy", header.getvalue())
    refuses(tmp_path / "x.npz")


@pytest.mark.parametrize(
    "content",
    [
        field(100, field(1, b"a") + varint(7 << 3 | 2) + varint(2**62)),  # huge length
        field(100, field(1, b"a") + varint(7 << 3 | 2) + b"\xff" * 9 + b"\x01"),  # -1
        field(100, field(1, b"a") + b"\xff" * 20),  # an endless number
        field(100, field(7, field(5, bytes(8)) + field(7, field(1, varint(2**63))))),
        field(100, field(7, field(5, bytes(7)))),  # half a number
        field(100, field(1, b"a") + field(7, blob(BIAS))) * 2,  # one name twice
        field(100, field(1, b"a") + field(7, field(8, np.array([1e300]).tobytes()))),  # no float32
        b"\x0b",  # a group, which ends never
        b"",
    ],
)
def test_hostile_caffemodels(tmp_path, content):
    (tmp_path / "x.caffemodel").write_bytes(content)
    refuses(tmp_path / "x.caffemodel")


@pytest.mark.parametrize(
    "header",
    [
        {"a": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": [-8, 0]}},
        {"a": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}},
        {name: {"dtype": "F32", "shape": [26], "data_offsets": [0, 104]} for name in "ab"},
        {"a": [1]},
        {"a": {"dtype": "F32"}},
        [1],
    ],
)
def test_hostile_safetensors(tmp_path, header):
    write_safetensors(tmp_path / "x.safetensors", header)
    refuses(tmp_path / "x.safetensors")


def test_headers_longer_than_the_file(tmp_path):
    for length in (2**63, 200):
        (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", length) + b"{}")
        refuses(tmp_path / "x.safetensors")


@pytest.mark.parametrize("name", WRITERS)
def test_what_is_no_file_of_the_kind(tmp_path, name):
    refuses(tmp_path / name)  # not there
    (tmp_path / name).mkdir()
    refuses(tmp_path / name)
    (tmp_path / name).rmdir()
    for content in (b"", b"GIF89a" + bytes(1000)):
        (tmp_path / name).write_bytes(content)
        refuses(tmp_path / name)


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_that_is_cut_says_so(tmp_path, name):
    WRITERS[name](tmp_path / name)
    whole = (tmp_path / name).read_bytes().rstrip(b"\0")  # a tar ends in padding
    for part in (0.1, 0.5, 0.9):
        (tmp_path / name).write_bytes(whole[: int(part * len(whole))])
        with pytest.raises(ValueError, match="cut short") as caught:
            files.read(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)


def test_what_a_download_leaves_is_said(tmp_path):
    path = tmp_path / "x.pth"
    for content, said in (
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"<!doctype html><title>404</title>", "a web page"),
        (b"", "is empty"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=said):
            files.read(path)


def test_a_pickle_changes_nothing_that_this_process_uses(tmp_path):
    """Once it changed bfloat16's size, after which any conversion crashed."""
    for name, content in hostile_files.pickles():
        if "attributes" in name or "items" in name or "call" in name:
            (tmp_path / "x.pth").write_bytes(hostile_files.torch_zip(content))
            with pytest.raises(ValueError, match="no pickle of tensors"):
                files.read(tmp_path / "x.pth")
    assert np.dtype(ml_dtypes.bfloat16).itemsize == 2
    assert np.ones(3, np.float32).astype(ml_dtypes.bfloat16).tolist() == [1, 1, 1]
    assert files.read(GOLDENS / "zip.pth")["brain"].tolist() == [1.5, 3.0]


def run(script, *arguments):
    """A script of this folder, in a process of its own."""
    paths = os.pathsep.join(map(str, (HERE, HERE.parents[1])))
    return subprocess.run(
        [sys.executable, str(HERE / script), *arguments],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_no_hostile_file_costs_more_than_its_size_explains(tmp_path):
    """Each is read or refused in a process of its own, under a limit of memory."""
    hostile_files.write(tmp_path)
    done = run("hostile_files.py", str(tmp_path))
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(results) == len(list(tmp_path.iterdir())) > 200
    assert not [result for result in results if not result["fits"]]
    # These are right, however they look.
    read = {result["name"] for result in results if result["said"].endswith(" arrays")}
    assert read == {"bomb that says it is small.npz", "rings.h5"}


@pytest.mark.parametrize("suffix", ["pth", "npz", "safetensors", "caffemodel"])
def test_damaged_files_are_read_or_refused(suffix):
    assert fuzz_files.fuzz(suffix, 0, rounds=300) == (300, [])


def test_damaged_hdf5_files_are_read_or_refused():
    """Few: each takes a process."""
    assert fuzz_files.fuzz("h5", 0, rounds=8) == (8, [])


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["pth", "npz", "safetensors", "caffemodel", "h5"])
def test_damaged_files_under_a_limit_of_memory(suffix):
    """Half a minute each; the script goes on for longer."""
    done = run("fuzz_files.py", suffix, "30", "1")
    assert done.returncode == 0, done.stdout + done.stderr
