"""Reading annotated pictures in COCO's format: a file of instances a split, and their pictures.

`coco_layout` finds files and pictures, and `coco_file` reads a file of instances; each says by
which rules. Boxes are continuous and start at 0.
"""

import pathlib
from collections.abc import Iterator, Sequence

from ssd_jax.data import coco_file, coco_layout, examples, json_fields, split_names
from ssd_jax.data.class_names import check_chosen, check_known
from ssd_jax.data.coco_file import ImageEntry
from ssd_jax.data.examples import Example, Object, Problems


class CocoFolder:
    """The annotated pictures of one COCO folder.

    Labels follow the category ids in increasing order, without their gaps; `category_ids` keeps
    the original numbers.

    Args:
        source: a folder or a file as `coco_layout` describes them.
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
        check_chosen(class_names)
        self._drop_others = drop_others
        self._layout = coco_layout.find(pathlib.Path(source))
        files = self._layout.files
        self.split_sizes = {split: file.num_images for split, file in files.items()}
        try:
            categories, left_out = coco_file.classes(tuple(files.values()), class_names)
        except ValueError as error:
            raise ValueError(f"coco.CocoFolder: {error}") from None
        self._category_names = {category.id: category.name for category in categories}
        ids = {name: number for number, name in self._category_names.items()}
        check_known(class_names, tuple(ids), "coco.CocoFolder")
        self.class_names = tuple(class_names or ids)
        self.category_ids = tuple(ids[name] for name in self.class_names)
        self.notes = [*self._layout.notes]
        if left_out:
            self.notes.append(f"left out: {', '.join(left_out)}, a category without objects")
        if zeros := sum(file.areas_of_zero() for file in files.values()):
            self.notes.append(f"{zeros} areas of 0 are read as those of their boxes")
        self._read_pictures: dict[str, set[pathlib.Path]] = {}

    def examples(self, split: str, problems: Problems) -> Iterator[Example]:
        """Yields what can be used of a split, in its order, and adds the rest to `problems`."""
        elsewhere, read = 0, set()
        for picture in self._layout.files[split].pictures(problems):
            path = self._find_picture(split, picture, problems)
            example = self._read(split, picture, path, problems) if path else None
            if example is not None:
                elsewhere += coco_layout.leads_elsewhere(self._layout, path)
                read.add(path)
                yield example
        if elsewhere:
            self.notes.append(
                f"{split}: links lead to {elsewhere} pictures outside of {self._layout.folder}"
            )
        others = {name: found for name, found in self._read_pictures.items() if name != split}
        for name, found in others.items():
            self.notes += split_names.shared({name: found, split: read})
        self._read_pictures[split] = read

    def _find_picture(
        self, split: str, picture: ImageEntry, problems: Problems
    ) -> pathlib.Path | None:
        json_path = self._layout.files[split].path
        with problems.noted(json_path, picture.where):
            path = coco_layout.find_picture(self._layout, split, picture.file_name)
            if path is None and picture.size is None:
                reason = f"no height, width, and no picture {picture.file_name}"
                problems.add(json_path, reason, f"image {picture.image_id}")
            elif path is None:
                problems.add(picture.file_name, f"missing picture, listed in {json_path}")
            return path
        return None

    def _read(
        self, split: str, picture: ImageEntry, path: pathlib.Path, problems: Problems
    ) -> Example | None:
        json_path = self._layout.files[split].path
        with problems.noted(path):
            image, upright_size, orientation = examples.read_picture(path, picture.file_name)
            with problems.noted(json_path, picture.where):
                size = picture.size or upright_size
                turn = examples.turn_of_annotations(size, upright_size, orientation)
                return examples.make_example(
                    image_id=str(picture.image_id),
                    filename=picture.file_name,
                    image=image,
                    upright_size=upright_size,
                    annotated_size=size,
                    turn=turn,
                    objects=self._objects(json_path, picture, size, problems),
                )
        return None

    def _objects(
        self,
        json_path: pathlib.Path,
        picture: ImageEntry,
        size: tuple[int, int],
        problems: Problems,
    ) -> list[Object]:
        names, objects = self._category_names, []
        for annotation in picture.annotations:
            with problems.noted(json_path, f"{annotation.where} of {picture.file_name}"):
                number = json_fields.whole_number(annotation.fields, "category_id")
                is_other = number in names and names[number] not in self.class_names
                if not (self._drop_others and is_other):
                    found = coco_file.read_object(annotation.fields, size, names, self.class_names)
                    objects.append(found)
        return objects
