"""PyTorch's DataLoader on a config's training pictures, with the same work for each of them."""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

from ssd_jax import config
from ssd_jax.data import records


class Pictures(torch.utils.data.Dataset):
    """Pictures as a training reads them: decoded, upright, shrunk to fit and padded to a canvas."""

    def __init__(self, source: records.Source, canvas: tuple[int, int], max_objects: int) -> None:
        """Takes the records, rows and columns of the canvas, and the number of padded objects."""
        self._source = source
        self._canvas = canvas
        self._max_objects = max_objects

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        record = self._source[index]
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(record.image))).convert("RGB")
        rows, columns = self._canvas
        image.thumbnail((columns, rows), Image.Resampling.BICUBIC)
        canvas = np.zeros((rows, columns, 3), np.uint8)
        canvas[: image.height, : image.width] = np.asarray(image)
        boxes = np.zeros((self._max_objects, 4), np.float32)
        labels = np.zeros(self._max_objects, np.int64)
        count = min(len(record.labels), self._max_objects)
        boxes[:count], labels[:count] = record.boxes_xyxy[:count], record.labels[:count]
        return {"canvas": canvas, "boxes": boxes, "labels": labels}


def loader(experiment: config.Experiment) -> torch.utils.data.DataLoader:
    """Returns a shuffling DataLoader with as many workers as the config has."""
    data, train = experiment.data, experiment.train
    source = records.open_source(data.train, data.data_dir)
    return torch.utils.data.DataLoader(
        Pictures(source, data.canvas, data.max_objects),
        batch_size=train.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=data.num_workers,
        persistent_workers=data.num_workers > 0,
    )


def endless(batches: torch.utils.data.DataLoader) -> Iterator[dict[str, torch.Tensor]]:
    """Yields batches of one epoch after the other."""
    while True:
        yield from batches
