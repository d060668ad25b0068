"""MobileNetV2 of torchvision."""

from ssd_jax.models.mobilenet_v2 import NUM_BLOCKS
from ssd_jax.pretrained.released import TORCHVISION_INPUT, Entry, Released, torch_layer


def _table() -> dict[str, Entry]:
    table = torch_layer("backbone/conv0", "features.0.0", "features.0.1")
    for i in range(1, NUM_BLOCKS + 1):
        ours, prefix = f"backbone/block{i}", f"features.{i}.conv"
        # The first block has no expansion.
        parts = ("depthwise",) if i == 1 else ("expand", "depthwise")
        for place, part in enumerate(parts):
            layer = f"{prefix}.{place}"
            table |= torch_layer(f"{ours}_{part}", f"{layer}.0", f"{layer}.1")
        last = len(parts)
        table |= torch_layer(f"{ours}_project", f"{prefix}.{last}", f"{prefix}.{last + 1}")
    return table | torch_layer("backbone/conv18", "features.18.0", "features.18.1")


TORCHVISION = Released(
    name="MobileNetV2 of torchvision",
    signature=("features.0.0.weight", "features.18.0.weight", "features.17.conv.2.weight"),
    table=_table(),
    input=TORCHVISION_INPUT,
    settings={"batch_norm": True, "batch_norm_epsilon": 1e-5, "padding": "symmetric"},
)
