"""A family of files of released weights: how one is recognised, and where each array belongs."""

import dataclasses
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ssd_jax.detectors.input import Input

_SHOWN = 5
_SAME_MEAN = 1.0  # on 0-255; the compression of a picture changes more

# torchvision's means and deviations of pictures on 0-1.
TORCHVISION_INPUT = Input((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), "rgb")


Transform = Callable[[np.ndarray], np.ndarray]


class Entry(NamedTuple):
    """An array of theirs, and what makes it one of ours."""

    theirs: str
    transform: Transform = lambda x: x
    divisor: str = ""  # an array of theirs with one number, which divides; 0 stands for 1


def from_oihw(kernel: np.ndarray) -> np.ndarray:
    """Returns a kernel [out, in, rows, columns] (PyTorch, Caffe) as [rows, columns, in, out].

    A depthwise one, [channels, 1, rows, columns], becomes [rows, columns, 1, channels].
    """
    return kernel.transpose(2, 3, 1, 0)


def from_iohw(kernel: np.ndarray) -> np.ndarray:
    """Returns a transposed convolution's kernel [in, out, rows, columns] as `from_oihw` does."""
    return kernel.transpose(2, 3, 0, 1)


def torch_conv(ours: str, theirs: str, from_theirs: Transform = from_oihw) -> dict[str, Entry]:
    """Returns the table of a convolution with a bias, by our name and by PyTorch's ("loc.0")."""
    return {
        f"params/{ours}/kernel": Entry(f"{theirs}.weight", from_theirs),
        f"params/{ours}/bias": Entry(f"{theirs}.bias"),
    }


def caffe_conv(ours: str, theirs: str, from_theirs: Transform = from_oihw) -> dict[str, Entry]:
    """Returns the table of a convolution with a bias, by our name and by Caffe's.

    In old files every array has four dimensions, a bias too.
    """
    return {
        f"params/{ours}/kernel": Entry(f"{theirs}/0", from_theirs),
        f"params/{ours}/bias": Entry(f"{theirs}/1", np.ravel),
    }


def caffe_norm(ours: str, norm: str, scale: str) -> dict[str, Entry]:
    """Returns the table of a BatchNorm: its statistics and its factors are two layers in Caffe.

    The statistics there are sums, and the third blob is the number of their terms.
    """
    return {
        f"params/{ours}/scale": Entry(f"{scale}/0", np.ravel),
        f"params/{ours}/bias": Entry(f"{scale}/1", np.ravel),
        f"batch_stats/{ours}/mean": Entry(f"{norm}/0", np.ravel, divisor=f"{norm}/2"),
        f"batch_stats/{ours}/var": Entry(f"{norm}/1", np.ravel, divisor=f"{norm}/2"),
    }


def caffe_layer(ours: str, conv: str, norm: str, scale: str) -> dict[str, Entry]:
    """Returns the table of a convolution and its BatchNorm, by their names in Caffe."""
    kernel = {f"params/{ours}/conv/kernel": Entry(f"{conv}/0", from_oihw)}
    return kernel | caffe_norm(f"{ours}/bn", norm, scale)


def torch_layer(ours: str, conv: str, norm: str) -> dict[str, Entry]:
    """Returns the table of a convolution and its BatchNorm, by their names in PyTorch."""
    return {
        f"params/{ours}/conv/kernel": Entry(f"{conv}.weight", from_oihw),
        f"params/{ours}/bn/scale": Entry(f"{norm}.weight"),
        f"params/{ours}/bn/bias": Entry(f"{norm}.bias"),
        f"batch_stats/{ours}/bn/mean": Entry(f"{norm}.running_mean"),
        f"batch_stats/{ours}/bn/var": Entry(f"{norm}.running_var"),
    }


