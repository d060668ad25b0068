import json

import pytest
from annotated_pictures import ListDataset, make_example

from ssd_jax.data import preparation, records
from ssd_jax.data.builder import write


def two_splits(**options):
    train = [
        make_example("a", boxes=[(0, 0, 6, 4), (0, 0, 60, 40)], labels=[0, 1], crowd=[False, True]),
        make_example("b", boxes=[]),
    ]
    val = [make_example("c", labels=[1], difficult=[True], size=(20, 30))]
    return ListDataset({"train": train, "val": val}, **options)


def left_in(data_dir):
    return sorted(path.name for path in data_dir.iterdir())


def test_a_data_set_and_its_summary(tmp_path):
    seen = []
    summary = preparation.prepare(
        two_splits(),
        name="pets",
        data_dir=tmp_path / "new",
        progress=lambda split, example: seen.append((split, example.image_id)),
    )
    assert left_in(tmp_path / "new") == ["pets"]
    assert summary.folder == tmp_path / "new" / "pets" / "1.0.0"
    assert sorted(seen) == [("train", "a"), ("train", "b"), ("val", "c")]
    train, val = summary.splits["train"], summary.splits["val"]
    assert (train.images, train.images_without_objects, train.max_objects) == (2, 1, 2)
    assert dict(train.objects_per_class) == {0: 1, 1: 1}
    assert (train.crowds, train.difficult, val.difficult) == (1, 0, 1)
    assert val.sizes == [(20, 30)]
    # sqrt(6 * 4 / (60 * 40)) = .1, and the whole picture
    assert train.relative_sizes == pytest.approx([0.1, 1])
    assert not (summary.folder / preparation.LEFT_OUT_FILE).exists()


def test_the_labels_are_written_out(tmp_path):
    summary = preparation.prepare(two_splits(category_ids=(3, 18)), name="pets", data_dir=tmp_path)
    metadata = json.loads((summary.folder / "metadata.json").read_text())
    assert metadata["classes"] == {"0": "background", "1": "cat", "2": "dog"}
    assert metadata["category_ids"] == [3, 18]


def test_problems_stop_it_with_all_of_them_and_leave_nothing(tmp_path):
    dataset = two_splits(problems=[("x.xml", "no area"), ("y.jpg", "corrupt")])
    with pytest.raises(preparation.BadData, match="2 problem") as caught:
        preparation.prepare(dataset, name="pets", data_dir=tmp_path)
    assert [str(problem) for problem in caught.value.problems] == [
        "x.xml: no area",
        "y.jpg: corrupt",
    ]
    assert left_in(tmp_path) == []


def test_problems_can_be_left_out_and_are_listed(tmp_path):
    dataset = two_splits(problems=[("x.xml", "no area")])
    summary = preparation.prepare(dataset, name="pets", data_dir=tmp_path, on_error="skip")
    assert [str(problem) for problem in summary.left_out] == ["x.xml: no area"]
    assert (summary.folder / preparation.LEFT_OUT_FILE).read_text() == "x.xml: no area\n"
    assert len(records.open_source("pets:train", tmp_path)) == 2


@pytest.mark.parametrize("interruption", [RuntimeError, KeyboardInterrupt])
def test_an_interruption_leaves_nothing(tmp_path, interruption):
    def interrupted(split, example):
        raise interruption

    with pytest.raises(interruption):
        preparation.prepare(two_splits(), name="pets", data_dir=tmp_path, progress=interrupted)
    assert left_in(tmp_path) == []


def test_an_existing_data_set_is_replaced_only_on_demand_and_by_a_complete_one(tmp_path):
    preparation.prepare(two_splits(), name="pets", data_dir=tmp_path)
    new = ListDataset({"train": [make_example("new")]})
    with pytest.raises(ValueError, match=r"exists already.*--overwrite"):
        preparation.prepare(new, name="pets", data_dir=tmp_path)
    bad = ListDataset({"train": [make_example("new")]}, problems=[("x.xml", "no area")])
    with pytest.raises(preparation.BadData):
        preparation.prepare(bad, name="pets", data_dir=tmp_path, overwrite=True)
    assert len(records.open_source("pets:train+val", tmp_path)) == 3

    preparation.prepare(new, name="pets", data_dir=tmp_path, overwrite=True)
    assert records.open_source("pets:train", tmp_path)[0].image_id == "new"
    assert left_in(tmp_path) == ["pets"]


def test_only_a_data_set_is_overwritten(tmp_path):
    (tmp_path / "voc" / "2007" / "4.0.0").mkdir(parents=True)  # TFDS's own
    (tmp_path / "voc" / "2007" / "4.0.0" / "features.json").touch()
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "thesis.tex").touch()
    (tmp_path / "notes").touch()
    for name, inside in (("voc", "2007"), ("src", "thesis.tex"), ("notes", "notes")):
        with pytest.raises(ValueError, match=rf"launch\.prepare did not write \({inside}\)"):
            preparation.prepare(two_splits(), name=name, data_dir=tmp_path, overwrite=True)
    assert (tmp_path / "src" / "thesis.tex").exists()
    (tmp_path / "empty").mkdir()
    preparation.prepare(two_splits(), name="empty", data_dir=tmp_path, overwrite=True)


def test_what_no_file_can_hold_is_escaped_in_the_list(tmp_path):
    dataset = two_splits(problems=[("\udcff.xml", "bad\x1b[31m\nname")])
    summary = preparation.prepare(dataset, name="pets", data_dir=tmp_path, on_error="skip")
    text = (summary.folder / preparation.LEFT_OUT_FILE).read_text()
    assert text == "\\udcff.xml: bad\\x1b[31m\\nname\n"


def test_what_a_killed_run_left_behind_does_not_read_as_prepared(tmp_path):
    class Killed(BaseException):
        pass

    def kill(folder):
        # Where the folder is complete but does not have its name yet.
        assert (folder / "features.json").exists()
        assert records.prepared(tmp_path) == {}
        raise Killed

    dataset = two_splits()
    with pytest.raises(Killed):
        write(
            dataset,
            {"train": iter(dataset.examples("train", None))},
            name="pets",
            data_dir=tmp_path,
            finish=kill,
        )


@pytest.mark.parametrize("name", ["Pets", "my-pets", "my pets", "1pets", "a/b", "", "pets:v2", "ü"])
def test_names_that_cannot_be_read_back_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match="expected a name of lower-case letters"):
        preparation.prepare(two_splits(), name=name, data_dir=tmp_path)


def test_a_split_in_which_nothing_is_left_is_refused(tmp_path):
    splits = {"train": [make_example()], "val": []}
    with pytest.raises(ValueError, match="no picture that can be used in val"):
        preparation.prepare(ListDataset(splits), name="pets", data_dir=tmp_path)
    bad = ListDataset(splits, problems=[("x.xml", "no area")])
    with pytest.raises(preparation.BadData, match="1 problem"):
        preparation.prepare(bad, name="pets", data_dir=tmp_path)
    with pytest.raises(ValueError, match="no picture that can be used in val"):
        preparation.prepare(bad, name="pets", data_dir=tmp_path, on_error="skip")
    assert left_in(tmp_path) == []


def test_an_unknown_way_with_errors_is_refused(tmp_path):
    with pytest.raises(ValueError, match="expected on_error stop or skip, got 'ignore'"):
        preparation.prepare(two_splits(), name="pets", data_dir=tmp_path, on_error="ignore")
