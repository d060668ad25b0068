"""Small files of every format that is read, as their own programs write them."""

import json
import pathlib
import struct

import h5py
import numpy as np
import old_torch_files
from caffe_nets import blob, field

GOLDENS = pathlib.Path(__file__).parent / "goldens"
KERNEL = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)
BIAS = np.array([0.5, -1], np.float32)


def write_caffemodel(path):
    new = field(1, b"conv1") + field(2, b"Convolution")
    new += field(7, blob(KERNEL)) + field(7, blob(BIAS))
    old = field(4, b"fc") + field(6, blob(KERNEL[:1], old=True))
    path.write_bytes(field(1, b"net") + field(100, new) + field(2, old))


def write_safetensors(path, header=None):
    header = header or {
        "__metadata__": {"format": "pt"},
        "b": {"dtype": "F32", "shape": [2], "data_offsets": [96, 104]},
        "a": {"dtype": "F32", "shape": [2, 3, 2, 2], "data_offsets": [0, 96]},
    }
    text = json.dumps(header).encode()
    data = KERNEL.tobytes() + BIAS.tobytes()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def write_keras(path):
    with h5py.File(path, "w") as file:
        group = file.create_group("model_weights/conv1/conv1")
        group["kernel:0"] = KERNEL
        group["bias:0"] = BIAS
        file.attrs["backend"] = "tensorflow"


def write_npz(path):
    np.savez(path, a=KERNEL, b=BIAS, fortran=np.asfortranarray(KERNEL[0, 0]))


def write_torch(path):
    path.write_bytes((GOLDENS / "zip.pth").read_bytes())


def write_legacy(path):
    path.write_bytes((GOLDENS / "legacy.pth").read_bytes())


def write_compressed(path):
    np.savez_compressed(path, a=KERNEL, b=BIAS)


def write_03(path):
    path.write_bytes(old_torch_files.of_03(old_torch_files.ARRAYS, as_parameters=("0.bias",)))


def write_01(path):
    path.write_bytes(old_torch_files.of_01(old_torch_files.ARRAYS, view=(4, 5)))


WRITERS = {
    "x.caffemodel": write_caffemodel,
    "x.safetensors": write_safetensors,
    "x.h5": write_keras,
    "x.npz": write_npz,
    "x.pth": write_torch,
    "legacy.pth": write_legacy,
    "compressed.npz": write_compressed,
    "0.3.pth": write_03,
    "0.1.pth": write_01,
}
