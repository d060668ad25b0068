"""SSD's training augmentation of one image, as one pure function that runs inside the train step.

The host only decodes: an image arrives as uint8 on a fixed canvas, and every step from there on is
part of the compiled program. The caller vmaps over the batch, with one key per image.
Pixels stay on the scale of 0 to 255: subtracting the mean belongs to the detector's input.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, UInt8

from ssd_jax.ops import crop, photometric, resample


@dataclasses.dataclass(frozen=True)
class AugmentSpec:
    """Which parts of the augmentation are on, and their numbers; by default the released SSD's.

    The paper's ablation turns on flip alone; flip, crop and photometric; all four.
    """

    image_size: tuple[int, int] = (300, 300)  # height, width of the output, pixels
    fill: tuple[float, float, float] = (123.0, 117.0, 104.0)  # RGB around an expanded image, 0-255
    photometric: bool = True
    expand: bool = True
    crop: bool = True
    flip: bool = True
    photometric_probability: float = 0.5  # of each of brightness, contrast, saturation and hue
    brightness: float = 32.0  # the largest change, on 0-255
    contrast: tuple[float, float] = (0.5, 1.5)  # range of the factor
    saturation: tuple[float, float] = (0.5, 1.5)  # range of the factor
    hue: float = 18.0  # the largest turn, in steps of 2 degrees
    shuffle_probability: float = 0.0  # of a random order of the channels
    expand_probability: float = 0.5
    max_expand: float = 4.0  # the largest ratio of an expansion
    min_ious: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 0.9, 0.0)  # one for each crop sampler
    num_trials: int = 50  # of each sampler
    min_crop_scale: float = 0.3  # the least square root of a crop's area; .1 in the paper
    crop_aspect: tuple[float, float] = (0.5, 2.0)  # range of a crop's width to height
    flip_probability: float = 0.5  # of a horizontal flip
    kernels: tuple[str, ...] = ("linear", "area", "nearest", "cubic", "lanczos4")  # one per image
    antialias: bool = False  # widen the kernels when shrinking; the released code does not

    def __post_init__(self) -> None:
        """Raises a ValueError that names the first field whose number is out of its range."""
        probabilities = [f.name for f in dataclasses.fields(self) if "probability" in f.name]
        rules = {name: (0 <= getattr(self, name) <= 1, "0 to 1") for name in probabilities}
        rules |= {
            "image_size": (min(self.image_size) > 0, "two positive numbers"),
            "brightness": (self.brightness >= 0, "0 or more"),
            "contrast": (0 <= self.contrast[0] <= self.contrast[1], "a rising pair from 0"),
            "saturation": (0 <= self.saturation[0] <= self.saturation[1], "a rising pair from 0"),
            "hue": (self.hue >= 0, "0 or more"),
            "max_expand": (self.max_expand >= 1, "1 or more"),
            "num_trials": (self.num_trials > 0, "1 or more"),
            "min_crop_scale": (0 < self.min_crop_scale <= 1, "above 0, at most 1"),
            "crop_aspect": (
                0 < self.crop_aspect[0] <= 1 <= self.crop_aspect[1],
                "a pair around 1, as a crop of full size has",
            ),
            "kernels": (
                self.kernels and set(self.kernels) <= set(resample.KERNELS),
                f"some of {resample.KERNELS}",
            ),
        }
        for name, (holds, expected) in rules.items():
            if not holds:
                raise ValueError(
                    f"augment.AugmentSpec: expected {name} {expected}, got {getattr(self, name)!r}"
                )


class Augmented(NamedTuple):
    """An image at the network's input size, and its objects."""

    image: Float[Array, "H W 3"]  # RGB, 0-255, the mean not subtracted
    boxes_xyxy: Float[Array, "G 4"]  # of this image; 0 where not valid
    labels: Int[Array, " G"]  # 0 where not valid
    valid: Bool[Array, " G"]


def augment(
    key: PRNGKeyArray,
    canvas: UInt8[Array, "canvas_H canvas_W 3"],
    size: Int[Array, "2"],
    boxes_xyxy: Float[Array, "G 4"],
    labels: Int[Array, " G"],
    valid: Bool[Array, " G"],
    *,
    spec: AugmentSpec,
) -> Augmented:
    """Returns the image distorted, expanded, cropped, warped and flipped, with its objects.

    The order is the released SSD's. The last four steps are one affine map, drawn as a window on
    the image and applied at once. An object becomes invalid when its centre leaves the window or it
    has no area in the image (x1 <= x0, or outside); padded slots stay invalid.

    Args:
        key: decides every random choice.
        canvas: RGB; the image fills the upper left.
        size: height, width of the image on the canvas, pixels; 0 gives a picture of the fill.
        boxes_xyxy: the objects, in units of the image.
        labels: their classes.
        valid: which of the slots hold an object.
        spec: the parts and their numbers.
    """
    colour_key, expand_key, crop_key, rest_key = jax.random.split(key, 4)
    flip_draw, kernel_draw = jax.random.uniform(rest_key, (2,))
    image = canvas.astype(jnp.float32)
    if spec.photometric:
        image = photometric.distort(
            colour_key,
            image,
            probability=spec.photometric_probability,
            brightness=spec.brightness,
            contrast=spec.contrast,
            saturation=spec.saturation,
            hue=spec.hue,
            shuffle_probability=spec.shuffle_probability,
        )

    boxes_xyxy, valid = crop.clip(boxes_xyxy, valid)
    window = crop.whole()
    if spec.expand:
        window = crop.expand(
            expand_key, probability=spec.expand_probability, max_ratio=spec.max_expand
        )
    if spec.crop:
        drawn = crop.sample(
            crop_key,
            crop.project(boxes_xyxy, window),
            valid,
            min_ious=spec.min_ious,
            num_trials=spec.num_trials,
            scale=(spec.min_crop_scale, 1.0),
            aspect=spec.crop_aspect,
        )
        window = crop.nest(window, drawn.window_xyxy)
    if spec.flip:
        window = jnp.where(flip_draw < spec.flip_probability, crop.flip(window), window)

    image = resample.resample(
        image,
        window * _pixels(size),
        spec.image_size,
        kernel=spec.kernels,
        choice=jnp.floor(kernel_draw * len(spec.kernels)).astype(jnp.int32),
        size=size,
        fill=spec.fill,
        antialias=spec.antialias,
        max_window=spec.max_expand if spec.expand else 1.0,
    )
    boxes_xyxy, valid = crop.keep_centred(crop.project(boxes_xyxy, window), valid)
    return Augmented(jnp.clip(image, 0, 255), boxes_xyxy, jnp.where(valid, labels, 0), valid)


def warp(
    canvas: UInt8[Array, "canvas_H canvas_W 3"],
    size: Int[Array, "2"],
    *,
    image_size: tuple[int, int],
) -> Float[Array, "H W 3"]:
    """Returns the image at the network's input size, as evaluation and prediction see it.

    Arguments are those of `augment`; boxes in units of the image need no change.
    """
    window = crop.whole() * _pixels(size)
    image = resample.resample(canvas, window, image_size, kernel="linear", size=size)
    return jnp.clip(image, 0, 255)


def _pixels(size: Int[Array, "2"]) -> Float[Array, "4"]:
    """Returns the unit of x, y, x, y in pixels of an image of (height, width) `size`."""
    return jnp.tile(size[::-1], 2).astype(jnp.float32)
