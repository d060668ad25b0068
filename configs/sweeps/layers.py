"""Sources removed from the top, with and without anchors across the border (SSD, table 3).

    python -m launch.sweep --sweep configs/sweeps/layers.py --workdir runs/layers

The number of anchors stays near 8732, as in the paper: the sizes of a removed map are stacked on a
map that is left. The paper gives the numbers and not the stacking; four boxes for each stacked size
make its numbers, but for 9025, which three sizes of three boxes do. Published for SSD300 without
expansion, VOC07+12 on VOC07 test, with and without anchors across the border:

    conv4_3 conv7 conv8_2 conv9_2 conv10_2 conv11_2    74.3  63.4    8732
    conv4_3 conv7 conv8_2 conv9_2 conv10_2             74.6  63.1    8764
    conv4_3 conv7 conv8_2 conv9_2                      73.8  68.4    8942
    conv4_3 conv7 conv8_2                              70.7  69.2    9864
    conv4_3 conv7                                      64.2  64.4    9025
    conv7                                              62.4  64.0    8664
"""

from ssd_jax import sweeps

from .. import ssd

CONFIG = "configs/ssd.py:300,voc"
COMMON = {"config.augment.expand": False}

# (min, max) of the six maps' squares, pixels.
A, B, C, D, E, F = zip(ssd.SIZES_300[:-1], ssd.SIZES_300[1:], strict=True)
TWO, THREE = (2.0,), (2.0, 3.0)


def get_sweep() -> list[sweeps.Overrides]:
    # The sizes and the ratios of every map that is left.
    maps = {
        "to_conv11_2": ([(A,), (B,), (C,), (D,), (E,), (F,)], ssd.RATIOS_300),
        "to_conv10_2": ([(A,), (B,), (C,), (D,), (E, F)], ssd.RATIOS_300[:5]),
        "to_conv9_2": ([(A,), (B,), (C, D), (E, F)], (TWO, THREE, TWO, TWO)),
        "to_conv8_2": ([(A,), (B, C), (D, E, F)], (TWO,) * 3),
        "to_conv7": ([(A,), ((60.0, 0.0), (135.0, 0.0), (240.0, 0.0))], (TWO,) * 2),
        "conv7_alone": ([(A, B, C, D, E, F)], (TWO,)),
    }
    settings = {name: anchors(*value) for name, value in maps.items()}
    settings["conv7_alone"] |= {
        "config.model.extras.sources": ("fc7",),
        "config.model.extras.l2_norm": (),
    }
    both = {
        f"{name}{suffix}": {**overrides, "config.loss.border_anchors": border}
        for border, suffix in ((True, ""), (False, "_inside"))
        for name, overrides in settings.items()
    }
    return sweeps.named(both)


def anchors(sizes: list, ratios: tuple) -> sweeps.Overrides:
    steps = ssd.STEPS_300[1:2] if len(sizes) == 1 else ssd.STEPS_300[: len(sizes)]
    return {
        "config.model.extras.layers": ssd.LAYERS_300[: max(0, len(sizes) - 2)],
        "config.anchors": "sizes",
        "config.anchors.min_sizes": tuple(each[0][0] for each in sizes),
        "config.anchors.max_sizes": tuple(each[0][1] for each in sizes),
        "config.anchors.more_sizes": tuple(tuple(each[1:]) for each in sizes),
        "config.anchors.ratios": ratios,
        "config.anchors.steps": steps,
        "config.anchors.whole_pixels": True,
    }