def listed(names: Sequence[str], separator: str = ", ") -> str:
    """Returns the first few names, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{separator.join(names[:_SHOWN])}{more}"


@dataclasses.dataclass(frozen=True)
class Released:
    """One family of files.

    Attributes:
        name: for messages.
        signature: arrays that such a file has and no other family's.
        table: theirs by our names, as "params/backbone/conv1_1/conv/kernel"; the kernel of the
            first convolution is the first entry.
        input: what the network was trained to see.
        settings: fields of config.model that the weights were trained with.
        overrides: fields of a detector's config, as "config.anchors.clip", that differ from those
            of its network here.
    """

    name: str
    signature: tuple[str, ...]
    table: Mapping[str, Entry]
    input: Input
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def recognises(self, arrays: Mapping[str, np.ndarray], prefix: str = "") -> bool:
        """Returns whether a file's arrays are of this family, under their names and a prefix."""
        return all(f"{prefix}{name}" in arrays for name in self.signature)

    @property
    def first(self) -> str:
        """The kernel of the first convolution, among ours."""
        return next(iter(self.table))

    @property
    def used(self) -> tuple[str, ...]:
        """The arrays of theirs that the table reads."""
        return self.used_for(self.table)

    def used_for(self, ours: Container[str]) -> tuple[str, ...]:
        """Returns the arrays of theirs that make some of ours."""
        entries = [entry for name, entry in self.table.items() if name in ours]
        names = [name for x in entries for name in (x.theirs, x.divisor) if name]
        return tuple(dict.fromkeys(names))

    def convert(self, arrays: Mapping[str, np.ndarray], wanted: Input) -> dict[str, np.ndarray]:
        """Returns the arrays under our names, in our layouts, for a network with another input.

        Raises:
            ValueError: where an array is missing, or the inputs have different means.
        """
        if missing := [name for name in self.used if name not in arrays]:
            raise ValueError(
                f"pretrained: expected a whole {self.name}, but it lacks {listed(missing)}"
            )
        converted = {}
        for ours, entry in self.table.items():
            array = entry.transform(np.asarray(arrays[entry.theirs], np.float32))
            converted[ours] = array / _divisor(entry, arrays)
        converted[self.first] = _for_input(converted[self.first], self.input, wanted)
        return converted


def without_prefix(
    arrays: Mapping[str, np.ndarray], families: Iterable[Released]
) -> tuple[Mapping[str, np.ndarray], str]:
    """Returns the arrays by the names of a family, and the prefix that they had in the file.

    A network that was saved inside another module has one before all of its names, as "module." of
    DataParallel; the arrays outside of it keep their names.

    Raises:
        ValueError: where several networks of a file could be meant.
    """
    families = tuple(families)
    if any(family.recognises(arrays) for family in families):
        return arrays, ""
    found = set()
    for family in families:
        first = family.signature[0]
        prefixes = (name.removesuffix(first) for name in arrays if name.endswith(first))
        prefixes = (prefix for prefix in prefixes if prefix.endswith((".", "/")))
        found.update(prefix for prefix in prefixes if family.recognises(arrays, prefix))
    if not found:
        return arrays, ""
    if len(found) > 1:
        raise ValueError(
            f"pretrained: this file holds several networks, under {', '.join(sorted(found))}; save "
            "the one that is meant alone"
        )
    [prefix] = found
    renamed = {name.removeprefix(prefix): value for name, value in arrays.items()}
    if len(renamed) < len(arrays):
        raise ValueError(f"pretrained: this file has names with and without {prefix}")
    return renamed, prefix


def _divisor(entry: Entry, arrays: Mapping[str, np.ndarray]) -> np.float32:
    if not entry.divisor:
        return np.float32(1)
    value = np.asarray(arrays[entry.divisor], np.float32)
    if value.size != 1 or not np.isfinite(value).all():
        raise ValueError(f"pretrained: expected one number in {entry.divisor}, got {value}")
    return np.float32(value.item() or 1)


def _for_input(kernel: np.ndarray, trained: Input, wanted: Input) -> np.ndarray:
    """Returns the first kernel that gives the same map of pixels in another order and scale.

    Another mean would need a bias that differs at the border, where zeros are padded.
    """
    if np.abs(np.subtract(trained.mean, wanted.mean)).max() > _SAME_MEAN:
        raise ValueError(
            f"config.input: the mean is {wanted.mean}, but these weights were trained on "
            f"{trained}; set config.input.mean to that"
        )
    in_rgb = kernel if trained.channel_order == "rgb" else kernel[:, :, ::-1]
    factor = np.divide(wanted.scale, trained.scale).astype(np.float32)
    in_rgb = in_rgb * factor[:, None]
    return in_rgb if wanted.channel_order == "rgb" else in_rgb[:, :, ::-1]
