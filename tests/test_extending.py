"""Parts from outside of the package: each is its class, its config and one line of registration."""

import contextlib
import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from ssd_jax import config, sharding
from ssd_jax.detectors import DETECTORS
from ssd_jax.detectors.losses import CONFIDENCE_LOSSES
from ssd_jax.detectors.ssd import SSD
from ssd_jax.models.backbones import BACKBONES
from ssd_jax.models.heads import MultiboxHead
from ssd_jax.train.run import Run
from ssd_jax.types import Predictions


@dataclasses.dataclass(frozen=True)
class Pyramid:
    """A backbone of three convolutions."""

    channels: int = 8
    features: ClassVar[tuple[str, ...]] = ("stride4", "stride8")
    relu6: ClassVar[bool] = False

    def module(self, style):
        return PyramidModule(self, style)


class PyramidModule(nn.Module):
    settings: Pyramid
    style: object

    @nn.compact
    def __call__(self, images, *, train):
        del train
        x, features = images, {}
        for stride in (2, 4, 8):
            x = nn.relu(nn.Conv(self.settings.channels, (3, 3), 2, name=f"conv{stride}")(x))
            if stride > 2:
                features[f"stride{stride}"] = x
        return features


@dataclasses.dataclass(frozen=True)
class SigmoidFocal:
    """RetinaNet's loss (Lin et al., section 3): independent sigmoids, every negative."""

    gamma: float = 2.0
    alpha: float = 0.25
    negative_ratio: ClassVar[None] = None

    def loss(self, logits, labels):
        wanted = jax.nn.one_hot(labels, logits.shape[-1])[:, 1:]
        logits = logits[:, 1:]
        log_p = jnp.where(wanted > 0, jax.nn.log_sigmoid(logits), jax.nn.log_sigmoid(-logits))
        weight = jnp.where(wanted > 0, self.alpha, 1 - self.alpha)
        return -(weight * (1 - jnp.exp(log_p)) ** self.gamma * log_p).sum(axis=-1)

    def scores(self, logits):
        return jax.nn.sigmoid(logits)


class SharedHead(nn.Module):
    """RetinaNet's: one head, whose weights all maps share."""

    maps: nn.Module
    neck: nn.Module
    boxes_per_cell: int
    num_classes: int
    style: object

    @nn.compact
    def __call__(self, images, *, train):
        head = MultiboxHead(self.boxes_per_cell, self.num_classes, 3, False, self.style)
        each = [
            head(x, train=train) for x in self.neck(self.maps(images, train=train), train=train)
        ]
        return Predictions(*(jnp.concatenate(part, axis=1) for part in zip(*each, strict=True)))


@dataclasses.dataclass(frozen=True)
class RetinaNet(SSD):
    """A detector of any backbone and neck, with one head for all maps."""

    def network(self, boxes_per_cell):
        [boxes] = set(boxes_per_cell)
        neck = self.neck.module(self.style())
        return SharedHead(self.sources(), neck, boxes, self.num_classes, self.style())


@pytest.fixture
def registered():
    added = ((BACKBONES, "pyramid", Pyramid), (DETECTORS, "retinanet", RetinaNet))
    added += ((CONFIDENCE_LOSSES, "sigmoid_focal", SigmoidFocal),)
    with contextlib.ExitStack() as stack:
        for registry, name, part in added:
            registry.add(name, part)
            stack.callback(registry._parts.pop, name)
        yield


def test_a_backbone_a_loss_and_a_detector_from_outside_train(registered, tiny):
    values = tiny.to_dict()
    # As flags would: text, and in any order.
    flags = {
        "config.model.extras.sources": "('stride4', 'stride8')",
        "config.model.extras.l2_norm": "()",
        "config.model.extras.layers": "()",
        "config.model.backbone.channels": "16",
        "config.model.neck": "transfer_connections",
        "config.model.neck.channels": "8",
        "config.model.backbone": "pyramid",
        "config.model.image_size": "(64, 64)",
        "config.loss.confidence": "sigmoid_focal",
        "config.loss.confidence.gamma": "1.5",
        "config.anchors.ratios": "((2.0,), (2.0,))",
        "config.model": "retinanet",
    }
    config.override(values, flags)
    experiment = config.resolve(values)
    assert isinstance(experiment.model, RetinaNet)
    assert experiment.model.backbone == Pyramid(channels=16)
    assert experiment.loss.confidence == SigmoidFocal(gamma=1.5)
    assert config.from_json(config.to_json(experiment)) == experiment

    run = Run.from_experiment(experiment, jax.devices()[:1])
    state = run.init()
    before = jax.device_get(state.params)
    with run.batches() as batches:
        state, metrics = run.step(state, sharding.put_batch(run.mesh, next(batches)), run.key)
    assert float(metrics.loss.total) > 0
    changed = jax.tree.map(lambda a, b: bool(np.any(a != b)), before, jax.device_get(state.params))
    assert all(any(jax.tree.leaves(part)) for part in changed.values())
    outputs, _ = run.detector.apply(state.variables(), jnp.zeros((1, 64, 64, 3)), train=False)
    # Maps of 16 and 8 cells, two squares and two ratios in each.
    assert outputs.logits.shape[1] == 4 * (16**2 + 8**2) == len(run.detector.anchors)
    assert run.detector.detect(outputs).scores.max() <= 1
