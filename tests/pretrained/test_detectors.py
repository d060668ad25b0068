"""Trained detectors of other people: their tables are whole, and they detect the same here."""

import dataclasses
import functools
import pathlib

import caffe_nets
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from launch import import_weights
from ssd_jax import config
from ssd_jax import detectors as our_detectors
from ssd_jax import weight_files as files
from ssd_jax.checkpoints import detector_file
from ssd_jax.pretrained import detectors, released_classes

GOLDENS = np.load(pathlib.Path(__file__).parent / "goldens" / "caffe.npz")
PAIRS = [(model, family) for model, families in detectors.FAMILIES.items() for family in families]


@functools.cache
def shapes(model, folded):
    values = import_weights.config_of(model)
    config.override(values, {"config.model.num_classes": 21, "config.model.folded": folded})
    detector = our_detectors.build(config.resolve(values))
    tree = jax.eval_shape(detector.init, jax.random.key(0))
    return {k: x.shape for k, x in flax.traverse_util.flatten_dict(tree, sep="/").items()}


@pytest.mark.parametrize(("model", "family"), PAIRS, ids=lambda x: getattr(x, "name", x))
def test_a_table_names_every_array_of_the_detector_once(model, family):
    ours = shapes(model, family.overrides.get("config.model.folded", False))
    assert set(family.table) == set(ours)
    theirs = [entry.theirs for entry in family.table.values()]
    assert len(set(theirs)) == len(theirs)
    assert family.first in ours


@pytest.mark.parametrize(("model", "family"), PAIRS, ids=lambda x: getattr(x, "name", x))
def test_a_file_is_found_among_the_families_of_its_model(model, family):
    arrays = dict.fromkeys(family.used, np.zeros(1))
    assert detectors.find(arrays, model) is family


def test_other_files_and_other_models_are_refused():
    with pytest.raises(ValueError, match=r"SSD300 of Caffe \(has conv4_3_norm_mbox_conf/0"):
        detectors.find({"a": np.zeros(1)}, "ssd300_voc")
    with pytest.raises(ValueError, match=r"expected one of ssd300_voc, .* got 'yolo'"):
        detectors.find({}, "yolo")


def test_names_of_classes():
    assert released_classes.names(21)[14] == "person"
    assert released_classes.names(81)[:2] == ("person", "bicycle")
    assert released_classes.names(81)[-1] == "toothbrush"
    numbered = released_classes.names(91)  # 12 is a street sign, which nobody annotated
    assert numbered[10:13] == ("fire hydrant", released_classes.NOBODY, "stop sign")
    assert numbered.count(released_classes.NOBODY) == 10
    assert released_classes.names(3) == ("class 1", "class 2")


def imported(name, **options):
    """A net of caffe_nets.GOLDEN through its file, with the config of its width."""
    net = caffe_nets.GOLDEN[name]()
    model = name.removesuffix("_deployed")
    arrays = net.arrays()
    family = detectors.find(arrays, model)
    values = import_weights.config_of(model)
    config.override(values, {**family.overrides, "config.model.width": net.width})
    return net, detectors.convert(arrays, family, config.resolve(values), **options)


@pytest.mark.parametrize("name", caffe_nets.GOLDEN)
def test_caffe_nets_detect_what_opencv_says(name, tmp_path):
    net, one = imported(name)
    (tmp_path / "x.caffemodel").write_bytes(net.caffemodel())
    read = files.read(tmp_path / "x.caffemodel")
    assert all(np.array_equal(read[k], v) for k, v in net.arrays().items())
    assert not one.unused
    detector = our_detectors.build(one.experiment)
    images = jnp.asarray(caffe_nets.picture(net)[None], jnp.float32)

    @jax.jit
    def predict(variables, images):
        predictions, _ = detector.apply(variables, images, train=False)
        return predictions, detector.detect(predictions)

    predictions, found = predict(one.variables, images)
    fields = {
        "mbox_loc": "offsets",
        "mbox_conf": "logits",
        "odm_loc": "offsets",
        "odm_conf": "logits",
        "arm_loc": "arm_offsets",
        "arm_conf": "arm_logits",
    }
    compared = 0
    for output, ours in fields.items():
        if f"{name}/{output}" in GOLDENS:
            golden = GOLDENS[f"{name}/{output}"]
            values = np.asarray(getattr(predictions, ours)).ravel()[:: caffe_nets.SAMPLE]
            assert np.abs(values - golden).max() <= 1e-4 * np.abs(golden).max(), output
            compared += 1
    assert compared == len(caffe_nets.outputs(net)) - ("mbox_loc" in net.channels)
    if f"{name}/detection_out" not in GOLDENS:
        return
    golden = GOLDENS[f"{name}/detection_out"]
    assert int(found.valid.sum()) == len(golden)
    boxes, scores, labels = (np.asarray(x[0]) for x in found[:3])
    # Nearly equal scores may change places, at the end with what is cut off.
    for label, score, *box in golden[golden[:, 1] > golden[-1, 1] + 1e-4]:
        same = (labels == label) & (np.abs(scores - score) < 1e-3)
        assert (np.abs(boxes - box).max(axis=1)[same] < 1e-3).any(), (label, score, box)


