"""Reading XML that strangers made into a tree, with ValueError for whatever is wrong with it.

The byte order mark decides the encoding, then the declaration, in any encoding that Python knows.
Names come in lower case and without their namespace, so that `<Object>` and `<v:object>` are
`object`. Entities that a file declares are refused, because they can grow without bound; external
ones are never fetched.
"""

import re
from typing import NoReturn
from xml.etree import ElementTree
from xml.parsers import expat

from ssd_jax.data import plain_files

_MOST_LEVELS = 100
_DECLARED = re.compile(rb"""^\s*<\?xml[^>]*?\bencoding\s*=\s*["']([A-Za-z0-9._:-]+)["']""")


def parse(data: bytes) -> ElementTree.Element:
    """Parses a file's bytes.

    Raises:
        ValueError: where they are not well-formed XML of a known encoding, declare entities or are
            nested too deeply; the message is the reason, without a place.
    """
    builder = ElementTree.TreeBuilder()
    level = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal level
        level += 1
        if level > _MOST_LEVELS:
            raise ValueError(f"expected at most {_MOST_LEVELS} levels of XML")
        builder.start(_local(tag), {_local(name): value for name, value in attributes.items()})

    def end(tag: str) -> None:
        nonlocal level
        level -= 1
        builder.end(_local(tag))

    parser = expat.ParserCreate("utf-8", "}")
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    parser.EntityDeclHandler = _refuse_entity
    parser.SkippedEntityHandler = _refuse_entity
    try:
        parser.Parse(_decode(data).encode(), True)
    except expat.ExpatError as error:
        raise ValueError(str(error)) from None
    return builder.close()


def _decode(data: bytes) -> str:
    encoding = plain_files.marked_encoding(data)
    if encoding is None:
        # UTF-16 is recognised without its mark, as XML asks for.
        encoding = {b"<\0": "utf-16-le", b"\0<": "utf-16-be"}.get(data[:2])
    if encoding is None:
        declared = _DECLARED.match(data)
        encoding = declared[1].decode() if declared else "utf-8"
    try:
        return data.decode(encoding)
    except LookupError:
        raise ValueError(f"unknown encoding {encoding!r}; save the file as UTF-8") from None
    except UnicodeError as error:
        raise ValueError(f"{error}; save the file in UTF-8, or declare its encoding") from None


def _local(name: str) -> str:
    return name.rpartition("}")[2].lower()


def _refuse_entity(name: str, *_: object) -> NoReturn:
    raise ValueError(f"expected no entities of the file's own, got {name!r}")
