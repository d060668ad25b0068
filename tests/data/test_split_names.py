import pytest
from annotated_pictures import ListDataset, make_example

from ssd_jax.data import preparation, records, split_names


@pytest.mark.parametrize("name", ["train", "val2017", "train_v2", "train-1", "2007", "_x", "Übung"])
def test_names_that_are_accepted_can_be_opened(tmp_path, name):
    split_names.check(name)
    dataset = ListDataset({name: [make_example()]})
    preparation.prepare(dataset, name="pets", data_dir=tmp_path)
    assert len(records.open_source(f"pets:{name}", tmp_path)) == 1
    assert len(records.open_source(f"pets:{name}[:100%]", tmp_path)) == 1


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("all", "rename it"),
        ("train.v2", "'train_v2'"),
        ("a b", "'a_b'"),
        ("a+b", "'a_b'"),
        ("a[1]", "'a_1'"),
        ("a,b", "'a_b'"),
        ("a:b", "'a_b'"),
        ("-a", "'a'"),
        ("a%", "'a'"),
        ("", "expected letters"),
    ],
)
def test_names_that_could_not_be_opened_are_refused_before_anything_is_read(tmp_path, name, remedy):
    with pytest.raises(ValueError, match=f"a split cannot be called .*{remedy}"):
        split_names.check(name)
    read = []

    class Watched(ListDataset):
        def examples(self, split, problems):
            read.append(split)
            return super().examples(split, problems)

    dataset = Watched({name: [make_example()]})
    with pytest.raises(ValueError, match="a split cannot be called"):
        preparation.prepare(dataset, name="pets", data_dir=tmp_path)
    assert read == []
    assert list(tmp_path.iterdir()) == []


def test_conventional_names():
    names = ("train", "Val", "valid", "validation", "test", "trainval", "train2017", "test_2012")
    assert all(map(split_names.is_conventional, names))
    assert not any(map(split_names.is_conventional, ("VOC2007", "trains", "cat_train", "results")))


def test_shared_pictures():
    pictures = {"train": {1, 2}, "val": {2, 3}, "test": {4}, "trainval": {1, 2, 3}}
    assert list(split_names.shared(pictures)) == ["train and val share 1 pictures"]
