import os

import pytest
from annotated_pictures import encode, noise

from ssd_jax.data import voc

XML = (
    "<annotation><object><name>cat</name><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>9</xmax>"
    "<ymax>9</ymax></bndbox></object></annotation>"
)


@pytest.fixture
def write(tmp_path):
    """Writes pictures and annotations with names; returns the source."""
    picture = encode(noise(40, 60), "JPEG")

    def write(*names):
        for name in names:
            path = tmp_path / "source" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(XML.encode() if name.lower().endswith("xml") else picture)
        return tmp_path / "source"

    return write


def both(pictures, annotations, *stems):
    return [f"{pictures}/{s}.jpg" for s in stems] + [f"{annotations}/{s}.xml" for s in stems]


def read(source):
    """The ids of each split, and all problems."""
    from ssd_jax.data.examples import Problems

    reader, problems = voc.VocFolder(source), Problems()
    splits = {
        split: [example.image_id for example in reader.examples(split, problems)]
        for split in reader.split_sizes
    }
    return splits, [str(problem) for problem in problems], reader.notes


@pytest.mark.parametrize(
    ("pictures", "annotations"),
    [
        ("JPEGImages", "Annotations"),
        ("images", "annotations"),
        ("Images", "annots"),
        ("JPEGIMAGES", "xmls"),
        (".", "Annotations"),
        ("images", "."),
        (".", "."),
    ],
)
def test_folders_of_many_names(write, pictures, annotations):
    splits, problems, notes = read(write(*both(pictures, annotations, "a", "b")))
    assert splits == {"train": ["a", "b"]}
    assert problems == []
    assert "no lists of splits: all 2 pictures are train" in notes


def test_a_folder_a_split(write):
    source = write(*both("train", "train", "a", "b"), *both("valid", "valid", "a"))
    splits, problems, _ = read(source)
    assert (splits, problems) == ({"train": ["a", "b"], "valid": ["a"]}, [])
    assert read(source / "valid")[0] == {"valid": ["a"]}
    source = write(*both("test/images", "test/annotations", "c"))
    assert read(source)[0] == {"test": ["c"], "train": ["a", "b"], "valid": ["a"]}
    write(*both("more", "more", "a"))
    with pytest.raises(ValueError, match=r"splits \(test, train, valid\).*none \(more\)"):
        read(source)


@pytest.mark.parametrize("annotations", ["Annotations/train", "Annotations"])
def test_splits_inside_the_folder_of_pictures(write, annotations):
    source = write(
        *both("JPEGImages/train", annotations, "a"),
        *both("JPEGImages/val", annotations.replace("train", "val"), "b"),
    )
    splits, problems, _ = read(source)
    assert (splits, problems) == ({"train": ["train/a"], "val": ["val/b"]}, [])
    write(*both("JPEGImages", "Annotations", "c"))
    with pytest.raises(ValueError, match="pictures outside of them"):
        read(source)


def test_flat_folders_that_are_no_splits_are_one(write):
    source = write(*both("monday", "monday", "a"), *both("tuesday", "tuesday", "a"))
    assert read(source)[0] == {"train": ["monday/a", "tuesday/a"]}


def test_subfolders_and_stems_that_repeat(write):
    source = write(*both("JPEGImages/s1", "Annotations/s1", "a"))
    source = write(*both("JPEGImages/s2", "Annotations/s2", "a"))
    splits, problems, _ = read(source)
    assert (splits, problems) == ({"train": ["s1/a", "s2/a"]}, [])


def test_partners_are_looked_for_where_there_is_one(write):
    source = write("JPEGImages/IMG_1.JPG", "Annotations/img_1.XML")
    splits, problems, notes = read(source)
    assert (splits, problems) == ({"train": ["IMG_1"]}, [])
    assert "1 annotations are paired with pictures whose path differs" in " ".join(notes)
    source = write(*both("JPEGImages", "Annotations", "a", "A"))  # two, on Linux
    assert read(source)[0] == {"train": ["A", "IMG_1", "a"]}
    write("JPEGImages/s1/b.jpg", "JPEGImages/s2/b.jpg", "Annotations/b.xml")
    splits, problems, _ = read(source)
    assert splits == {"train": ["A", "IMG_1", "a"]}
    assert len(problems) == 3  # which b is it?


def test_what_cannot_be_told_is_refused(write):
    source = write(*both("JPEGImages", "Annotations", "a"), "JPEGImages/a.png", "JPEGImages/b.jpg")
    write("Annotations/b.xml", "Annotations/b.XML")
    splits, problems, _ = read(source)
    assert splits == {"train": []}
    assert "a.jpg and a.png are its pictures: move one away" in problems[0]
    assert "b.XML and b.xml are annotations of one picture" in problems[1]
    write("images/a.jpg", "img/a.jpg", "xmls/a.xml")
    assert read(source)[0] == {"train": []}  # VOC's own names are meant
    for folder in ("JPEGImages", "Annotations"):
        (source / folder).rename(source / f"old_{folder}")
    with pytest.raises(ValueError, match="got images, img; move one away"):
        read(source)


def test_what_systems_leave_behind(write):
    source = write(*both("JPEGImages", "Annotations", "a", "._a"), "__MACOSX/JPEGImages/a.jpg")
    write(*both("JPEGImages/.thumbs", "Annotations/.thumbs", "b"))
    splits, problems, _ = read(source)
    assert (splits, problems) == ({"train": ["a"]}, [])


def test_files_of_strangers_are_one_problem_each(write, tmp_path):
    source = write(*both("JPEGImages", "Annotations", "a", "b", "c", "d", "e"))
    for name in ("JPEGImages/a.jpg", "Annotations/b.xml", "JPEGImages/c.jpg", "Annotations/d.xml"):
        (source / name).unlink()
    os.mkfifo(source / "JPEGImages/a.jpg")
    os.mkfifo(source / "Annotations/b.xml")
    (source / "JPEGImages/c.jpg").symlink_to("/dev/zero")
    (source / "Annotations/d.xml").symlink_to("nowhere")
    splits, problems, _ = read(source)
    assert splits == {"train": ["e"]}
    assert len(problems) == 4
    assert all(
        f"{name}: " in problem
        for name, problem in zip(("a.jpg", "b.xml", "c.jpg", "d.xml"), problems, strict=True)
    )


def test_a_folder_of_annotations_without_any(write):
    source = write("JPEGImages/a.jpg")
    (source / "Annotations").mkdir()
    with pytest.raises(ValueError, match="holds no XML of a picture"):
        read(source)
    (source / "Annotations/a.xml").write_text("<html/>")
    with pytest.raises(ValueError, match=r"1 files cannot be read, the first is .*a\.xml: .*html"):
        read(source)


def test_what_is_left_out_is_said(write):
    source = write(*both("JPEGImages", "Annotations", "a"))
    (source / "Annotations" / "a.json").touch()
    assert "1 files in" in " ".join(read(source)[2])
