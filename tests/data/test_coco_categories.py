import pathlib

import pytest

from ssd_jax.data import coco_categories

PATH = pathlib.Path("train.json")


def entry(number, name, supercategory=None):
    return {"id": number, "name": name, "supercategory": supercategory}


def classes(items, used=(), **options):
    found = {PATH: coco_categories.read(PATH, items)}
    kept, left_out = coco_categories.classes(found, set(used), **options)
    return [(category.id, category.name) for category in kept], left_out


def test_categories_come_by_rising_id():
    items = [entry(18, " dog "), entry(0, "cat"), entry(3.0, "7")]
    assert classes(items) == ([(0, "cat"), (3, "7"), (18, "dog")], [])


@pytest.mark.parametrize(
    ("items", "reason"),
    [
        ([None], "train.json, category number 1: expected an object of JSON, got null"),
        ([entry(1, "a"), {"name": "b"}], "category number 2: expected a whole number .* in id"),
        ([entry(True, "a")], "in id, got True"),
        ([entry("2", "a")], "in id, got '2'"),
        ([entry(-1, "a")], "in id, got -1"),
        ([entry(1, "")], "category 1: expected a text in name, got ''"),
        ([entry(1, 2)], "category 1: expected a text in name, got 2"),
        ([entry(1, "cat\ndog")], "category 1: .* in one line"),
        ([entry(1, "cat"), entry(1, "dog")], "every category id once, got 1 of 'cat' and 'dog'"),
        ([entry(1, "cat"), entry(2, "cat ")], r"got twice cat \(ids 1 and 2\)"),
        ([], "distinct names in train.json, got none"),
    ],
)
def test_what_is_no_list_of_categories(items, reason):
    with pytest.raises(ValueError, match=reason):
        classes(items)


def test_what_exporters_add_is_no_class_while_it_has_no_object():
    roboflow = [entry(0, "pets", "none"), entry(1, "cat", "pets"), entry(2, "dog", "pets")]
    assert classes(roboflow, {1}) == ([(1, "cat"), (2, "dog")], ["pets"])
    assert classes(roboflow, {0, 1})[1] == []
    assert classes(roboflow, wanted=["pets"])[1] == []
    coco = [entry(1, "person", "person"), entry(2, "car", "vehicle")]
    assert classes(coco) == ([(1, "person"), (2, "car")], [])
    assert classes([entry(0, "thing", "none")]) == ([(0, "thing")], [])
    background = [entry(0, "__background__"), entry(1, "cat")]
    assert classes(background, {1}) == ([(1, "cat")], ["__background__"])
    with pytest.raises(ValueError, match=r"train\.json, category 0: .*label 0"):
        classes(background, {0})


def test_files_agree():
    found = {
        pathlib.Path("a.json"): coco_categories.read(PATH, [entry(1, "a"), entry(2, "b")]),
        pathlib.Path("b.json"): coco_categories.read(PATH, [entry(2, "b"), entry(1, "a", "x")]),
    }
    assert coco_categories.classes(found, set())[1] == []
    found[pathlib.Path("c.json")] = coco_categories.read(PATH, [entry(1, "b"), entry(2, "a")])
    with pytest.raises(ValueError, match=r"same categories in every split, got others in c\.json"):
        coco_categories.classes(found, set())
