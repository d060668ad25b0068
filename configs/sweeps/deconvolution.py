"""How a deconvolution module joins two maps (DSSD, table 4).

    python -m launch.sweep --sweep configs/sweeps/deconvolution.py --workdir runs/deconvolution \
      --config.init_from=runs/dssd321/ssd

This is stage 2, which begins with the SSD321 of stage 1; see configs/dssd.py. Published for DSSD321
on VOC07 test: sum 78.4, product 78.6. On a laptop, in one stage:
--config configs/small_objects.py:pm.
"""

from ssd_jax import sweeps

CONFIG = "configs/dssd.py:321,voc,dssd"


def get_sweep() -> list[sweeps.Overrides]:
    combinations = sweeps.grid({"config.model.neck.combination": ("sum", "product")})
    return sweeps.product([{"config.model.neck": "deconvolution"}], combinations)
