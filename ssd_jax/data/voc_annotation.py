"""Reading one annotation of VOC's format, the XML of one picture.

The root is `<annotation>`, or anything that holds an `<object>`. Objects may stand in a wrapper.
An object has one `<name>` and one `<bndbox>`; the boxes of its `<part>`s belong to it and are not
read. A box anywhere else, or a file without objects that holds more than VOC's own elements, is an
error, because the picture would be learnt as background. `<filename>` and `<path>` are not read:
tools write a name there that the file had elsewhere.

`<difficult>` is 0 or 1; true, yes, false and no mean the same, and so does `Unspecified`, VOC's
word for an object that nobody judged: 0. A size that is empty or 0 x 0 is unknown. Numbers are
decimal.
"""

import math
import pathlib
import re
from collections.abc import Iterator
from typing import NamedTuple
from xml.etree import ElementTree

from ssd_jax.data import class_names, plain_files, xml_tree

_MOST_BYTES = 64 << 20
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_FLAGS = {
    **dict.fromkeys(("", "0", "false", "no", "unspecified"), False),
    **dict.fromkeys(("1", "true", "yes"), True),
}
# The elements beside the objects that may have elements or attributes inside.
_DETAILS = ("filename", "folder", "owner", "path", "segmented", "size", "source")


class AnnotatedObject(NamedTuple):
    """One object as it is written."""

    name: str  # as far as there is one
    corners: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    difficult: bool = False
    defect: str = ""  # what makes it unusable


class Annotation(NamedTuple):
    """What the XML of one picture says."""

    size: tuple[int, int] | None  # height, width; None where it does not say
    objects: tuple[AnnotatedObject, ...]


def read(path: pathlib.Path) -> Annotation:
    """Reads a file.

    Raises:
        OSError: where it cannot be opened.
        ValueError: where it is not an annotation; the message is the reason, without a place.
    """
    root = xml_tree.parse(plain_files.read(path, _MOST_BYTES))
    objects = list(_objects(root))
    if root.tag != "annotation" and root.find("object") is None:
        raise ValueError(f"expected <annotation> or an <object>, got <{root.tag}>")
    boxes = sum(_count(element, "bndbox") for element in objects)
    if _count(root, "bndbox") > boxes:
        raise ValueError("a <bndbox> stands outside of every <object>")
    if not objects:
        for element in root:
            if element.tag not in _DETAILS and (len(element) or element.attrib):
                raise ValueError(f"no <object>, but <{element.tag}>, which VOC does not know")
    return Annotation(_size(root), tuple(map(_object, objects)))


def _objects(element: ElementTree.Element) -> Iterator[ElementTree.Element]:
    for child in element:
        if child.tag == "object":
            yield child
        else:
            yield from _objects(child)


def _object(element: ElementTree.Element) -> AnnotatedObject:
    name = ""
    try:
        name = (_text(element, "name") or "").strip()
        name = class_names.checked(name)
        return AnnotatedObject(name, _corners(element), _flag(element, "difficult"))
    except ValueError as error:
        return AnnotatedObject(name, defect=str(error))


def _corners(element: ElementTree.Element) -> tuple[float, float, float, float]:
    if _count(element, "object") > 1:
        raise ValueError("an <object> stands in another one")
    box = _only(element, "bndbox")
    parts = sum(len(part.findall("bndbox")) for part in element.findall("part"))
    if _count(element, "bndbox") > parts + (box is not None):
        raise ValueError("expected one <bndbox>, got another one inside")
    if box is None:
        raise ValueError("no bndbox")
    return tuple(_number(box, tag) for tag in ("xmin", "ymin", "xmax", "ymax"))


def _size(root: ElementTree.Element) -> tuple[int, int] | None:
    size, tags = _only(root, "size"), ("height", "width")
    if size is None or not any((_text(size, tag) or "").strip() for tag in tags):
        return None
    height, width = (_number(size, tag) for tag in tags)
    if not (height.is_integer() and width.is_integer()):
        raise ValueError(f"expected whole numbers in <size>, got {width:g} x {height:g}")
    return (int(height), int(width)) if height or width else None


def _flag(element: ElementTree.Element, tag: str) -> bool:
    text = (_text(element, tag) or "").strip()
    if text.lower() in _FLAGS:
        return _FLAGS[text.lower()]
    if _NUMBER.fullmatch(text) and float(text) in (0, 1):
        return bool(float(text))
    raise ValueError(f"expected 0 or 1 in <{tag}>, got {text!r}")


def _number(element: ElementTree.Element, tag: str) -> float:
    text = _text(element, tag)
    if text is None or not _NUMBER.fullmatch(text.strip()) or math.isinf(float(text)):
        raise ValueError(f"expected a number in <{tag}>, got {text!r}")
    return float(text)


def _text(element: ElementTree.Element, tag: str) -> str | None:
    child = _only(element, tag)
    if child is None:
        return None
    if len(child):
        raise ValueError(f"expected text in <{tag}>, got <{child[0].tag}>")
    return child.text or ""


def _only(element: ElementTree.Element, tag: str) -> ElementTree.Element | None:
    found = element.findall(tag)
    if len(found) > 1:
        raise ValueError(f"expected one <{tag}>, got {len(found)}")
    return found[0] if found else None


def _count(element: ElementTree.Element, tag: str) -> int:
    return sum(1 for _ in element.iter(tag))