def test_a_file_that_misses_an_array_or_has_another_shape_is_refused():
    net = caffe_nets.GOLDEN["mobilenet_ssd_deployed"]()
    arrays = net.arrays()
    family = detectors.find(arrays, "mobilenet_ssd")
    values = import_weights.config_of("mobilenet_ssd")
    config.override(values, family.overrides)
    with pytest.raises(ValueError, match=r"conv0/0 is \(3, 3, 3, 8\), our .* is \(3, 3, 3, 32\)"):
        detectors.convert(arrays, family, config.resolve(values))
    del arrays["conv5/dw/1"]
    with pytest.raises(ValueError, match="lacks conv5/dw/1"):
        detectors.convert(arrays, family, config.resolve(values))


def test_another_number_of_classes_needs_permission():
    with pytest.raises(ValueError, match="scores 5 classes and the background, but 2 are named"):
        imported("mobilenet_ssd_deployed", names=("cat", "dog"))
    _, one = imported("mobilenet_ssd_deployed", names=("cat", "dog"), allow_partial=True)
    assert len(one.fresh) == 12  # kernels and biases of six heads
    # The account is true: what was not taken is not used.
    assert sum("mbox_conf" in name for name in one.unused) == 12
    assert not any("mbox_conf" in name for name in one.used)
    assert len(one.used) == 94 - 12
    assert one.experiment.class_names == ("cat", "dog")
    assert one.variables["params"]["head2"]["logits"]["bias"].shape == (18,)
    _, whole = imported("mobilenet_ssd_deployed")
    np.testing.assert_array_equal(
        one.variables["params"]["head2"]["offsets"]["kernel"],
        whole.variables["params"]["head2"]["offsets"]["kernel"],
    )


def test_a_class_of_nobody_keeps_its_part_in_the_scores():
    """Each remaining class has the score that the whole file gives it, and nobody is detected."""
    net, whole = imported("mobilenet_ssd_deployed")
    _, one = imported("mobilenet_ssd_deployed", names=("a", "-", "b", "-", "c"))
    assert one.experiment.class_names == ("a", "b", "c")
    assert one.experiment.model.num_classes == 6
    jax.tree.map(np.testing.assert_array_equal, one.variables, whole.variables)
    images = jnp.asarray(caffe_nets.picture(net)[None], jnp.float32)

    def detect(imported):
        # Everything is kept, so that the other classes take no places.
        decoder = dataclasses.replace(imported.experiment.decoder, max_detections=500)
        detector = our_detectors.build(dataclasses.replace(imported.experiment, decoder=decoder))

        @jax.jit
        def predict(variables, images):
            return detector.detect(detector.apply(variables, images, train=False)[0])

        found = jax.device_get(predict(imported.variables, images))
        valid = found.valid[0]
        assert valid.sum() < 500
        return found.labels[0][valid], found.scores[0][valid], found.boxes_xyxy[0][valid]

    labels, scores, boxes = detect(whole)
    our_labels, our_scores, our_boxes = detect(one)
    assert set(our_labels) == {1, 2, 3}
    for ours, theirs in ((1, 1), (2, 3), (3, 5)):
        np.testing.assert_allclose(our_scores[our_labels == ours], scores[labels == theirs])
        np.testing.assert_allclose(our_boxes[our_labels == ours], boxes[labels == theirs])


def test_names_that_leave_nothing_or_differ_not_are_refused():
    with pytest.raises(ValueError, match="all are left out"):
        imported("mobilenet_ssd_deployed", names=("-",) * 5)
    with pytest.raises(ValueError, match=r"names that differ, got 'a'"):
        imported("mobilenet_ssd_deployed", names=("a", "b", "c", "a", "-"))


def test_a_detector_file_brings_its_config(tmp_path):
    _, one = imported("mobilenet_ssd")
    path = tmp_path / "new" / "x.npz"
    detector_file.save(path, one.experiment, one.variables)
    experiment, variables = detector_file.load(path)
    assert experiment == one.experiment
    assert experiment.input.channel_order == "bgr"
    jax.tree.map(np.testing.assert_array_equal, variables, one.variables)
    assert [x.name for x in path.parent.iterdir()] == ["x.npz"]
    with pytest.raises(ValueError, match=r"ends in \.npz"):
        detector_file.save(tmp_path / "x.pth", one.experiment, one.variables)


def with_unreported(experiment, *logits):
    decoder = dataclasses.replace(experiment.decoder, unreported=logits)
    return dataclasses.replace(experiment, decoder=decoder)


def test_a_detector_file_whose_classes_are_not_its_networks_is_refused(tmp_path):
    _, one = imported("mobilenet_ssd_deployed")
    detector_file.save(tmp_path / "x.npz", with_unreported(one.experiment, 2), one.variables)
    with pytest.raises(ValueError, match="names 5 classes, but its network scores 6"):
        detector_file.load(tmp_path / "x.npz")
    with pytest.raises(ValueError, match=r"unreported: expected logits from 1 to 5, got \(6,\)"):
        our_detectors.build(with_unreported(one.experiment, 6))


def test_what_is_no_detector_file_is_refused(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.zeros(3))
    with pytest.raises(ValueError, match="expected a detector as"):
        detector_file.load(tmp_path / "x.npz")
    (tmp_path / "y.npz").write_bytes(b"PK\3\4" * 9)
    with pytest.raises(ValueError, match="cannot be read"):
        detector_file.load(tmp_path / "y.npz")
    with pytest.raises(ValueError, match=r"no .*z.npz"):
        detector_file.load(tmp_path / "z.npz")
    np.savez(
        tmp_path / "w.npz", **{"config.json": np.frombuffer(b'{"format": 2, "modl": 1}', np.uint8)}
    )
    with pytest.raises(ValueError, match="modl: there is no such field"):
        detector_file.load(tmp_path / "w.npz")
