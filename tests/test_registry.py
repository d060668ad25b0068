import dataclasses

import pytest

from ssd_jax.registry import CHANGEABLE, Registry, changeable


@dataclasses.dataclass(frozen=True)
class Circle:
    radius: float = changeable(1.0)


@dataclasses.dataclass(frozen=True)
class Box:
    side: float = 1.0


@dataclasses.dataclass
class Thawed:
    side: float = 1.0


@dataclasses.dataclass(frozen=True)
class Named:
    name: str = ""


@dataclasses.dataclass(frozen=True)
class Ball(Circle):
    pass


def shapes():
    return Registry("shape", {"circle": Circle, "box": Box})


def test_names_lead_to_parts_and_parts_to_names():
    registry = shapes()
    assert list(registry) == ["circle", "box"]
    assert registry["box"] is Box
    assert registry.name_of(Circle(2.0)) == "circle"
    assert Box in registry
    assert Ball not in registry  # a part is its own class, not its parent's


def test_an_unknown_name_says_what_there_is():
    with pytest.raises(ValueError, match=r"expected a shape among circle, box, got 'bx'; .* box"):
        shapes()["bx"]
    with pytest.raises(ValueError, match=r"got 'zzz'$"):
        shapes()["zzz"]
    with pytest.raises(ValueError, match="Ball is no registered shape; add it"):
        shapes().name_of(Ball())


@pytest.mark.parametrize(
    ("name", "part", "message"),
    [
        ("thawed", Thawed, "expected a frozen dataclass"),
        ("text", str, "expected a frozen dataclass"),
        ("named", Named, "a field cannot be called 'name'"),
        ("box", Ball, "taken"),
        ("cube", Box, "taken"),
    ],
)
def test_what_is_no_new_part_is_refused(name, part, message):
    registry = shapes()
    with pytest.raises(ValueError, match=f"shape '{name}': .*{message}"):
        registry.add(name, part)
    assert list(registry) == ["circle", "box"]


def test_a_part_from_elsewhere_is_added():
    registry = shapes()
    registry.add("ball", Ball)
    assert registry["ball"] is Ball
    assert registry.name_of(Ball()) == "ball"
    [radius] = dataclasses.fields(Ball)
    assert radius.metadata[CHANGEABLE]
    assert Ball() == Ball(1.0)
