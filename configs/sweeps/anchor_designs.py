"""RefineDet's, DSSD's and SSD's anchors on one network, RefineDet's.

    python -m launch.sweep --sweep configs/sweeps/anchor_designs.py --workdir runs/designs

On maps of strides 8 to 64. RefineDet: one size, four strides, on each map, with ratios 2 and 1/2.
SSD: the paper's rule from .2 to .9 with .1 on the first map, a second square, and 3 and 1/3 on the
middle maps. DSSD: the same sizes, and ratios of 1.6, 2 and 3 everywhere.
On a laptop: --config configs/refinedet.py:small,vgg16,bccd.
"""

from ssd_jax import sweeps

CONFIG = "configs/refinedet.py:320,vgg16,voc"


def get_sweep() -> list[sweeps.Overrides]:
    def rule(*ratios: tuple[float, ...]) -> sweeps.Overrides:
        return {
            "config.anchors": "linear",
            "config.anchors.first_scale": 0.1,
            "config.anchors.s_min": 0.2,
            "config.anchors.s_max": 0.9,
            "config.anchors.ratios": ratios,
        }

    two, three = (2.0,), (2.0, 3.0)
    return sweeps.named(
        {
            "refinedet_anchors": {},
            "ssd_anchors": rule(two, three, three, two),
            "dssd_anchors": rule(*((1.6, 2.0, 3.0),) * 4),
        }
    )
