"""Weight files that mean harm, and what reading each of them costs.

python tests/pretrained/hostile_files.py FOLDER    # reads all files of a folder, a line for each
"""

import io
import itertools
import json
import os
import pathlib
import pickle
import resource
import struct
import sys
import time
import zipfile
import zlib

import h5py
import numpy as np
import old_torch_files
from caffe_nets import field, varint

MANY = 1 << 20
MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, 2)
# What a file may cost, and what this process may have while it reads one.
MOST_GROWTH, MOST_SPARE, MOST_SECONDS = 8, 64 << 20, 2.0
LIMIT = 3 << 30


# ---- PyTorch


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def plain(value):
    """A value's pickle without its frame and memo."""
    return pickle.dumps(value, 2)[2:-1].replace(b"q\0", b"")


def tensor(shape=(4,), strides=(1,), offset=0, count=4, kind="FloatStorage", key="0", view=b""):
    storage = b"(" + text("storage") + f"ctorch\n{kind}\n".encode() + text(key) + text("cpu")
    storage += plain(count) + view + b"tQ"
    shape, strides = (b"(" + b"".join(map(plain, x)) + b"t" for x in (shape, strides))
    call = b"ctorch._utils\n_rebuild_tensor_v2\n("
    return call + storage + plain(offset) + shape + strides + b"\x89}tR"


def state(**tensors):
    return b"\x80\x02}(" + b"".join(text(k) + v for k, v in tensors.items()) + b"u."


def torch_zip(pickled, *storages, compression=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("x/data.pkl", pickled)
        for key, data in enumerate(storages):
            archive.writestr(f"x/data/{key}", data)
    return file.getvalue()


def legacy(content, keys=("0",), counts=(4,), data=bytes(16)):
    begin = MAGIC + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2)
    lengths = b"".join(struct.pack("<q", count) for count in counts)
    return begin + content + pickle.dumps(list(keys), 2) + lengths + data


