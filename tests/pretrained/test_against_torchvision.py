"""torchvision's networks, with random weights, through our readers and tables: the same results.

Runs where torch and torchvision are installed; last with 2.15.0 and 0.29.2.
"""

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import ssd
from ssd_jax import config, detectors
from ssd_jax import weight_files as files
from ssd_jax.detectors.input import Input
from ssd_jax.models.mobilenet_v2 import MobileNetV2
from ssd_jax.models.resnet import ResNet
from ssd_jax.models.style import Style
from ssd_jax.models.vgg import VGG16
from ssd_jax.pretrained import detectors as trained
from ssd_jax.pretrained import known
from ssd_jax.pretrained.released import TORCHVISION_INPUT

torch = pytest.importorskip("torch", reason="torch is not installed")
torchvision = pytest.importorskip("torchvision", reason="torchvision is not installed")

# Another order and another scale than torchvision's: the first kernel has to be adapted.
INPUT = Input(TORCHVISION_INPUT.mean, (1.0, 1.0, 1.0), "bgr")


def randomised(model):
    """Statistics as a training leaves them, so that a wrong one shows."""
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(layer.running_mean, 0, 0.2)
            torch.nn.init.uniform_(layer.running_var, 0.5, 1.5)
            torch.nn.init.uniform_(layer.weight, 0.5, 1.5)
            torch.nn.init.normal_(layer.bias, 0, 0.2)
    return model.eval()


def resnet_maps(model, x):
    x = model.maxpool(model.relu(model.bn1(model.conv1(x))))
    maps = []
    for layer in (model.layer1, model.layer2, model.layer3, model.layer4):
        x = layer(x)
        maps.append(x)
    return maps


def maps_after(*numbers):
    def maps(model, x):
        found = []
        for i, layer in enumerate(model.features):
            x = layer(x)
            if i in numbers:
                found.append(x)
        return found

    return maps


@pytest.mark.parametrize(
    ("name", "theirs", "ours", "features"),
    [
        (
            "resnet50",
            resnet_maps,
            ResNet(50, "torchvision").module(Style(batch_norm=True)),
            ("res2c", "res3d", "res4f", "res5c"),
        ),
        (
            "mobilenet_v2",
            maps_after(0, 1, 4, 17, 18),
            MobileNetV2().module(Style(batch_norm=True, relu6=True)),
            ("conv0", "block1", "block4", "block17", "conv18"),
        ),
        (
            "vgg16",
            maps_after(3, 8, 15, 22, 29),
            VGG16().module(Style()),
            ("conv1_2", "conv2_2", "conv3_3", "conv4_3", "conv5_3"),
        ),
    ],
)
def test_maps_are_the_same(name, theirs, ours, features, tmp_path):
    torch.manual_seed(0)
    model = randomised(getattr(torchvision.models, name)(weights=None))
    torch.save(model.state_dict(), tmp_path / "x.pth")
    arrays = files.read(tmp_path / "x.pth")
    converted = known.find(arrays).convert(arrays, INPUT)
    tree = flax.traverse_util.unflatten_dict(converted, sep="/")
    variables = {group: part["backbone"] for group, part in tree.items()}

    picture = torch.rand(1, 3, 96, 96)
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    deviation = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    with torch.no_grad():
        expected = theirs(model, (picture - mean) / deviation)
    pixels = np.asarray(picture.permute(0, 2, 3, 1)) * 255
    images = jnp.asarray((pixels - np.array(INPUT.mean))[..., ::-1], jnp.float32)
    found = jax.jit(lambda v, x: ours.apply(v, x, train=False))(variables, images)
    for feature, values in zip(features, expected, strict=True):
        values = values.permute(0, 2, 3, 1).numpy()
        difference = np.abs(np.asarray(found[feature]) - values).max()
        assert difference <= 1e-4 * np.abs(values).max(), feature


@pytest.fixture(scope="module")
def ssd300():
    """torchvision's SSD300 with scores and offsets as large as a trained one's."""
    torch.manual_seed(0)
    model = torchvision.models.detection.ssd300_vgg16(
        weights=None, weights_backbone=None, num_classes=6
    )
    for name, parameter in model.head.named_parameters():
        if name.endswith("weight"):
            torch.nn.init.normal_(parameter, 0, 0.003)
    return model.eval()


def test_ssd300_detects_the_same(ssd300, tmp_path):
    torch.save(ssd300.state_dict(), tmp_path / "x.pth")
    arrays = files.read(tmp_path / "x.pth")
    family = trained.find(arrays, "ssd300_coco")
    values = ssd.get_config("300,coco")
    config.override(values, family.overrides)
    imported = trained.convert(arrays, family, config.resolve(values))
    assert not imported.unused
    detector = detectors.build(imported.experiment)

    torch.manual_seed(1)
    pictures = torch.rand(2, 3, 300, 300)
    with torch.no_grad():
        features = list(ssd300.backbone(ssd300.transform(list(pictures))[0].tensors).values())
        heads = ssd300.head(features)
        [anchors] = ssd300.anchor_generator(
            ssd300.transform(list(pictures[:1]))[0], [x[:1] for x in features]
        )
        expected = ssd300(list(pictures))
    theirs = anchors.numpy() / 300
    ours = detector.anchors
    np.testing.assert_allclose(ours[:, :2] - ours[:, 2:] / 2, theirs[:, :2], atol=1e-6)
    np.testing.assert_allclose(ours[:, :2] + ours[:, 2:] / 2, theirs[:, 2:], atol=1e-6)

    images = jnp.asarray(pictures.permute(0, 2, 3, 1)) * 255

    @jax.jit
    def predict(variables, images):
        predictions, _ = detector.apply(variables, images, train=False)
        return predictions, detector.detect(predictions)

    predictions, found = predict(imported.variables, images)
    for ours, name in (
        (predictions.offsets, "bbox_regression"),
        (predictions.logits, "cls_logits"),
    ):
        difference = np.abs(np.asarray(ours) - heads[name].numpy()).max()
        assert difference <= 1e-4 * np.abs(heads[name].numpy()).max(), name
    for one, reference in enumerate(expected):
        count = len(reference["scores"])
        assert count > 50
        assert int(found.valid[one].sum()) == count
        scores, boxes = np.asarray(reference["scores"]), np.asarray(reference["boxes"])
        labels = np.asarray(reference["labels"])
        # Nearly equal scores may change places, at the end with what is cut off.
        for i in np.flatnonzero(scores > scores[-1] + 1e-4):
            same = (np.asarray(found.labels[one]) == labels[i]) & np.asarray(found.valid[one])
            same &= np.abs(np.asarray(found.scores[one]) - scores[i]) < 1e-3
            shift = np.abs(np.clip(np.asarray(found.boxes_xyxy[one]), 0, 1) * 300 - boxes[i])
            assert (shift.max(axis=1)[same] < 0.1).any(), (one, i)
