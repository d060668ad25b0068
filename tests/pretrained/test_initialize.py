import dataclasses
import logging

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import mobilenet_ssd
from ssd_jax import config, detectors
from ssd_jax.data.images import decode
from ssd_jax.models.layers import Style
from ssd_jax.models.mobilenet import MobileNetV1
from ssd_jax.pretrained import detector_file, files, initialize, mobilenet_v1


def slim(seed=0, width=1.0):
    """Random arrays with TF-slim's names and layouts, for a backbone of that width."""
    model = MobileNetV1(width)
    shapes = jax.eval_shape(
        lambda: model.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)), train=False)
    )
    flat = {
        f"{name.split('/', 1)[0]}/backbone/{name.split('/', 1)[1]}": x.shape
        for name, x in flax.traverse_util.flatten_dict(shapes, sep="/").items()
    }
    rng = np.random.default_rng(seed)
    values = {}
    for ours, (theirs, *_) in mobilenet_v1.TF_SLIM.table.items():
        shape = flat.pop(ours)
        if theirs.endswith("depthwise_weights"):
            shape = (*shape[:2], shape[3], shape[2])
        values[theirs] = rng.normal(size=shape).astype(np.float16)
    assert not flat  # the table names every array of the backbone
    values["MobilenetV1/Logits/Conv2d_1c_1x1/biases"] = np.zeros(1001, np.float32)
    return values


@pytest.fixture
def experiment():
    values = mobilenet_ssd.get_config("small,voc")
    values.model.width, values.model.num_classes = 0.02, 4
    return config.resolve(values)


def test_slim_weights_land_in_the_backbone(experiment, tmp_path, caplog):
    values = slim(width=0.02)
    np.savez(tmp_path / "slim.npz", **values)
    fresh = detectors.build(experiment).init(jax.random.key(0))
    loaded, fit = initialize.initialize(fresh, str(tmp_path / "slim.npz"), experiment)
    assert jax.tree.structure(loaded) == jax.tree.structure(fresh)
    backbone = loaded["params"]["backbone"]
    prefix = "MobilenetV1/Conv2d_3_"
    np.testing.assert_array_equal(
        backbone["conv3_depthwise"]["conv"]["kernel"][:, :, 0],
        values[f"{prefix}depthwise/depthwise_weights"][..., 0],
    )
    np.testing.assert_array_equal(
        backbone["conv3_pointwise"]["conv"]["kernel"], values[f"{prefix}pointwise/weights"]
    )
    np.testing.assert_array_equal(
        loaded["batch_stats"]["backbone"]["conv3_pointwise"]["bn"]["var"],
        values[f"{prefix}pointwise/BatchNorm/moving_variance"],
    )
    assert len(fit.loaded) == 27 * 5
    assert fit.unused == ("MobilenetV1/Logits/Conv2d_1c_1x1/biases",)
    assert not fit.misfits
    assert all("extra" in name or "head" in name for name in fit.fresh)
    np.testing.assert_array_equal(
        loaded["params"]["head1"]["logits"]["kernel"], fresh["params"]["head1"]["logits"]["kernel"]
    )
    # The released epsilon and padding differ from this config's: it is said.
    assert "batch_norm_epsilon" in caplog.text
    assert "padding" in caplog.text
    with caplog.at_level(logging.INFO, "ssd_jax"):
        initialize.report(fit, "slim.npz")
    assert "Loaded 135 arrays of slim.npz" in caplog.text
    assert "1 in it and not used: MobilenetV1/Logits" in caplog.text


def test_another_shape_is_an_error_unless_parts_are_wanted(experiment, tmp_path):
    values = slim(width=0.02)
    values["MobilenetV1/Conv2d_0/weights"] = np.zeros((5, 5, 3, 8), np.float32)
    np.savez(tmp_path / "slim.npz", **values)
    source = str(tmp_path / "slim.npz")
    fresh = detectors.build(experiment).init(jax.random.key(0))
    misfit = "params/backbone/conv0/conv/kernel (5, 5, 3, 8) -> (3, 3, 3, 8)"
    with pytest.raises(ValueError, match="1 arrays of") as caught:
        initialize.initialize(fresh, source, experiment)
    assert misfit in str(caught.value)
    partial = dataclasses.replace(experiment, init_partial=True)
    loaded, fit = initialize.initialize(fresh, source, partial)
    assert fit.misfits == (misfit,)
    first = ("params", "backbone", "conv0", "conv", "kernel")
    assert _at(loaded, first) is _at(fresh, first)
    only = dataclasses.replace(experiment, init_only=("backbone/conv[1-9]*",))
    loaded, fit = initialize.initialize(fresh, source, only)
    assert not fit.misfits
    assert "params/backbone/conv0/conv/kernel" in fit.not_asked
    assert "params/head1/logits/bias" in fit.not_asked
    assert "batch_stats/backbone/conv5_depthwise/bn/mean" in fit.loaded
    assert _at(loaded, first) is _at(fresh, first)
    with pytest.raises(ValueError, match=r"config.init_only: backbon/\* matches no parameter"):
        initialize.initialize(fresh, source, dataclasses.replace(only, init_only=("backbon/*",)))


