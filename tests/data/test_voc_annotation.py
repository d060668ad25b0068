import os

import pytest

from ssd_jax.data import voc_annotation

SIZE = "<size><width>64</width><height>48</height></size>"
BOX = "<bndbox><xmin>17</xmin><ymin>13</ymin><xmax>48</xmax><ymax>36</ymax></bndbox>"
OBJECT = f"<object><name>cat</name>{BOX}</object>"


@pytest.fixture
def read(tmp_path):
    def read(text):
        (tmp_path / "a.xml").write_text(text)
        return voc_annotation.read(tmp_path / "a.xml")

    return read


@pytest.mark.parametrize(
    "text",
    [
        f"<annotation>{SIZE}{OBJECT}</annotation>",
        f"<annotation>{SIZE}<objects>{OBJECT}</objects></annotation>",
        f"<annotation>{SIZE}{OBJECT.replace('object', 'Object')}</annotation>",
        f'<annotation xmlns="http://x">{SIZE}{OBJECT}</annotation>',
        f"<annotations>{SIZE}{OBJECT}</annotations>",
        f"<annotation>{SIZE}<object><polygon><x1>1</x1></polygon>{OBJECT[8:]}</annotation>",
        f"<annotation>{SIZE}<object><part><name>head</name>{BOX}</part>{OBJECT[8:]}</annotation>",
        f"<annotation>{SIZE}<object><name>\n cat\n</name><bndbox><ymax> 36</ymax>\
<xmax>48.0</xmax><xmin>+17</xmin><ymin>1.3e1</ymin></bndbox></object></annotation>",
    ],
)
def test_one_object_however_it_is_written(read, text):
    found = read(text)
    assert found.size == (48, 64)
    (item,) = found.objects
    assert item == ("cat", (17, 13, 48, 36), False, "")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<html><body>x</body></html>", "expected <annotation> or an <object>, got <html>"),
        ('<annotations><image><box label="cat"/></image></annotations>', "got <annotations>"),
        (f"<annotation><item>{BOX}</item></annotation>", "<bndbox> stands outside"),
        (f"<annotation>{BOX}{OBJECT}</annotation>", "<bndbox> stands outside"),
        ("<annotation><item><name>cat</name></item></annotation>", "no <object>, but <item>"),
        ('<annotation><box xmin="1"/></annotation>', "no <object>, but <box>"),
        (f"<annotation>{SIZE}{SIZE}</annotation>", "expected one <size>, got 2"),
        (f"<annotation>{SIZE.replace('64', 'wide')}</annotation>", "number in <width>, got 'wide'"),
        (f"<annotation>{SIZE.replace('64', '64.5')}</annotation>", "whole numbers in <size>"),
        (f"<annotation>{SIZE.replace('64', '1e999')}</annotation>", "number in <width>"),
    ],
)
def test_files_that_would_become_background_are_refused(read, text, reason):
    with pytest.raises(ValueError, match=reason):
        read(text)


def test_a_picture_without_objects(read):
    text = (
        f'<annotation verified="yes"><folder>f</folder>{SIZE}<source><database>x</database>'
        "</source><segmented>0</segmented><owner><name>x</name></owner><odd>1</odd></annotation>"
    )
    assert read(text) == ((48, 64), ())


@pytest.mark.parametrize(
    "size",
    ["", "<size/>", "<size><width>0</width><height>0</height></size>", "<size><width/></size>"],
)
def test_a_size_that_is_not_known(read, size):
    assert read(f"<annotation>{size}</annotation>").size is None


@pytest.mark.parametrize(
    ("element", "defect"),
    [
        (f"<object>{BOX}</object>", "expected the name of a class, got ''"),
        (f"<object><name>a</name><name>b</name>{BOX}</object>", "expected one <name>, got 2"),
        (f"<object><name>a\nb</name>{BOX}</object>", "in one line of text"),
        (f"<object><name>background</name>{BOX}</object>", "label 0 of every detector"),
        ("<object><name>a</name></object>", "no bndbox"),
        ("<object><name>a</name><robndbox><cx>1</cx></robndbox></object>", "no bndbox"),
        (f"<object><name>a</name>{BOX}{BOX}</object>", "expected one <bndbox>, got 2"),
        (f"<object><name>a</name>{BOX}<x>{BOX}</x></object>", "got another one inside"),
        (f"<object><name>a</name>{BOX}{OBJECT}</object>", "an <object> stands in another"),
        ('<object name="a" xmin="1"/>', "expected the name of a class"),
        *(
            (f"<object><name>a</name>{BOX.replace('17', text)}</object>", "a number in <xmin>")
            for text in ("", "ten", "nan", "inf", "1_7", "17,5", "0x11", "\uff11\uff17")
        ),
        (f"<object><name>a</name>{BOX.replace('<ymin>', '<xmin>1</xmin><ymin>')}</object>",
         "expected one <xmin>, got 2"),
    ],
)  # fmt: skip
def test_an_object_that_cannot_be_used_says_why(read, element, defect):
    (item,) = read(f"<annotation>{element}</annotation>").objects
    assert defect in item.defect


@pytest.mark.parametrize(
    ("text", "difficult"),
    [("", False), ("0", False), ("0.0", False), ("False", False), ("no", False),
     ("Unspecified", False), ("1", True), (" 1\n", True), ("TRUE", True), ("yes", True)],
)  # fmt: skip
def test_difficult_in_words(read, text, difficult):
    element = OBJECT.replace("</name>", f"</name><difficult>{text}</difficult>")
    (item,) = read(f"<annotation>{element}</annotation>").objects
    assert (item.difficult, item.defect) == (difficult, "")


@pytest.mark.parametrize("text", ["2", "-1", "maybe", "nan", "0 1"])
def test_difficult_that_is_neither(read, text):
    element = OBJECT.replace("</name>", f"</name><difficult>{text}</difficult>")
    (item,) = read(f"<annotation>{element}</annotation>").objects
    assert f"expected 0 or 1 in <difficult>, got '{text}'" in item.defect


def test_a_fifo_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.xml")
    with pytest.raises(ValueError, match="expected a regular file"):
        voc_annotation.read(tmp_path / "a.xml")
