"""What PyTorch wrote before 0.4, by hand: no PyTorch of today writes it.

Laid out as torch.save of 0.1 and 0.3 did: a tar, or pickles that are followed by storages.
"""

import collections
import io
import pickle
import struct
import tarfile

import numpy as np

_MAGIC = 0x1950A86A20F9469CFC6C


class Named:
    """A function or class of PyTorch, for the pickler alone."""

    def __init__(self, module, name):
        self.module, self.name = module, name


class Call:
    """What is pickled as a call, perhaps with attributes."""

    def __init__(self, called, arguments, state=None, *, is_new=False):
        self.called, self.arguments, self.state, self.is_new = called, arguments, state, is_new


class Reference:
    """What is pickled as a persistent number."""

    def __init__(self, said):
        self.said = said


def dumps(value):
    """A pickle of protocol 2, as Python 2 would write it."""
    out = io.BytesIO()

    class Pickler(pickle._Pickler):
        def save(self, obj, save_persistent_id=True):
            if isinstance(obj, Named):
                self.write(f"c{obj.module}\n{obj.name}\n".encode())
            elif isinstance(obj, Call):
                self.save(obj.called)
                self.save(obj.arguments)
                self.write(pickle.NEWOBJ if obj.is_new else pickle.REDUCE)
                if obj.state is not None:
                    self.save(obj.state)
                    self.write(pickle.BUILD)
            elif isinstance(obj, Reference):
                self.save(obj.said)
                self.write(pickle.BINPERSID)
            elif type(obj) is str and len(obj) < 256:
                data = obj.encode()  # a string of bytes, as Python 2's are
                self.write(pickle.SHORT_BINSTRING + bytes((len(data),)) + data)
            elif isinstance(obj, collections.OrderedDict):
                self.write(b"ccollections\nOrderedDict\n")
                self.save(([list(pair) for pair in obj.items()],))
                self.write(pickle.REDUCE)
            else:
                super().save(obj, save_persistent_id)

    Pickler(out, 2).dump(value)
    return out.getvalue()


def strides_of(array):
    return tuple(n // array.itemsize for n in array.strides)


def of_03(arrays, *, as_parameters=(), prefix=""):
    """PyTorch 0.2 and 0.3: magic, version, system, pickle, keys, storages."""
    content, data = collections.OrderedDict(), b""
    keys = []
    for number, (name, array) in enumerate(arrays.items()):
        key = str(94_000_000 + number)
        keys.append(key)
        storage = ("storage", Named("torch", "FloatStorage"), key, "cuda:0", array.size, None)
        arguments = (Reference(storage), 0, array.shape, strides_of(array))
        tensor = Call(Named("torch._utils", "_rebuild_tensor"), arguments)
        if name in as_parameters:
            state = (True, False, collections.OrderedDict())
            tensor = Call(Named("torch.nn.parameter", "Parameter"), (tensor,), state)
        content[prefix + name] = tensor
        data += struct.pack("<q", array.size) + array.astype("<f4").tobytes()
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
    return b"".join(map(dumps, (_MAGIC, 1001, system, content, keys))) + data


def of_03_with_a_view(array, first, length):
    """One tensor whose storage is a part of another, as 0.3 shared them."""
    view = ("95000000", first, length)
    storage = ("storage", Named("torch", "FloatStorage"), "94", "cpu", array.size, view)
    call = Call(Named("torch._utils", "_rebuild_tensor"), (Reference(storage), 1, (2,), (1,)))
    content = collections.OrderedDict(part=call)
    parts = map(dumps, (_MAGIC, 1001, {"little_endian": True}, content, ["94"]))
    return b"".join(parts) + struct.pack("<q", array.size) + array.astype("<f4").tobytes()


def of_01(arrays, *, view=None):
    """PyTorch 0.1: a tar. The first array is a parameter, as `state_dict` then gave them."""
    tensors, storages = dumps(len(arrays)), dumps(len(arrays))
    content = collections.OrderedDict()
    for number, (name, array) in enumerate(arrays.items()):
        storage, tensor = 1000 + number, 2000 + number
        storages += dumps((storage, "cpu", Named("torch", "FloatStorage")))
        storages += struct.pack("<q", array.size) + array.astype("<f4").tobytes()
        # `view` is a storage that is part of the first one, for the last tensor.
        last = view and number == len(arrays) - 1
        tensors += dumps((tensor, 3000 if last else storage, Named("torch.cuda", "FloatTensor")))
        shape = (view[1],) if last else array.shape
        strides = (1,) if last else strides_of(array)
        tensors += struct.pack("<q", len(shape))
        tensors += struct.pack(f"<{2 * len(shape) + 1}q", *shape, *strides, 0)
        reference = Reference(str(tensor))
        if not number:
            state = (reference, None, collections.OrderedDict(), True, False)
            reference = Call(Named("torch.nn.parameter", "Parameter"), (), state, is_new=True)
        content[name] = reference
    storages += dumps([(3000, 1000, *view)] if view else [])
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:", format=tarfile.PAX_FORMAT) as archive:
        system = dumps({"protocol_version": 1000, "little_endian": True})
        for name, data in (
            ("sys_info", system),
            ("pickle", dumps(content)),
            ("tensors", tensors),
            ("storages", storages),
        ):
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(data), 1.5  # which takes an extended header
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


ARRAYS = {
    "0.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "0.bias": np.array([0.5, -1], np.float32),
}
