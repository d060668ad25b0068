import pickle

import numpy as np
import pytest
import tensorflow_datasets as tfds
from annotated_pictures import ListDataset, encode, exif, make_example, noise

from ssd_jax.data import examples, images, pipeline, preparation, records


def prepare(data_dir, name, *image_ids, **options):
    dataset = ListDataset({"train": [make_example(i) for i in image_ids]}, **options)
    preparation.prepare(dataset, name=name, data_dir=data_dir)


def test_everything_comes_back(tmp_path):
    boxes = [(6, 4, 30, 20), (37.8, 3.5, 50.25, 9), (0, 0, 60, 40)]
    written = make_example(
        "a b",
        boxes,
        labels=[1, 0, 1],
        area=[100.5, 7, 2400],
        difficult=[True, False, False],
        crowd=[False, True, False],
    )
    dataset = ListDataset({"val": [written, make_example("empty", [])]}, category_ids=(3, 18))
    preparation.prepare(dataset, name="pets", data_dir=tmp_path)
    source = records.open_source("pets:val", tmp_path)
    assert len(source) == 2
    assert source.class_names == ("cat", "dog")
    assert source.category_ids == (3, 18)
    record = source[0]
    assert record.image_id == "a b"
    assert record.image == written.image
    assert (record.height, record.width) == (40, 60)
    np.testing.assert_array_equal(record.boxes_xyxy, written.boxes_xyxy.astype(np.float32))
    np.testing.assert_array_equal(record.boxes_in_pixels(), boxes)  # exactly
    assert record.labels.tolist() == [2, 1, 2]  # 0 is background
    assert record.difficult.tolist() == [True, False, False]
    assert record.crowd.tolist() == [False, True, False]
    assert record.area.tolist() == [100.5, 7, 2400]
    dtypes = [np.float32, np.int32, bool, bool, np.float32]
    assert [column.dtype for column in record[4:]] == dtypes
    empty = source[1]
    assert [column.dtype for column in empty[4:]] == dtypes
    assert empty.boxes_xyxy.shape == (0, 4)
    assert empty.boxes_in_pixels().shape == (0, 4)


def test_annotated_corners_come_back_exactly_from_float32(tmp_path):
    rng = np.random.default_rng(0)
    size = (1365, 2047)  # sizes that are not friendly to binary fractions
    corners = np.sort(rng.uniform(0, 1, (500, 2, 2)), axis=1) * size[::-1]
    corners = np.round(corners.reshape(-1, 4), 2)
    written = examples.make_example(
        image_id="a",
        filename="a.png",
        image=encode(noise(1, 1)),
        upright_size=size,
        annotated_size=size,
        turn=1,
        objects=[examples.Object(box, label=0, area=1.0) for box in corners],
    )
    preparation.prepare(ListDataset({"train": [written]}), name="pets", data_dir=tmp_path)
    record = records.open_source("pets:train", tmp_path)[0]
    np.testing.assert_array_equal(record.boxes_in_pixels(), corners)


def test_mixtures_and_slices(tmp_path):
    prepare(tmp_path, "one", "a", "b", "c", "d")
    prepare(tmp_path, "two", "x", "y")
    source = records.open_source("one:train[:50%], two:train", tmp_path)
    assert [source[i].image_id for i in range(len(source))] == ["a", "b", "x", "y"]
    assert [record.image_id for record in source] == ["a", "b", "x", "y"]
    for index in (4, -1):
        with pytest.raises(IndexError, match=f"expected an index below 4, got {index}"):
            source[index]
    assert repr(source) == "Source(one:train[:50%], two:train: 4 records)"


def test_the_parts_of_a_mixture_must_have_the_same_classes(tmp_path):
    prepare(tmp_path, "one", "a")
    prepare(tmp_path, "two", "b", class_names=("dog", "cat"))
    with pytest.raises(ValueError, match=r"of one:train \(cat, dog\), got those of two:train"):
        records.open_source("one:train,two:train", tmp_path)


def test_a_source_can_be_pickled(tmp_path):
    prepare(tmp_path, "pets", "a", "b")
    source = records.open_source("pets:train,pets:train", tmp_path)
    encoded = pickle.dumps(source)
    assert len(encoded) < 100_000
    assert pickle.loads(encoded)[3].image_id == "b"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("pest:train", r"no data set 'pest' .* has: pets \(did you mean pets\?\).*--name pest"),
        ("shapes:train", r"launch\.prepare --format shapes --name shapes --data_dir"),
        ("voc/2007:test", "tfds build voc/2007 --data_dir .* --file_format array_record"),
        ("pets:test", r"no split 'test' in pets, which has: train \(1\)"),
        ("pets:train[:0%]", "no split|empty"),
        ("pets:all[:50%]", "no split 'all"),
        ("pets", "expected NAME:SPLIT, got 'pets'"),
        ("pets:train,", "expected NAME:SPLIT, got ''"),
    ],
)
def test_what_is_not_there_is_named_with_what_is(tmp_path, spec, message):
    prepare(tmp_path, "pets", "a")
    with pytest.raises(ValueError, match=message):
        records.open_source(spec, tmp_path)