def _at(tree, path):
    for name in path:
        tree = tree[name]
    return tree


def test_class_heads_for_other_classes_begin_anew(experiment, tmp_path, caplog):
    detector = detectors.build(experiment)
    trained = detector.init(jax.random.key(1))
    path = tmp_path / "theirs.npz"
    detector_file.save(path, experiment, trained)
    model = dataclasses.replace(experiment.model, num_classes=6)
    other = dataclasses.replace(experiment, model=model)
    fresh = detectors.build(other).init(jax.random.key(0))
    loaded, fit = initialize.initialize(fresh, str(path), other)
    assert len(fit.classes) == 8  # kernels and biases of four heads
    assert all("logits" in name for name in fit.classes)
    for part in ("kernel", "bias"):
        np.testing.assert_array_equal(
            loaded["params"]["head2"]["offsets"][part], trained["params"]["head2"]["offsets"][part]
        )
    np.testing.assert_array_equal(
        loaded["params"]["head2"]["logits"]["kernel"], fresh["params"]["head2"]["logits"]["kernel"]
    )
    with caplog.at_level(logging.INFO, "ssd_jax"):
        initialize.report(fit, "theirs.npz")
    assert "8 class heads begin anew, for other classes than theirs" in caplog.text
    with pytest.raises(ValueError, match="were trained on"):
        initialize.initialize(
            fresh, str(path), dataclasses.replace(other, input=config.Input(mean=(1.0, 2.0, 3.0)))
        )
    folded = dataclasses.replace(other, model=dataclasses.replace(model, folded=True))
    with pytest.raises(ValueError, match="folded: True"):
        initialize.initialize(fresh, str(path), folded)


def named(experiment, *names, **decoder):
    """The experiment with these classes."""
    unreported = decoder.get("unreported", ())
    num_classes = 1 + len(names) + len(unreported)
    return dataclasses.replace(
        experiment,
        class_names=names,
        model=dataclasses.replace(experiment.model, num_classes=num_classes),
        decoder=dataclasses.replace(experiment.decoder, **decoder),
    )


def heads(variables):
    """The kernels of a second head of four boxes, [..., boxes, classes]."""
    kernel = variables["params"]["head2"]["logits"]["kernel"]
    return np.asarray(kernel).reshape(*kernel.shape[:-1], 4, -1)


def begun(theirs, ours, path):
    """Both detectors' class heads, ours as it begins, and as it would be fresh; and the account."""
    trained = detectors.build(theirs).init(jax.random.key(1))
    detector_file.save(path, theirs, trained)
    fresh = detectors.build(ours).init(jax.random.key(0))
    loaded, fit = initialize.initialize(fresh, str(path), ours)
    return heads(trained), heads(loaded), heads(fresh), fit


def test_class_heads_for_other_classes_of_the_same_number_begin_anew(experiment, tmp_path, caplog):
    theirs = named(experiment, "cat", "dog", "owl")
    path = tmp_path / "x.npz"
    trained, loaded, fresh, fit = begun(theirs, named(experiment, "cat", "dog", "car"), path)
    np.testing.assert_array_equal(loaded, fresh)
    assert len(fit.classes) == 8
    with caplog.at_level(logging.INFO, "ssd_jax"):
        initialize.report(fit, "x.npz")
    assert "8 class heads begin anew, for other classes than theirs (cat, dog, owl)" in caplog.text
    trained, loaded, fresh, fit = begun(theirs, theirs, path)
    np.testing.assert_array_equal(loaded, trained)
    assert not fit.classes
    assert not fit.reordered


def test_class_heads_for_the_same_classes_in_another_order_are_reordered(
    experiment, tmp_path, caplog
):
    theirs, ours = named(experiment, "cat", "dog", "owl"), named(experiment, "owl", "cat", "dog")
    trained, loaded, _, fit = begun(theirs, ours, tmp_path / "x.npz")
    np.testing.assert_array_equal(loaded, trained[..., [0, 3, 1, 2]])
    assert len(fit.reordered) == 8
    with caplog.at_level(logging.INFO, "ssd_jax"):
        initialize.report(fit, "x.npz")
    assert "8 class heads take the order of this detector's classes" in caplog.text


def test_logits_that_are_no_class_are_left_behind(experiment, tmp_path):
    theirs = named(experiment, "cat", "dog", "owl", unreported=(2, 4))
    ours = named(experiment, "cat", "dog", "owl")
    trained, loaded, _, fit = begun(theirs, ours, tmp_path / "x.npz")
    np.testing.assert_array_equal(loaded, trained[..., [0, 1, 3, 5]])
    assert not fit.classes


