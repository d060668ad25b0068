"""What the command says of a file, beside tests/pretrained: which model fits, what was read."""

import pathlib

import caffe_nets
import flax.traverse_util
import jax
import numpy as np
import pytest

from launch import import_weights
from ssd_jax import config, detectors
from ssd_jax.pretrained import ssd


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    """All models at a sixteenth of their width."""
    config_of = import_weights.config_of

    def narrow_config_of(model):
        values = config_of(model)
        values.model.width = 1 / 16
        return values

    monkeypatch.setattr(import_weights, "config_of", narrow_config_of)


def arrays_of(family, model, num_classes):
    """Arrays of a family's names and shapes, with numbers of no meaning."""
    values = import_weights.config_of(model)
    values.model.num_classes = num_classes
    tree = jax.eval_shape(detectors.build(config.resolve(values)).init, jax.random.key(0))
    arrays = {}
    for ours, x in flax.traverse_util.flatten_dict(tree, sep="/").items():
        shape = (x.shape[3], x.shape[2], *x.shape[:2]) if len(x.shape) == 4 else x.shape
        arrays[family.table[ours].theirs] = np.full(shape, 0.01, np.float32)
    return arrays


def test_a_file_of_another_model_hears_which_fits():
    torchvision = arrays_of(ssd.TORCHVISION, "ssd300_coco", 91)
    with pytest.raises(ValueError, match=r"these files are known.* fits --model=ssd300_coco$"):
        import_weights.convert(torchvision, "ssd300_voc")
    large = arrays_of(ssd.CAFFE[512], "ssd512_voc", 21)
    # It has all that a file of 300 has.
    with pytest.raises(ValueError, match=r"conv8_2_mbox.* fits --model=ssd512_voc$"):
        import_weights.convert(large, "ssd300_voc")
    with pytest.raises(ValueError, match=r"This file fits --model=ssd512_voc$"):
        import_weights.convert(large, "mobilenet_ssd")
    with pytest.raises(ValueError, match=r"these files are known") as caught:
        import_weights.convert({"a": np.zeros(3)}, "ssd300_voc")
    assert "fits" not in str(caught.value)


def test_a_file_of_another_data_set_is_refused_unless_its_classes_are_named():
    arrays = arrays_of(ssd.CAFFE[300], "ssd300_voc", 21)
    assert import_weights.convert(arrays, "ssd300_voc").experiment.class_names[0] == "aeroplane"
    with pytest.raises(ValueError, match=r"scores 20 classes, as ssd300_voc does.*=ssd300_voc$"):
        import_weights.convert(arrays, "ssd300_coco")
    with pytest.raises(ValueError, match=r"scores 20 classes and the background, but 80"):
        import_weights.convert(arrays, "ssd300_coco", names=[f"c{i}" for i in range(80)])
    names = [f"c{i}" for i in range(20)]
    named = import_weights.convert(arrays, "ssd300_coco", names=names)
    assert named.experiment.class_names == tuple(names)
    coco = arrays_of(ssd.CAFFE[300], "ssd300_coco", 81)
    with pytest.raises(ValueError, match=r"scores 80 classes, as ssd300_coco does"):
        import_weights.convert(coco, "ssd300_voc")
    # Torchvision's has one set of default boxes, whatever it was trained on.
    of_voc = arrays_of(ssd.TORCHVISION, "ssd300_coco", 21)
    assert len(import_weights.convert(of_voc, "ssd300_coco").experiment.class_names) == 20


def test_cocos_unused_numbers_stay_in_the_softmax():
    imported = import_weights.convert(arrays_of(ssd.TORCHVISION, "ssd300_coco", 91), "ssd300_coco")
    assert len(imported.experiment.class_names) == 80
    assert imported.experiment.model.num_classes == 91
    assert imported.experiment.decoder.unreported == (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)


@pytest.mark.parametrize("prefix", ["module.", "model.", "model.module.", "net.ssd."])
def test_a_prefix_of_all_names_is_taken_off(prefix, caplog):
    arrays = arrays_of(ssd.PORT, "ssd300_voc", 21)
    wrapped = {f"{prefix}{name}": value for name, value in arrays.items()}
    with caplog.at_level("INFO", "ssd_jax"):
        imported = import_weights.convert(wrapped | {"n_averaged": np.zeros(1)}, "ssd300_voc")
    assert set(imported.used) == set(arrays)
    assert imported.unused == ("n_averaged",)
    assert f"without their prefix {prefix}" in caplog.text
    both = {f"{p}.{name}": x for p in ("module", "ema") for name, x in arrays.items()}
    with pytest.raises(ValueError, match=r"several networks, under ema\., module\."):
        import_weights.convert(both, "ssd300_voc")


def test_the_summary_is_true_and_shows_what_was_derived():
    arrays = arrays_of(ssd.PORT, "ssd300_voc", 21)
    lines = import_weights.summary(
        import_weights.convert(arrays, "ssd300_voc"), pathlib.Path("x.pth")
    )
    assert lines[0] == "x.pth: SSD300 of ssd.pytorch, 71 arrays used"
    text = "\n".join(lines)
    assert "input: mean (123.0, 117.0, 104.0), scale (1.0, 1.0, 1.0), channel_order rgb" in text
    assert "anchors: preset ssd300_voc, clip cxcywh" in text
    assert "pre_nms_top_k 200" in text
    partial = import_weights.convert(arrays, "ssd300_voc", names=("cat", "dog"), allow_partial=True)
    lines = import_weights.summary(partial, pathlib.Path("x.pth"))
    assert lines[0].endswith(", 59 arrays used")
    assert lines[1].startswith("  12 in it and not used: conf.0.bias, conf.0.weight")
    assert lines[2].startswith("  12 class heads left untrained, for other classes: params/head1")
    assert "2 classes: cat, dog" in lines[3]


def test_the_nets_of_the_goldens_have_classes_of_their_own():
    """Six, which no data set has: nothing is checked and the classes are numbered."""
    imported = import_weights.convert(caffe_nets.GOLDEN["ssd300_voc"]().arrays(), "ssd300_voc")
    assert imported.experiment.class_names == tuple(f"class {i}" for i in range(1, 6))
