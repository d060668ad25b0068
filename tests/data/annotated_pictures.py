"""Small pictures, examples and annotated folders, made on the spot."""

import io
import json
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from ssd_jax.data import examples


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def encode(array: np.ndarray, file_format: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, file_format, **options)
    return stream.getvalue()


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


# The picture that a viewer shows of the stored array, by EXIF orientation (the standard's table
# of where row 0 and column 0 are: 6 is "row 0 on the right, column 0 at the top").
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a[::-1].swapaxes(0, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a[:, ::-1].swapaxes(0, 1),
}


def make_example(
    image_id: str = "a",
    boxes: Sequence[Sequence[float]] = ((0, 0, 10, 10),),
    labels: Sequence[int] | None = None,
    size: tuple[int, int] = (40, 60),
    **fields,
) -> examples.Example:
    """An example with boxes in pixels; `fields` are lists beside the boxes."""
    columns = {"labels": labels or [0] * len(boxes), **fields}
    objects = [
        examples.Object(
            box=np.array(box, np.float64),
            label=columns["labels"][k],
            area=columns.get("area", [100.0] * len(boxes))[k],
            difficult=columns.get("difficult", [False] * len(boxes))[k],
            crowd=columns.get("crowd", [False] * len(boxes))[k],
        )
        for k, box in enumerate(boxes)
    ]
    return examples.make_example(
        image_id=image_id,
        filename=f"{image_id}.png",
        image=encode(noise(*size)),
        upright_size=size,
        annotated_size=size,
        turn=1,
        objects=objects,
    )


class ListDataset:
    """A `Dataset` of given examples, and of given problems."""

    def __init__(
        self,
        splits: Mapping[str, Sequence[examples.Example]],
        class_names: Sequence[str] = ("cat", "dog"),
        category_ids: Sequence[int] | None = None,
        problems: Sequence[tuple[str, str]] = (),
    ):
        self._splits = splits
        self._problems = problems
        self.class_names = tuple(class_names)
        self.category_ids = tuple(category_ids or range(1, len(class_names) + 1))
        self.split_sizes = {name: len(split) for name, split in splits.items()}

    def examples(self, split, problems):
        for problem in self._problems:
            problems.add(*problem)
        yield from self._splits[split]


class VocTree:
    """Writes a VOC folder, picture by picture."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
            (folder / name).mkdir(parents=True)

    def split(self, name: str, *lines: str) -> None:
        (self.folder / "ImageSets/Main" / f"{name}.txt").write_text("\n".join(lines) + "\n")

    def picture(self, image_id: str, encoded: bytes | None = None, suffix: str = ".jpg") -> None:
        content = encode(noise(40, 60), "JPEG") if encoded is None else encoded
        (self.folder / "JPEGImages" / (image_id + suffix)).write_bytes(content)

    def annotation(
        self, image_id: str, *objects: tuple, size: tuple[int, int] | None = (40, 60)
    ) -> None:
        """`objects` are (name, (xmin, ymin, xmax, ymax)) or (name, corners, difficult)."""
        text = "<annotation>"
        if size:
            text += f"<size><width>{size[1]}</width><height>{size[0]}</height></size>"
        for name, corners, *difficult in objects:
            tags = zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
            box = "".join(f"<{tag}>{value}</{tag}>" for tag, value in tags)
            text += f"<object><name>{name}</name><bndbox>{box}</bndbox>"
            text += "".join(f"<difficult>{int(flag)}</difficult>" for flag in difficult)
            text += "<part><name>head</name></part></object>"
        self.xml(image_id).write_text(text + "</annotation>")

    def add(self, image_id: str, *objects: tuple) -> None:
        self.picture(image_id)
        self.annotation(image_id, *objects)

    def xml(self, image_id: str) -> pathlib.Path:
        return self.folder / "Annotations" / f"{image_id}.xml"


class CocoTree:
    """Writes a COCO folder with one split, val."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self.content = {
            "images": [],
            "annotations": [],
            # Not in order, and with gaps, as in COCO.
            "categories": [{"id": 18, "name": "dog"}, {"id": 3, "name": "car"}],
        }
        (folder / "annotations").mkdir(parents=True)
        (folder / "val").mkdir()
        self.json = folder / "annotations" / "instances_val.json"

    def image(self, image_id: int, encoded: bytes | None = None, **fields) -> None:
        name = f"{image_id:012d}.jpg"
        content = encode(noise(40, 60), "JPEG") if encoded is None else encoded
        (self.folder / "val" / name).write_bytes(content)
        self.content["images"].append(
            {"id": image_id, "file_name": name, "height": 40, "width": 60, **fields}
        )

    def annotation(self, image_id: int, bbox: Sequence[float], category_id: int = 3, **fields):
        self.content["annotations"].append(
            {
                "id": 100 + len(self.content["annotations"]),
                "image_id": image_id,
                "bbox": bbox,
                "category_id": category_id,
                **fields,
            }
        )

    def save(self) -> pathlib.Path:
        self.json.write_text(json.dumps(self.content))
        return self.folder
