"""How much the augmentation is worth (SSD, table 2; with expansion, section 3.6).

    python -m launch.sweep --sweep configs/sweeps/augmentation.py --workdir runs/augmentation

Published for SSD300, VOC07+12 on VOC07 test: flip alone 65.5, with crop and colour 74.3, with
expansion too 77.2.
"""

from ssd_jax import sweeps

CONFIG = "configs/ssd.py:300,voc"


def get_sweep() -> list[sweeps.Overrides]:
    def level(crop: bool, expand: bool) -> sweeps.Overrides:
        return {
            "config.augment.flip": True,
            "config.augment.crop": crop,
            "config.augment.photometric": crop,
            "config.augment.expand": expand,
        }

    return sweeps.named(
        {
            "flip": level(crop=False, expand=False),
            "flip_crop_colour": level(crop=True, expand=False),
            "flip_crop_colour_expansion": level(crop=True, expand=True),
        }
    )
