"""RefineDet without its three parts (RefineDet, table 3).

    python -m launch.sweep --sweep configs/sweeps/refinedet_parts.py --workdir runs/parts

Published for RefineDet320 on VGG16, VOC07+12 on VOC07 test, each row without the parts of the one
before: 80.0; negative filtering 79.5; two-step cascade 77.3; transfer connections 76.2. The last
two settings, which the paper does not have, leave out one part alone. On a laptop:
--config configs/small_objects.py:refinedet.
"""

from ssd_jax import sweeps

CONFIG = "configs/refinedet.py:320,vgg16,voc"


def get_sweep() -> list[sweeps.Overrides]:
    def parts(filtering: bool, cascade: bool, connections: bool) -> sweeps.Overrides:
        return {
            "config.model.negative_filtering": filtering,
            "config.model.cascade": cascade,
            "config.model.neck": "transfer_connections" if connections else "none",
        }

    return sweeps.named(
        {
            "all_parts": parts(True, True, True),
            "no_filtering": parts(False, True, True),
            "no_filtering_no_cascade": parts(False, False, True),
            "no_part": parts(False, False, False),
            "no_cascade": parts(True, False, True),
            "no_connections": parts(True, True, False),
        }
    )
