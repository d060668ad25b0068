"""ssd.pytorch and RefineDet.PyTorch: their arrays, run by torch as those projects run them.

The ports cannot be installed; what is written here is which array each of their steps reads. Runs
where torch is installed; last with 2.15.0.
"""

import itertools

import jax
import numpy as np
import pytest

from launch import import_weights
from ssd_jax import config
from ssd_jax import detectors as our_detectors
from ssd_jax import weight_files as files
from ssd_jax.pretrained import detectors

torch = pytest.importorskip("torch", reason="torch is not installed")
functional = torch.nn.functional

CLASSES = 6
CHANNELS = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
INDICES = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
POOLED_BEFORE = (5, 10, 17, 24)  # the third of them rounds up


class State(dict):
    """Arrays as a state dict has them, drawn from a seed."""

    def conv(self, name, inputs, outputs, kernel, *, gain=2.0, transposed=False):
        shape = (inputs, outputs) if transposed else (outputs, inputs)
        deviation = (gain / (inputs * kernel * kernel)) ** 0.5
        self[f"{name}.weight"] = torch.randn(*shape, kernel, kernel) * deviation
        self[f"{name}.bias"] = torch.randn(outputs) * 0.1

    def vgg(self):
        inputs = 3
        for index, outputs in zip(INDICES, CHANNELS, strict=True):
            self.conv(f"vgg.{index}", inputs, outputs, 3)
            inputs = outputs
        self.conv("vgg.31", 512, 1024, 3)
        self.conv("vgg.33", 1024, 1024, 1)

    def __call__(self, x, name, **options):
        return functional.conv2d(x, self[f"{name}.weight"], self[f"{name}.bias"], **options)

    def features(self, x, *, pool5, dilation):
        """The maps after conv4_3 (21), conv5_3 (28) and conv7 (33)."""
        maps = {}
        for index in INDICES:
            if index in POOLED_BEFORE:
                x = functional.max_pool2d(x, 2, 2, ceil_mode=index == 17)
            x = maps[index] = functional.relu(self(x, f"vgg.{index}", padding=1))
        x = functional.max_pool2d(x, *pool5)
        x = functional.relu(self(x, "vgg.31", padding=dilation, dilation=dilation))
        maps[33] = functional.relu(self(x, "vgg.33"))
        return maps

    def normalized(self, x, name):
        norm = x.pow(2).sum(dim=1, keepdim=True).sqrt() + 1e-10
        return self[f"{name}.weight"][None, :, None, None] * x / norm

    def heads(self, maps, name, values):
        parts = [
            self(x, f"{name}.{i}", padding=1).permute(0, 2, 3, 1).reshape(len(x), -1, values)
            for i, x in enumerate(maps)
        ]
        return torch.cat(parts, 1)


def predictions(state, model, picture, tmp_path):
    """Ours, through a file, and the detector."""
    torch.save(dict(state), tmp_path / "x.pth")
    arrays = files.read(tmp_path / "x.pth")
    family = detectors.find(arrays, model)
    values = import_weights.config_of(model)
    config.override(values, family.overrides)
    imported = detectors.convert(arrays, family, config.resolve(values))
    assert not imported.unused
    detector = our_detectors.build(imported.experiment)
    found, _ = jax.jit(lambda v, x: detector.apply(v, x, train=False))(imported.variables, picture)
    return found, detector


def blob(picture):
    """Pixels as the ports prepare them: BGR less its mean, turned round to RGB."""
    bgr = picture[..., ::-1] - np.array((104, 117, 123), np.float32)
    return torch.from_numpy(bgr[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32).copy())


def agree(ours, theirs):
    theirs = theirs.numpy()
    assert ours.shape == theirs.shape
    assert np.abs(np.asarray(ours) - theirs).max() <= 1e-4 * np.abs(theirs).max()


def clamped(sizes, maps, steps, side, ratios):
    """Boxes in the ports' order, clamped to 0-1; sizes are (square, second square or None)."""
    rows = []
    for (low, high), count, step, more in zip(sizes, maps, steps, ratios, strict=True):
        for y in range(count):
            for x in range(count):
                centre = ((x + 0.5) * step / side, (y + 0.5) * step / side)
                squares = [low, (low * high) ** 0.5] if high else [low]
                rows += [(*centre, s / side, s / side) for s in squares]
                for ratio in more:
                    wide, high_side = low / side * ratio**0.5, low / side / ratio**0.5
                    rows += [(*centre, wide, high_side), (*centre, high_side, wide)]
    return np.clip(np.array(rows, np.float32), 0, 1)