def pickles():
    """Pickles that cost too much, or do what one of tensors does not."""
    for name, operation in {
        "lists": b"]",
        "dicts": b"}",
        "sets": b"\x8f",
        "marks": b"(",
        "nones": b"N",
        "memo": b"N\x94",
        "lists in the memo": b"]\x94",
        "long texts": b"\x8c\x01\xc3" + b"\xa9",
        "ordered dicts": b"ccollections\nOrderedDict\n)R",
        "floats": b"G" + bytes(8),
        "tuples": b")\x85",
    }.items():
        yield f"many {name}", b"\x80\x04N" + operation * (MANY // len(operation)) + b"."
    yield "nested lists", b"\x80\x02N" + b"\x85" * MANY + b"."
    yield "doubled tuples as key", b"\x80\x02})" + b"2\x86" * 60 + b"Ns."
    yield (
        "doubled dicts",
        b"\x80\x02}" + b"}(" + b"".join(text(k) + b"h\1" for k in ("model", "net")) + b"u.",
    )
    long = b"\x8b" + struct.pack("<i", MANY) + b"\x01" * MANY
    yield "a long number as key", b"\x80\x02}" + long + b"q\1" + b"h\1Nsh\1" * 50_000 + b"N."
    keys = b"".join(b"\x8a\x08" + struct.pack("<q", (i + 1) << 40) + b"N" for i in range(60_000))
    yield "numbers of one hash", b"\x80\x02}(" + keys + b"u."
    size = b"ctorch\nSize\nq\0B" + struct.pack("<I", 1 << 16) + bytes(1 << 16) + b"q\1"
    yield "sizes", b"\x80\x02" + size + b"](" + b"h\0h\1\x85R" * 4000 + b"e."
    pairs = b"](" + (b"N" + b"N\x86") * 10_000 + b"eq\1"
    ordered = b"ccollections\nOrderedDict\nq\0" + pairs
    yield "copied dicts", b"\x80\x02" + ordered + b"](" + b"h\0h\1\x85R" * 50_000 + b"e."
    yield "memo of terabytes", b"\x80\x02Nr\xff\xff\xff\x7f."
    yield "memo of text", b"\x80\x02Np99999999999\n."
    yield "frame of terabytes", b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"N."
    yield "bytes of terabytes", b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"a."
    yield "buffer of terabytes", b"\x80\x05\x96" + struct.pack("<Q", 2**42) + b"."
    yield "extension", b"\x80\x02\x82\x01."
    yield "a persistent text", b"P0\n."
    yield "a persistent number", b"\x80\x02K\1Q."
    yield "laughs as storage", b"\x80\x02]" + b"2\x86" * 60 + b"Q."
    yield "global of numbers", b"\x80\x04K\1K\1\x93."
    yield "call of a text", b"\x80\x02" + text("a") + b")R."
    yield "call of a storage", b"\x80\x02ctorch\nFloatStorage\n)R."
    yield "call without a tuple", b"\x80\x02ctorch\nSize\nK\1R."
    yield (
        "attributes of a dtype",
        (b"\x80\x02ctorch\nBFloat16Storage\n(K\3" + text("<") + b"NNNJ\0\x10\0\0K\1K\0tb0}."),
    )
    yield (
        "attributes of a function",
        (
            b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(N}"
            + text("__defaults__")
            + b"K\5\x85stb0}."
        ),
    )
    yield "attributes of a list", b"\x80\x02]}b."
    yield "items of a function", b"\x80\x02ctorch\nSize\nNNs."
    yield "stack underflow", b"\x80\x02tttt."
    yield "pop of nothing", b"0000."
    yield "endless line", b"c" + b"a" * MANY
    yield "long text number", b"L" + b"9" * MANY + b"L\n."


def tensors():
    """State dicts whose tensors lie."""
    yield "repeated number", state(w=tensor((1 << 40,), (0,)))
    yield "beyond", state(w=tensor(offset=2))
    yield "before", state(w=tensor((2,), (-1,), 2))
    yield "strides of 2^62", state(w=tensor((2, 2), (2**62, 1)))
    yield "empty and huge", state(w=tensor((0, 2**62), (1, 1)))
    yield "many dimensions", state(w=tensor((1,) * 70, (1,) * 70))
    yield "shape and strides differ", state(w=tensor((2, 2), (1,)))
    yield "a shape of texts", state(w=tensor(("a",), (1,)))
    yield "a true dimension", state(w=tensor((True,), (1,)))
    yield "negative count", state(w=tensor(count=-4))
    yield "two types", state(w=tensor(), v=tensor(kind="IntStorage"))
    yield "two sizes", state(w=tensor(), v=tensor(count=3))
    yield "another size", state(w=tensor(count=5))
    yield "no storage", state(w=tensor(key="7"))
    yield "a part beyond", state(w=tensor(view=b"(" + text("v") + b"K\2K\3t"))
    yield "a long name", state(**{"w" * MANY: tensor((9,))})
    yield "twice", b"\x80\x02}(" + (text("w") + tensor()) * 2 + b"u."


def torch_files():
    for name, content in itertools.chain(pickles(), tensors()):
        yield f"{name}.zip.pth", torch_zip(content, bytes(16))
        yield f"{name}.legacy.pth", legacy(content)
    count = 1 << 18
    views = {f"{i:08}": tensor((count,), count=count) for i in range(300)}
    yield "views.pth", torch_zip(state(**views), bytes(4 * count))
    yield "compressed.pth", torch_zip(bytes(20 << 20), compression=zipfile.ZIP_DEFLATED)
    good = state(w=tensor())
    yield "two counts.pth", legacy(good, counts=(-1,))
    yield "count of terabytes.pth", legacy(state(w=tensor(count=2**40)), counts=(2**40,))
    yield "keys of terabytes.pth", legacy(good, keys=("0",) * 1000, counts=(4,) * 1000)
    yield "unknown key.pth", legacy(good, keys=(("0",),))
    yield "cut within numbers.pth", legacy(good, data=bytes(7))
    yield "cut within the pickle.pth", legacy(good)[:120]
    yield "tar.pth", bytes(257) + b"ustar" + bytes(1000)
    yield from tar_files()
    yield "no data.pth", zipped({"a": b"b"})


def tar_files():
    """PyTorch 0.1's: the tar of a good one, whose parts lie."""
    good = old_torch_files.of_01(old_torch_files.ARRAYS, view=(4, 5))
    size = b"%011o" % 24
    yield "tar of terabytes.pth", good[:124] + b"77777777777" + good[135:]
    yield "tar of no size.pth", good[:124] + b"x" * 11 + good[135:]
    yield "tar of tars.pth", (good[:124] + size + good[135:512]) * 10_000
    for name, old, new in (
        ("storages", b"K\2.", b"J\xff\xff\xff\x7f."),
        ("storage", struct.pack("<q", 24), struct.pack("<q", 2**60)),
        ("negative storage", struct.pack("<q", 24), struct.pack("<q", -(2**60))),
        ("dimensions", struct.pack("<q", 3), struct.pack("<q", 2**31 - 1)),
        ("strides", struct.pack("<3q", 12, 4, 1), struct.pack("<3q", 2**62, 4, 1)),
        ("view", b"K\4K\5", b"K\xffK\xff"),
        ("reference", b"2000", b"9999"),
        ("a longer reference", b"2000", b"2" * 9000),
    ):
        yield f"tar of {name}.pth", good.replace(old, new)


# ---- zip archives


def zipped(members, compression=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def npy(shape, descr="<f4", data=b"", fortran=False):
    file = io.BytesIO()
    header = {"descr": descr, "fortran_order": fortran, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + data


def raw_npy(header):
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header


def patched(content, at_central, value):
    """An archive with other bytes in every entry of its central directory."""
    content = bytearray(content)
    at = content.find(b"PK\1\2")
    while at >= 0:
        content[at + at_central : at + at_central + len(value)] = value
        at = content.find(b"PK\1\2", at + 4)
    return bytes(content)


def npz_files():
    one = zipped({"a.npy": npy((2,), data=bytes(8))})
    yield "bomb.npz", zipped({"a.npy": npy((1 << 24,), data=bytes(1 << 26))}, zipfile.ZIP_DEFLATED)
    hidden = zipped({"a.npy": npy((2,), data=bytes(1 << 26))}, zipfile.ZIP_DEFLATED)
    checksum = struct.pack("<I", zlib.crc32(npy((2,), data=bytes(8))))
    lying = patched(patched(hidden, 24, struct.pack("<I", 136)), 16, checksum)
    yield "bomb that says it is small.npz", lying
    yield "many.npz", zipped({f"{i}.npy": npy((0,)) for i in range(12_000)})
    entry = one[one.find(b"PK\1\2") : one.find(b"PK\5\6")]
    number = 200_000
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, number * len(entry), 0, 0)
    yield "entries alone.npz", entry * number + end
    yield "encrypted.npz", patched(one, 8, b"\1\0")
    yield "wrong checksum.npz", patched(one, 16, b"abcd")
    yield "longer than it is.npz", patched(one, 20, struct.pack("<II", 1 << 30, 1 << 30))
    yield "zip64 of terabytes.npz", patched(one, 20, b"\xff" * 8)
    yield "begins elsewhere.npz", patched(one, 42, struct.pack("<I", 1 << 30))
    for method in (9, 12, 14, 93):
        yield f"method {method}.npz", patched(one, 10, struct.pack("<H", method))
    for name, compression in (("bzip2", zipfile.ZIP_BZIP2), ("lzma", zipfile.ZIP_LZMA)):
        yield f"{name}.npz", zipped({"a.npy": npy((2,), data=bytes(1 << 24))}, compression)
    yield "no deflate.npz", patched(one, 10, struct.pack("<H", 8))
    twice = zipped({"a.npy": npy((2,), data=bytes(8)), "b.npy": npy((2,), data=bytes(8))})
    yield "twice.npz", twice.replace(b"b.npy", b"a.npy")
    yield "twice without a suffix.npz", zipped({"a.npy": npy((0,)), "a": npy((0,))})
    shared = bytearray(zipped({f"{i}.npy": npy((1 << 16,), data=bytes(1 << 18)) for i in range(9)}))
    yield "members in one place.npz", patched(bytes(shared), 42, bytes(4))
    for name, header in {
        "objects": npy((1,), "|O", pickle.dumps(0)),
        "huge shape": npy((1 << 60, 1 << 60)),
        "negative shape": npy((-1,)),
        "no bytes each": npy((1 << 50,), "|V0"),
        "no characters each": npy((1 << 50,), "<U0"),
        "structured": npy((1,), [("a", "<f4"), ("b", "<f8")], bytes(12)),
        "arrays of arrays": npy((1,), [("a", "<f4", (1 << 28,))], bytes(4)),
        "texts": npy((2,), "<U3", bytes(24)),
        "dates": npy((2,), "<M8[D]", bytes(16)),
        "complex": npy((1,), "<c16", bytes(16)),
        "empty and huge": npy((0, 1 << 62)),
        "too long": npy((2,), data=bytes(99)),
        "deep header": raw_npy(b"(" * 60_000),
        "header of dicts": raw_npy(b"[{}" + b",{}" * 20_000 + b"]"),
        "open quote": raw_npy(b"{'descr': '''"),
        "no header": raw_npy(b""),
        "dimensions": npy((1,) * 100, data=bytes(4)),
        "large dimension": raw_npy(b"{'descr':'<f4','fortran_order':False,'shape':(" + b"9" * 9000),
        "version 3": b"\x93NUMPY\3\0" + bytes(10),
    }.items():
        yield f"{name}.npz", zipped({"a.npy": header})


# ---- safetensors, Caffe, HDF5


def safetensors(header, data=b"", length=None):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def safetensors_files():
    def entry(start=0, end=4, shape=(1,), dtype="F32"):
        return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}

    for name, header in {
        "lists": b'{"__metadata__":[' + b"{}," * MANY + b"{}]}",
        "short lists": b'{"__metadata__":[' + b"{}," * 100_000 + b"{}]}",
        "deep": b'{"a":' + b"[" * 100_000,
        "long number": b'{"a":' + b"9" * 100_000 + b"}",
        "overlap": {f"t{i}": entry() for i in range(1000)},
        "gap": {"a": entry(4, 8)},
        "short": {"a": entry(0, 4000, (1000,))},
        "huge shape": {"a": entry(shape=[1 << 62, 1 << 62])},
        "huge and empty": {"a": entry(0, 0, shape=[0, 1 << 62])},
        "many dimensions": {"a": entry(shape=[1] * 80)},
        "no list": {"a": entry(shape={"0": 1})},
        "floats": {"a": entry(0.0, 4.0)},
        "true": {"a": entry(False, 4, [True])},
        "a list of dtypes": {"a": entry(dtype=["F32"])},
        "one offset": {"a": {"dtype": "F32", "shape": [1], "data_offsets": [4]}},
        "twice": b'{"a":%b,"a":%b}' % ((json.dumps(entry()).encode(),) * 2),
        "empty ones": {f"{i}": entry(0, 0, [0]) for i in range(50_000)},
        "utf-16": json.dumps({"a": entry()}).encode("utf-16"),
        "text": b'"a"',
    }.items():
        yield f"{name}.safetensors", safetensors(header, bytes(8))
    for length in (2**63, 2**40, 3):
        yield f"header of {length}.safetensors", safetensors(b"{}", length=length)


def caffe_files():
    named = field(1, b"x")
    for name, layer in {
        "blobs": named + b"\x3a\x00" * (MANY // 2),
        "data": named + field(7, b"\x2a\x00" * (MANY // 2)),
        "numbers": named + field(7, (b"\x2d" + bytes(4)) * (MANY // 5)),
        "dimensions": named + field(7, field(7, field(1, varint(300) * MANY))),
        "shapes": named + field(7, field(7, field(1, varint(300) * 30)) * 30_000),
        "varints": named + (b"\x10" + b"\xff" * 9 + b"\x01") * (MANY // 11),
        "long name": field(1, b"x" * MANY) + b"\x3a\x00" * 9000,
        "huge shape": named
        + field(7, field(7, field(1, varint(2**63) * 30)) + field(5, bytes(16))),
        "two precisions": named + field(7, field(5, bytes(4)) + field(8, bytes(8))),
        "huge length": named + varint(7 << 3 | 2) + varint(2**62),
        "name of bytes": field(1, b"\xff\xfe") + field(7, b""),
    }.items():
        yield f"{name}.caffemodel", field(100, layer)
    layers = (field(100, field(1, b"%x" % i) + b"\x3a\x00") for i in range(60_000))
    yield "layers.caffemodel", b"".join(layers)
    yield "endless number.caffemodel", b"\xa2\x06" + b"\xff" * MANY
    yield "groups.caffemodel", b"\xa3\x06" * 1000


MAKERS = {
    "pth": torch_files,
    "npz": npz_files,
    "safetensors": safetensors_files,
    "caffemodel": caffe_files,
}


def write_h5(folder):
    """Writes the files: HDF5 has no bytes without one."""

    def new(name, **options):
        return h5py.File(folder / f"{name}.h5", "w", **options)

    with new("external") as file:
        file.create_dataset("a", (10,), np.uint8, external=[("/etc/passwd", 0, 10)])
    with new("links") as file:
        file["out"] = h5py.ExternalLink("/etc/passwd", "/")
        file["soft"], file["loop"] = h5py.SoftLink("/nowhere"), h5py.SoftLink("/loop")
    with new("rings") as file:
        file["a/b/c"] = np.zeros(3, np.float32)
        file["a/b/again"] = file["a"]
        for i in range(1000):
            file[f"a/{i}"] = file["a/b"]
    with new("virtual") as file:
        layout = h5py.VirtualLayout((10,), np.float32)
        layout[:] = h5py.VirtualSource("/etc/passwd", "a", (10,))
        file.create_virtual_dataset("a", layout)
    with new("never written") as file:
        file.create_dataset("a", (1 << 40,), np.float32)
        file.create_dataset("b", (1 << 40,), np.float32, chunks=(1 << 20,))
    with new("compressed") as file:
        file.create_dataset("a", data=np.zeros(1 << 24, np.float32), compression=9)
    with new("one compressed chunk") as file:
        content = zlib.compress(bytes(1 << 26))
        chunk = file.create_dataset("a", (1024,), np.uint8, chunks=(1024,), compression=9)
        chunk.id.write_direct_chunk((0,), content)
    with new("unknown filter") as file:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((4,))
        plist.set_filter(32015, h5py.h5z.FLAG_OPTIONAL)
        space = h5py.h5s.create_simple((4,))
        h5py.h5d.create(file.id, b"a", h5py.h5t.NATIVE_FLOAT, space, plist)
    with new("no numbers") as file:
        file["texts"] = ["a", "b"]
        file["structured"] = np.zeros(3, [("a", "f4"), ("b", "f8")])
        file.create_dataset("references", data=np.array([file.ref], dtype=h5py.ref_dtype))
    with new("attributes", libver="latest") as file:
        file.attrs["a"] = np.zeros(1 << 20, np.uint8)
    with new("objects") as file:
        for i in range(11_000):
            file.create_group(f"{i}")
    size = 1 << 20
    with new("overlap", libver="earliest") as file:
        file.create_dataset("real", data=np.zeros(size, np.uint8))
        begin = file["real"].id.get_offset()
        for i in range(100):
            file.create_dataset(f"{i}", (size,), np.uint8)
    path = folder / "overlap.h5"
    unwritten = b"\xff" * 8 + struct.pack("<Q", size)
    path.write_bytes(path.read_bytes().replace(unwritten, struct.pack("<QQ", begin, size)))
    (folder / "cut.h5").write_bytes(path.read_bytes()[: 1 << 19])


def write(folder):
    """Writes all files into a folder."""
    for name, content in itertools.chain(*(make() for make in MAKERS.values())):
        (folder / name).write_bytes(content)
    write_h5(folder)
    for suffix in ("pth", "npz", "safetensors", "caffemodel", "h5"):
        (folder / f"empty.{suffix}").write_bytes(b"")
        (folder / f"random.{suffix}").write_bytes(np.random.default_rng(0).bytes(100_000))
        (folder / f"folder.{suffix}").mkdir()
        os.mkfifo(folder / f"pipe.{suffix}")
        (folder / f"device.{suffix}").symlink_to("/dev/zero")
        (folder / f"loop.{suffix}").symlink_to(f"loop.{suffix}")
        (folder / f"text.{suffix}").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")


# ---- the measurement


def cost(path):
    """Reads a file in a process of its own, under a limit of memory; what it said and took."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reader)
        os.write(writer, json.dumps(_cost_here(path)).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(pid, 0)
    if not said:
        return {"name": path.name, "said": f"status {status}", "fits": False}
    return json.loads(said)


def _cost_here(path):
    from ssd_jax.pretrained import files

    usage = resource.getrusage
    before = usage(resource.RUSAGE_SELF).ru_maxrss
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT))
    began, busy = time.monotonic(), time.process_time()
    read = True
    try:
        said = f"{len(files.read(path))} arrays"
    except ValueError as error:
        said, read = str(error), False
    except BaseException as error:
        said, read = f"ESCAPED {type(error).__name__} {error}", None
    wall = time.monotonic() - began
    children = usage(resource.RUSAGE_CHILDREN)
    seconds = time.process_time() - busy + children.ru_utime + children.ru_stime
    memory = 1024 * (usage(resource.RUSAGE_SELF).ru_maxrss - before)
    size = path.stat().st_size if path.is_file() else 0
    fits = read is not None and (read or said.startswith("pretrained: "))
    fits &= memory <= MOST_GROWTH * size + MOST_SPARE and seconds <= MOST_SECONDS
    return {
        "name": path.name,
        "fits": bool(fits and len(said) < 1200),
        "megabytes": round(memory / 1e6, 1),
        "megabytes of the reader's process": round(children.ru_maxrss / 1e3, 1),
        "seconds": round(seconds, 2),
        "wall": round(wall, 2),
        "said": said,
    }


if __name__ == "__main__":
    from ssd_jax.pretrained import files

    assert files.FORMATS  # imported before the first fork
    for each in sorted(pathlib.Path(sys.argv[1]).iterdir()):
        print(json.dumps(cost(each)), flush=True)