def test_a_prefix_of_all_names_is_taken_off(experiment, tmp_path, caplog):
    values = slim(width=0.02)
    path = tmp_path / "slim.npz"
    fresh = detectors.build(experiment).init(jax.random.key(0))
    np.savez(path, **values)
    plain, _ = initialize.initialize(fresh, str(path), experiment)
    np.savez(path, **{f"module.{name}": value for name, value in values.items()})
    with caplog.at_level(logging.INFO, "ssd_jax"):
        wrapped, _ = initialize.initialize(fresh, str(path), experiment)
    jax.tree.map(np.testing.assert_array_equal, wrapped, plain)
    assert "without their prefix module." in caplog.text


def test_bad_sources_are_messages(experiment, tmp_path):
    fresh = detectors.build(experiment).init(jax.random.key(0))

    def error(source, of=experiment):
        with pytest.raises(ValueError, match=r"^(pretrained|config|/)") as caught:
            initialize.initialize(fresh, str(source), of)
        return str(caught.value)

    assert "is none" in error(tmp_path / "missing.npz")
    assert "cannot be read as torch" in error(_write(tmp_path / "weights.pth", b"x"))
    assert "cannot be read" in error(_write(tmp_path / "broken.npz", b"PK\x03\x04 broken"))
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    assert "none of the files that are known" in error(tmp_path / "other.npz")
    np.savez(tmp_path / "objects.npz", a=np.array([{}], dtype=object), allow_pickle=True)
    assert "cannot be read" in error(tmp_path / "objects.npz")
    np.savez(tmp_path / "half.npz", **dict(list(slim(width=0.02).items())[:50]))
    assert "lacks MobilenetV1" in error(tmp_path / "half.npz")
    np.savez(tmp_path / "slim.npz", **slim(width=0.02))
    values = mobilenet_ssd.get_config("small,voc")
    values.input.mean = (123.0, 117.0, 104.0)
    assert "config.input" in error(tmp_path / "slim.npz", config.resolve(values))
    assert "no " in error(tmp_path)  # a folder without a run


def _write(path, content):
    path.write_bytes(content)
    return path


def test_imagenets_classifier_knows_dogs_and_cats(shared):
    path = shared / "weights" / "mobilenet_v1_1.0_224_fp32.npz"
    values = files.read(path)
    flat = mobilenet_v1.TF_SLIM.convert(values, mobilenet_v1.TF_SLIM.input)
    tree = flax.traverse_util.unflatten_dict(flat, sep="/")
    variables = {name: tree[name]["backbone"] for name in ("params", "batch_stats")}
    model = MobileNetV1(style=Style(batch_norm=True, epsilon=1e-3, same_padding=True))
    weights = values["MobilenetV1/Logits/Conv2d_1c_1x1/weights"][0, 0]
    biases = values["MobilenetV1/Logits/Conv2d_1c_1x1/biases"]

    @jax.jit
    def classify(images):
        normalized = images / 127.5 - 1
        features = model.apply(variables, normalized, train=False)["conv13"]
        return jnp.argmax(features.mean(axis=(1, 2)) @ weights + biases, axis=-1)

    # Class 0 is background in TF-slim, so dogs are 152-269 and cats 282-286.
    root = shared / "data" / "voc2012_animals" / "VOCdevkit" / "VOC2012"
    ranges = {"dog": range(152, 270), "cat": range(282, 287)}
    photographs = {name: _largest(root, name, 24) for name in ranges}
    for name, images in photographs.items():
        found = np.asarray(classify(jnp.stack(images)))
        share = np.isin(found, ranges[name]).mean()
        # By chance 12 % would be dogs and .5 % cats.
        assert share > 0.6, (name, share, found)


def _largest(root, name, count):
    """Crops of the first `count` objects of a class that are at least 130 pixels wide and high."""
    import xml.etree.ElementTree as ElementTree

    from PIL import Image

    crops = []
    for path in sorted((root / "Annotations").glob("*.xml")):
        for item in ElementTree.parse(path).getroot().iter("object"):
            if item.findtext("name") != name:
                continue
            box = [float(item.find("bndbox").findtext(k)) for k in ("xmin", "ymin", "xmax", "ymax")]
            if min(box[2] - box[0], box[3] - box[1]) < 130:
                continue
            picture = decode((root / "JPEGImages" / f"{path.stem}.jpg").read_bytes())
            crop = Image.fromarray(picture).crop([round(x) for x in box])
            crops.append(np.asarray(crop.resize((224, 224), Image.BILINEAR), np.float32))
            if len(crops) == count:
                return crops
    return crops