def test_ssd_pytorch(tmp_path):
    torch.manual_seed(0)
    state = State()
    state.vgg()
    state["L2Norm.weight"] = 20 * torch.rand(512)
    extras = (
        ((1024, 256, 1), (256, 512, 3)),
        ((512, 128, 1), (128, 256, 3)),
        ((256, 128, 1), (128, 256, 3)),
        ((256, 128, 1), (128, 256, 3)),
    )
    for i, shape in enumerate(x for pair in extras for x in pair):
        state.conv(f"extras.{i}", *shape)
    for i, (inputs, boxes) in enumerate(
        zip((512, 1024, 512, 256, 256, 256), (4, 6, 6, 6, 4, 4), strict=True)
    ):
        state.conv(f"loc.{i}", inputs, boxes * 4, 3, gain=0.05)
        state.conv(f"conf.{i}", inputs, boxes * CLASSES, 3, gain=0.05)
    picture = np.random.default_rng(0).integers(0, 256, (1, 300, 300, 3)).astype(np.float32)
    found, detector = predictions(state, "ssd300_voc", picture, tmp_path)

    maps = state.features(blob(picture), pool5=(3, 1, 1), dilation=6)
    x = maps[33]
    sources = [state.normalized(maps[21], "L2Norm"), x]
    for i in range(8):
        options = {"stride": 2, "padding": 1} if i in (1, 3) else {}
        x = functional.relu(state(x, f"extras.{i}", **options))
        if i % 2:
            sources.append(x)
    agree(found.offsets, state.heads(sources, "loc", 4))
    agree(found.logits, state.heads(sources, "conf", CLASSES))
    sizes = (30, 60, 111, 162, 213, 264, 315)
    expected = clamped(
        list(itertools.pairwise(sizes)),
        (38, 19, 10, 5, 3, 1),
        (8, 16, 32, 64, 100, 300),
        300,
        ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,)),
    )
    np.testing.assert_allclose(detector.anchors, expected, atol=1e-6)


def test_refinedet_pytorch(tmp_path):
    torch.manual_seed(0)
    state = State()
    state.vgg()
    state["conv4_3_L2Norm.weight"] = 10 * torch.rand(512)
    state["conv5_3_L2Norm.weight"] = 8 * torch.rand(512)
    state.conv("extras.0", 1024, 256, 1)
    state.conv("extras.1", 256, 512, 3)
    for i, inputs in enumerate((512, 512, 1024, 512)):
        state.conv(f"arm_loc.{i}", inputs, 12, 3, gain=0.05)
        state.conv(f"arm_conf.{i}", inputs, 6, 3, gain=0.05)
        state.conv(f"odm_loc.{i}", 256, 12, 3, gain=0.05)
        state.conv(f"odm_conf.{i}", 256, 3 * CLASSES, 3, gain=0.05)
        state.conv(f"tcb0.{3 * i}", inputs, 256, 3)
        state.conv(f"tcb0.{3 * i + 2}", 256, 256, 3)
        state.conv(f"tcb2.{3 * i + 1}", 256, 256, 3)
        if i < 3:
            state.conv(f"tcb1.{i}", 256, 256, 2, transposed=True)
    picture = np.random.default_rng(0).integers(0, 256, (1, 320, 320, 3)).astype(np.float32)
    found, detector = predictions(state, "refinedet320", picture, tmp_path)

    maps = state.features(blob(picture), pool5=(2, 2), dilation=3)
    x = functional.relu(state(maps[33], "extras.0"))
    arm = [
        state.normalized(maps[21], "conv4_3_L2Norm"),
        state.normalized(maps[28], "conv5_3_L2Norm"),
        maps[33],
        functional.relu(state(x, "extras.1", stride=2, padding=1)),
    ]
    odm, deeper = [], None
    for i in (3, 2, 1, 0):
        x = functional.relu(state(arm[i], f"tcb0.{3 * i}", padding=1))
        x = state(x, f"tcb0.{3 * i + 2}", padding=1)
        if deeper is not None:
            up = f"tcb1.{i}"
            x = x + functional.conv_transpose2d(
                deeper, state[f"{up}.weight"], state[f"{up}.bias"], stride=2
            )
        deeper = functional.relu(state(functional.relu(x), f"tcb2.{3 * i + 1}", padding=1))
        odm.insert(0, deeper)
    agree(found.arm_offsets, state.heads(arm, "arm_loc", 4))
    agree(found.arm_logits, state.heads(arm, "arm_conf", 2))
    agree(found.offsets, state.heads(odm, "odm_loc", 4))
    agree(found.logits, state.heads(odm, "odm_conf", CLASSES))
    expected = clamped(
        [(size, None) for size in (32, 64, 128, 256)],
        (40, 20, 10, 5),
        (8, 16, 32, 64),
        320,
        ((2,),) * 4,
    )
    np.testing.assert_allclose(detector.anchors, expected, atol=1e-6)
