"""Writes the PyTorch files of tests/pretrained/test_files.py; made with PyTorch 2.15.0.

python tests/pretrained/goldens/make.py
"""

import collections
import pathlib

import torch

FOLDER = pathlib.Path(__file__).parent


def tensors():
    """Shapes, dtypes, strides and shared storages as state dicts have them."""
    numbers = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4)
    return collections.OrderedDict(
        {
            "conv.weight": torch.nn.Parameter(numbers),
            "transposed": numbers.permute(2, 0, 1),
            "part": numbers[1, 1:],
            "half": torch.tensor([0.5, -1.25], dtype=torch.float16),
            "brain": torch.tensor([1.5, 3.0], dtype=torch.bfloat16),
            "steps": torch.tensor(7),
            "mask": torch.tensor([True, False]),
        }
    )


if __name__ == "__main__":
    torch.save(tensors(), FOLDER / "zip.pth")
    torch.save(tensors(), FOLDER / "legacy.pth", _use_new_zipfile_serialization=False)
    torch.save({"epoch": 3, "state_dict": tensors()}, FOLDER / "nested.pth")
