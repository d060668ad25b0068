import pytest

from ssd_jax.data import xml_tree


def name(data):
    return xml_tree.parse(data).findtext("name")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_unicode_with_and_without_its_mark(encoding):
    assert name("<a><name>Kätzchen</name></a>".encode(encoding)) == "Kätzchen"


@pytest.mark.parametrize("encoding", ["gb2312", "GBK", "euc_kr", "shift_jis"])
def test_declared_encodings_of_several_bytes(encoding):
    text = f'<?xml version="1.0" encoding="{encoding}"?>\n<a><name>狗</name></a>'
    assert name(text.encode(encoding)) == "狗"
    text = '<?xml version="1.0" encoding="ISO-8859-1"?><a><name>é</name></a>'
    assert name(text.encode("latin-1")) == "é"


def test_names_have_no_case_and_no_namespace():
    assert name(b'<v:A xmlns:v="http://x"><v:Name>cat</v:Name></v:A>') == "cat"
    assert name(b'<!DOCTYPE a SYSTEM "a.dtd"><a xmlns="x"><NAME>cat</NAME></a>') == "cat"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'<!DOCTYPE a [<!ENTITY b "c"><!ENTITY d "&b;&b;">]><a>&d;</a>', "no entities"),
        (b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>', "no entities"),
        (b'<!DOCTYPE a SYSTEM "a.dtd"><a>&b;</a>', "no entities .*'b'"),
        (b"<a>&b;</a>", "undefined entity"),
        (b"<a>" * 1000, "at most 100 levels"),
        (b'<?xml version="1.0" encoding="klingon"?><a/>', "unknown encoding 'klingon'"),
        (b'<?xml version="1.0" encoding="hex"?><a/>', "unknown encoding 'hex'"),
        (b"<a>\xe9</a>", "save the file in UTF-8, or declare"),
        (b"<a>\0</a>", "not well-formed"),
        (b"", "no element found"),
        (b"<a/><a/>", "junk after"),
    ],
)
def test_what_is_refused(data, reason):
    with pytest.raises(ValueError, match=reason):
        xml_tree.parse(data)