def test_nothing_prepared_at_all(tmp_path):
    with pytest.raises(ValueError, match="which has: none"):
        records.open_source("pets:train", tmp_path / "nowhere")


def test_the_newest_version_is_read(tmp_path):
    prepare(tmp_path, "pets", "old")
    prepare(tmp_path / "other", "pets", "new")
    (tmp_path / "other" / "pets" / "1.0.0").rename(tmp_path / "pets" / "1.10.0")
    (tmp_path / "pets" / "1.9.0").mkdir()
    assert records.prepared(tmp_path)["pets"].name == "1.10.0"


class TfdsBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Writes one picture with the features of TFDS's own voc or coco."""

    VERSION = tfds.core.Version("5.0.0")
    code_path = None

    def __init__(self, name, config, features, row, data_dir):
        self.name = name
        self._features, self._row = features, row
        config = tfds.core.BuilderConfig(name=config, version=self.VERSION)
        super().__init__(data_dir=data_dir, config=config, file_format="array_record")

    def _info(self):
        features = tfds.features.FeaturesDict(self._features)
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager):
        return {name: iter([("key", self._row)]) for name in ("train", "validation")}

    def _generate_examples(self):
        raise NotImplementedError


@pytest.mark.parametrize("name", ["voc", "coco"])
def test_a_name_decides_nothing(tmp_path, name):
    boxes = [(6, 4, 30, 20), (0, 0, 60, 40)]
    names = [f"class {number}" for number in range(80)]
    dataset = ListDataset({"train": [make_example("a", boxes)]}, class_names=names)
    preparation.prepare(dataset, name=name, data_dir=tmp_path)
    source = records.open_source(f"{name}:train", tmp_path)
    np.testing.assert_array_equal(source[0].boxes_in_pixels(), boxes)
    assert source.category_ids == tuple(range(1, 81))
    with pytest.raises(ValueError, match="no split 'trainval'"):
        records.open_source(f"{name}:trainval", tmp_path)


@pytest.mark.parametrize("name", ["voc", "mine"])
def test_the_voc_of_tfds(tmp_path, name):
    # TFDS divides VOC's corners, which are inclusive and count from 1, by the size.
    height, width = 375, 500
    corners = [(1, 1, 500, 375), (48.5, 240, 195, 371)]
    boxes = [tfds.features.BBox(y0 / height, x0 / width, y1 / height, x1 / width)
             for x0, y0, x1, y1 in corners]  # fmt: skip
    label = tfds.features.ClassLabel(names=["aeroplane", "bicycle"])
    features = {
        "image": tfds.features.Image(),
        "image/filename": tfds.features.Text(),
        "objects": tfds.features.Sequence(
            {
                "label": label,
                "bbox": tfds.features.BBoxFeature(),
                "pose": tfds.features.ClassLabel(names=["left", "right"]),
                "is_truncated": np.bool_,
                "is_difficult": np.bool_,
            }
        ),
        "labels": tfds.features.Sequence(label),
        "labels_no_difficult": tfds.features.Sequence(label),
    }
    objects = [
        {"label": k, "bbox": box, "pose": 0, "is_truncated": True, "is_difficult": k == 1}
        for k, box in enumerate(boxes)
    ]
    row = {
        "image": encode(noise(height, width), "JPEG"),
        "image/filename": "000005.jpg",
        "objects": objects,
        "labels": [0, 1],
        "labels_no_difficult": [0],
    }
    TfdsBuilder(name, "2007", features, row, tmp_path).download_and_prepare()

    assert len(records.open_source(f"{name}/2007:train+validation", tmp_path)) == 2
    source = records.open_source(f"{name}/2007:trainval", tmp_path)
    assert len(source) == 2
    record = source[1]
    assert record.image_id == "000005"
    assert (record.height, record.width) == (height, width)
    np.testing.assert_array_equal(
        record.boxes_in_pixels(), [(0, 0, 500, 375), (47.5, 239, 195, 371)]
    )
    np.testing.assert_allclose(record.area, (500 * 375, 147.5 * 132), rtol=1e-6)
    assert record.labels.tolist() == [1, 2]
    assert record.difficult.tolist() == [False, True]
    assert not record.crowd.any()
    assert source.category_ids == (1, 2)


