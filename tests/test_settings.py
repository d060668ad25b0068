"""Frozen dataclasses from and to dicts, and overrides by path."""

import dataclasses
from typing import Annotated, Any

import pytest

from ssd_jax import settings
from ssd_jax.registry import Registry


@dataclasses.dataclass(frozen=True)
class Circle:
    radius: float = 1.0

    def __post_init__(self):
        if self.radius <= 0:
            raise ValueError(f"Circle.radius: expected more than 0, got {self.radius}")


@dataclasses.dataclass(frozen=True)
class Box:
    sides: tuple[int, int] = (1, 2)
    is_open: bool = False
    label: str | None = None


SHAPES = Registry("shape", {"circle": Circle, "box": Box})


@dataclasses.dataclass(frozen=True)
class Scene:
    shape: Annotated[Any, SHAPES] = Circle()
    copies: int = 1


@dataclasses.dataclass(frozen=True)
class Top:
    scene: Scene = Scene()
    name: str = ""


def changed(changes):
    values = settings.to_dict(Top())
    settings.override(Top, values, changes, "top")
    return settings.from_dict(Top, values, "top")


def test_a_dict_of_a_part_holds_its_name():
    values = settings.to_dict(Top(Scene(Box())))
    assert values["scene"]["shape"] == {
        "name": "box",
        "sides": (1, 2),
        "is_open": False,
        "label": None,
    }
    assert settings.from_dict(Top, values, "top") == Top(Scene(Box()))


def test_missing_fields_take_their_defaults_and_a_name_alone_is_a_part():
    assert settings.from_dict(Top, {"scene": {"shape": "box"}}, "top") == Top(Scene(Box()))
    found = settings.from_dict(Top, {"scene": {"shape": {"radius": 2}}}, "top")
    assert found == Top(Scene(Circle(2.0)))


@pytest.mark.parametrize("name_first", [True, False])
def test_a_part_is_chosen_before_its_fields_are_set(name_first):
    changes = [("top.scene.shape", "box"), ("top.scene.shape.sides", "(3, 4)")]
    found = changed(dict(changes if name_first else changes[::-1]))
    assert found.scene.shape == Box((3, 4))
    assert changed({"top.scene.shape.name": "box"}).scene.shape == Box()
    assert changed({"top.scene.shape.name": "circle"}).scene.shape == Circle()


@pytest.mark.parametrize(
    ("text", "value"),
    [("True", True), ("true", True), ("0", False)],
)
def test_text_becomes_the_type_of_its_field(text, value):
    chosen = {"top.scene.shape": "box"}
    assert changed({**chosen, "top.scene.shape.is_open": text}).scene.shape.is_open is value
    assert changed({**chosen, "top.scene.shape.label": "None"}).scene.shape.label is None
    assert changed({**chosen, "top.scene.shape.label": "3"}).scene.shape.label == "3"
    assert changed({"top.scene.copies": "3", "top.name": "3"}) == Top(Scene(copies=3), "3")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"top.scene.shape.sides": (1, 1)}, r"'circle' has no sides; box has it: .*shape=box"),
        ({"top.scene.shape": "cube"}, r"top\.scene\.shape: expected a shape among circle, box"),
        ({"top.scene.shape": "cirkle"}, "did you mean circle"),
        ({"top.scene.copys": 2}, r"did you mean top\.scene\.copies"),
        ({"top.radius": 2}, r"did you mean top\.scene\.shape\.radius"),
        ({"scene.copies": 2}, r"scene\.copies: expected a field .*top\.scene\.copies"),
        ({"top.name.x": 2}, r"top\.name is a field and not a group"),
        ({"top.scene.copies": "1.5"}, r"top\.scene\.copies: expected int, got 1\.5"),
        ({"top.scene.copies": "many"}, r"top\.scene\.copies: expected int, got 'many'"),
        ({"top.scene.shape.radius": "-1"}, r"top\.scene\.shape\.radius: expected more than 0"),
    ],
)
def test_a_mistake_is_named_with_its_place_and_a_remedy(changes, message):
    with pytest.raises(ValueError, match=message):
        changed(changes)


def test_differences_go_into_parts():
    old, new = Top(), Top(Scene(Circle(2.0)))
    assert settings.differences(old, new) == {"scene.shape.radius": (1.0, 2.0)}
    assert set(settings.differences(old, Top(Scene(Box())))) == {
        "scene.shape.name",
        "scene.shape.radius",
        "scene.shape.sides",
        "scene.shape.is_open",
    }
