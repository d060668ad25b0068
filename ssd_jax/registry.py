"""Names for the parts of a detector, so that a config file, a flag or JSON can choose one."""

import dataclasses
import difflib
from collections.abc import Iterator, Mapping
from typing import Any


class Registry:
    """The parts that may stand in one place of a config, by name.

    A part is a frozen dataclass that holds its own settings. A field that takes one is annotated
    with the registry: `backbone: Annotated[Any, BACKBONES] = VGG16()`.
    """

    def __init__(self, noun: str, parts: Mapping[str, type]) -> None:
        """Starts with the parts of this package.

        Args:
            noun: what a part is called in messages, such as "backbone".
            parts: the classes by name.
        """
        self.noun = noun
        self._parts: dict[str, type] = {}
        for name, part in parts.items():
            self.add(name, part)

    def add(self, name: str, part: type) -> None:
        """Makes a part available under a name; other packages add their parts with it too.

        Raises:
            ValueError: if the class is no frozen dataclass, or the name or the class is taken.
        """
        if not (dataclasses.is_dataclass(part) and part.__dataclass_params__.frozen):
            raise ValueError(f"{self.noun} {name!r}: expected a frozen dataclass, got {part!r}")
        if "name" in {field.name for field in dataclasses.fields(part)}:
            raise ValueError(f"{self.noun} {name!r}: a field cannot be called 'name'")
        if name in self._parts or part in self._parts.values():
            raise ValueError(f"{self.noun} {name!r}: the name or {part.__name__} is taken")
        self._parts[name] = part

    def __getitem__(self, name: str) -> type:
        """Returns the class of a name.

        Raises:
            ValueError: for an unknown name, with the names there are and the nearest.
        """
        if name not in self._parts:
            near = difflib.get_close_matches(str(name), self._parts, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]}?" if near else ""
            names = ", ".join(self._parts)
            raise ValueError(f"expected a {self.noun} among {names}, got {name!r}{hint}")
        return self._parts[name]

    def __contains__(self, part: type) -> bool:
        """Returns whether a class is one of the parts."""
        return part in self._parts.values()

    def __iter__(self) -> Iterator[str]:
        """Iterates over the names."""
        return iter(self._parts)

    def name_of(self, part: Any) -> str:
        """Returns the name of a part.

        Raises:
            ValueError: if its class is not registered, with the remedy.
        """
        for name, known in self._parts.items():
            if type(part) is known:
                return name
        raise ValueError(
            f"{type(part).__name__} is no registered {self.noun}; add it to the registry first"
        )


# The key in a dataclass field's metadata that `changeable` sets.
CHANGEABLE = "changeable"


def changeable(default: Any) -> Any:
    """Returns the default of a part's field that a run may change on its way.

    The other fields of a detector decide what its parameters mean, so they stay as they are.
    """
    return dataclasses.field(default=default, metadata={CHANGEABLE: True})