@pytest.mark.parametrize("name", ["coco", "mine"])
def test_the_coco_of_tfds(tmp_path, name):
    features = {
        "image": tfds.features.Image(encoding_format="jpeg"),
        "image/filename": tfds.features.Text(),
        "image/id": np.int64,
        "objects": tfds.features.Sequence(
            {
                "id": np.int64,
                "area": np.int64,
                "bbox": tfds.features.BBoxFeature(),
                "label": tfds.features.ClassLabel(num_classes=80),
                "is_crowd": np.bool_,
            }
        ),
    }
    box = tfds.features.BBox(ymin=4 / 40, xmin=6 / 60, ymax=20 / 40, xmax=30 / 60)
    row = {
        "image": encode(noise(60, 40), "JPEG", exif=exif(6)),  # upright 40 x 60
        "image/filename": "000000000009.jpg",
        "image/id": 9,
        "objects": [{"id": 1, "area": 77, "bbox": box, "label": 79, "is_crowd": True}],
    }
    TfdsBuilder(name, "2017", features, row, tmp_path).download_and_prepare()
    source = records.open_source(f"{name}/2017:train", tmp_path)
    record = source[0]
    assert record.image_id == "9"
    assert (record.height, record.width) == (40, 60)
    np.testing.assert_array_equal(record.boxes_in_pixels(), [(6, 4, 30, 20)])
    assert record.labels.tolist() == [80]
    assert record.crowd.tolist() == [True]
    assert record.area.tolist() == [77]
    assert source.category_ids[-1] == 90  # toothbrush
    assert len(source.category_ids) == 80


def test_a_data_set_without_objects_is_refused(tmp_path):
    features = {"image": tfds.features.Image(), "label": np.int64}
    row = {"image": encode(noise(4, 4)), "label": 1}
    TfdsBuilder("mnist", "small", features, row, tmp_path).download_and_prepare()
    with pytest.raises(ValueError, match="expected mnist/small to have objects with labels"):
        records.open_source("mnist/small:train", tmp_path)


def test_a_data_set_without_random_access_is_refused(tmp_path):
    prepare(tmp_path, "pets", "a")
    info = tmp_path / "pets" / "1.0.0" / "dataset_info.json"
    info.write_text(info.read_text().replace('"array_record"', '"tfrecord"'))
    with pytest.raises(ValueError, match="pets in array_record files, got tfrecord"):
        records.open_source("pets:train", tmp_path)


def test_tensorflow_is_not_needed(tmp_path):
    import sys

    prepare(tmp_path, "pets", "a")
    record = records.open_source("pets:train", tmp_path)[0]
    assert images.decode(record.image).shape == (40, 60, 3)
    assert "tensorflow" not in sys.modules


@pytest.mark.parametrize("num_workers", [None, 0, 1])
@pytest.mark.parametrize("damage", ["cut", "empty", "changed"])
def test_a_damaged_file_names_itself_and_the_record(damage, num_workers, tmp_path):
    whole, broken = [make_example("a"), make_example("b")], [make_example("c")] * 3
    dataset = ListDataset({"train": whole, "val": broken})
    preparation.prepare(dataset, name="pets", data_dir=tmp_path)
    [file] = tmp_path.glob("pets/*/pets-val.array_record*")
    content = file.read_bytes()
    middle = len(content) // 4
    changed = content[:100] + bytes(x ^ 0xFF for x in content[100:middle]) + content[middle:]
    file.write_bytes({"cut": content[:-100], "empty": b"", "changed": changed}[damage])
    source = records.open_source("pets:train,pets:val", tmp_path)
    assert source[1].image_id == "b"
    message = rf"record [01] of pets:val cannot be read from {file}: .* prepare the data set again"

    def read():
        if num_workers is None:
            return source[2]
        options = {"batch_size": 2, "canvas_size": (40, 60), "max_objects": 1}
        with pipeline.eval_batches(source, num_workers=num_workers, **options) as batches:
            return list(batches)

    with pytest.raises(ValueError, match=message):
        read()


def test_a_damaged_file_is_named_of_several_and_of_a_part_of_a_split(tmp_path):
    written = [make_example(str(i)) for i in range(10)]
    dataset = ListDataset({"train": written, "val": written[:2]})
    preparation.prepare(dataset, name="pets", data_dir=tmp_path)
    [file] = tmp_path.glob("pets/*/pets-val.array_record*")
    file.write_bytes(b"")
    source = records.open_source("pets:train[50%:]+val", tmp_path)
    assert [source[i].image_id for i in range(5)] == ["5", "6", "7", "8", "9"]
    with pytest.raises(ValueError, match=rf"record 5 of pets:train\[50%:\]\+val .* from {file}"):
        source[5]
