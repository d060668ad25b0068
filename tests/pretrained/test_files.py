"""Files of weights: what they hold, and that none of them can do harm."""

import io
import pickle
import struct
import time
import tracemalloc
import zipfile

import h5py
import ml_dtypes
import numpy as np
import pytest
from caffe_nets import blob, field, varint

from ssd_jax.pretrained import files


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


def refuses(path):
    """The file is refused with its name in a message, at once, without much memory."""
    tracemalloc.start()
    began = time.monotonic()
    with pytest.raises(ValueError, match=r"^pretrained: ") as caught:
        files.read(path)
    took, (_, most) = time.monotonic() - began, tracemalloc.get_traced_memory()
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
    WRITERS[name](tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    for part in (0.1, 0.5, 0.9):
        (tmp_path / name).write_bytes(whole[: int(part * len(whole))])
        read_or_refused(tmp_path / name)
