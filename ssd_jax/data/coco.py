"""Reading COCO instance annotations: a JSON file a split, and folders of pictures.

Found in a folder are, the first kind that is there: `annotations/instances_SPLIT.json`,
`SPLIT.json` or `instances_SPLIT.json` in the folder itself, and `SPLIT/_annotations.coco.json`.
Pictures are looked for in SPLIT, images/SPLIT, images and beside the annotations.
"""

import json
import pathlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ssd_jax.data import examples, images
from ssd_jax.data.examples import Example, Object, Problems


class CocoFolder:
    """The annotated pictures of one COCO folder.

    Labels follow the category ids in increasing order, without their gaps; `category_ids` keeps
    the original numbers.

    Args:
        source: the folder.
        class_names: the categories to use, in the order of their labels; by default all.
        drop_others: leave objects of other categories out without a complaint.

    Raises:
        ValueError: where the folder holds no annotations, a file is not COCO JSON, or two splits
            disagree about the categories.
    """

    def __init__(
        self,
        source: str | pathlib.Path,
        *,
        class_names: Sequence[str] = (),
        drop_others: bool = False,
    ):
        self._folder = pathlib.Path(source)
        self._files = _find_annotations(self._folder)
        self._drop_others = drop_others
        self._splits = {split: _load(path) for split, path in self._files.items()}
        self.split_sizes = {name: len(split["images"]) for name, split in self._splits.items()}
        self._category_names = self._read_categories()
        ids = {name: number for number, name in self._category_names.items()}
        self.class_names = tuple(class_names) or tuple(self._category_names.values())
        if unknown := [name for name in self.class_names if name not in ids]:
            raise ValueError(
                f"coco.CocoFolder: expected classes among {', '.join(ids)}, "
                f"got {', '.join(unknown)}"
            )
        self.category_ids = tuple(ids[name] for name in self.class_names)

    def examples(self, split: str, problems: Problems) -> Iterator[Example]:
        """Yields what can be used of a split, in its order, and adds the rest to `problems`."""
        json_path, content = self._files[split], self._splits[split]
        known = {image.get("id") for image in content["images"]}
        annotations = defaultdict(list)
        for annotation in content["annotations"]:
            image_id = annotation.get("image_id")
            annotations[image_id].append(annotation)
            if image_id not in known:
                problems.add(json_path, f"no image with id {image_id}", _where(annotation))
        seen = set()
        for image in content["images"]:
            image_id = image.get("id")
            if image_id in seen:
                problems.add(json_path, "listed more than once, used once", f"image {image_id}")
                continue
            seen.add(image_id)
            example = self._read(split, image, annotations[image_id], problems)
            if example is not None:
                yield example

    def _read(
        self,
        split: str,
        image: Mapping[str, Any],
        annotations: Sequence[Mapping[str, Any]],
        problems: Problems,
    ) -> Example | None:
        json_path = self._files[split]
        if missing := {"id", "file_name", "height", "width"} - image.keys():
            problems.add(json_path, f"no {', '.join(sorted(missing))}", f"image {image.get('id')}")
            return None
        picture = self._find_picture(split, image["file_name"])
        if picture is None:
            problems.add(image["file_name"], f"missing picture, listed in {json_path}")
            return None
        try:
            encoded = picture.read_bytes()
            upright_size = images.decode(encoded).shape[:2]
        except (OSError, ValueError) as error:
            problems.add(picture, f"corrupt picture: {error}")
            return None
        annotated_size = (image["height"], image["width"])
        try:
            frame = examples.frame_of_annotations(
                annotated_size, upright_size, images.orientation(encoded)
            )
        except ValueError as error:
            problems.add(json_path, error, f"image {image['id']} ({image['file_name']})")
            return None

        objects = []
        for annotation in annotations:
            name = self._category_names.get(annotation.get("category_id"))
            if self._drop_others and name is not None and name not in self.class_names:
                continue
            try:
                objects.append(self._object(name, annotation, annotated_size))
            except ValueError as error:
                where = f"{_where(annotation)} of {image['file_name']}"
                problems.add(json_path, error, where)
        return examples.make_example(
            image_id=str(image["id"]),
            filename=image["file_name"],
            image=encoded,
            upright_size=upright_size,
            annotated_size=annotated_size,
            frame=frame,
            objects=objects,
        )

    def _object(
        self, name: str | None, annotation: Mapping[str, Any], size: tuple[int, int]
    ) -> Object:
        if name not in self.class_names:
            raise ValueError(f"unknown class {name or annotation.get('category_id')!r}")
        try:
            x, y, width, height = (float(value) for value in annotation["bbox"])
        except (KeyError, TypeError, ValueError):
            raise ValueError(
                f"expected a bbox of four numbers, got {annotation.get('bbox')!r}"
            ) from None
        return Object(
            box=examples.continuous_box((x, y, x + width, y + height), size, first_pixel=0),
            label=self.class_names.index(name),
            area=float(annotation.get("area", width * height)),
            crowd=bool(annotation.get("iscrowd", 0)),
        )

    def _read_categories(self) -> dict[int, str]:
        categories = {}
        for split, content in self._splits.items():
            found = {item["id"]: item["name"] for item in content["categories"]}
            if categories and found != categories:
                raise ValueError(
                    f"coco.CocoFolder: expected the same categories in every split, "
                    f"got others in {self._files[split]}"
                )
            categories = found
        repeated = [name for name, count in Counter(categories.values()).items() if count > 1]
        if repeated or not categories:
            raise ValueError(
                f"coco.CocoFolder: expected categories with distinct names in {self._folder}, "
                f"got {'twice ' + ', '.join(repeated) if repeated else 'none'}"
            )
        return dict(sorted(categories.items()))

    def _find_picture(self, split: str, file_name: str) -> pathlib.Path | None:
        folders = (
            self._folder / split,
            self._folder / "images" / split,
            self._folder / "images",
            self._files[split].parent,
            self._folder,
        )
        return next((path for f in folders if (path := f / file_name).is_file()), None)


def _find_annotations(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    for pattern in ("annotations/instances_*.json", "*.json", "*/_annotations.coco.json"):
        if paths := sorted(folder.glob(pattern)):
            if pattern.startswith("*/"):
                return {path.parent.name: path for path in paths}
            return {path.stem.removeprefix("instances_"): path for path in paths}
    raise ValueError(
        f"coco.CocoFolder: expected annotations/instances_*.json, *.json or "
        f"*/_annotations.coco.json in {folder}, got none"
    )


def _load(path: pathlib.Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"coco.CocoFolder: {path} is not JSON: {error}") from error
    required = ("images", "annotations", "categories")
    if not isinstance(content, dict) or not all(
        isinstance(content.get(key), list) for key in required
    ):
        raise ValueError(f"coco.CocoFolder: expected lists {', '.join(required)} in {path}")
    return content


def _where(annotation: Mapping[str, Any]) -> str:
    return f"annotation {annotation.get('id')}"
