"""Text encodings: their names, whether a file in one can be entered in the middle, and the error for a wrong one."""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from functools import cache
from itertools import chain

from dataflow.errors import SourceError
from dataflow.store.filesystem import read_range, shown

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def codec_name(encoding: str) -> str:
    """The normalised name of an encoding; UTF-8 with a byte order mark is UTF-8.

    Raises:
        SourceError: Python has no such codec for text.
    """
    try:
        name = codecs.lookup(encoding).name
        "".encode(name)
    except LookupError as error:
        raise SourceError(f"encoding {encoding!r} is not known; try 'utf-8', 'latin-1', 'cp1252', 'utf-16'") from error
    return "utf-8" if name in ("utf-8", "utf-8-sig") else name


@cache
def transparent(encoding: str, structure: str) -> bool:
    """Whether the structure's characters are single bytes that are never a part of other characters.

    Only then can the ends of records be found in the bytes as they are; UTF-16 must be decoded first.

    Args:
        encoding: A normalised name.
        structure: ASCII characters: delimiter, quote, newlines.
    """
    if encoding == "utf-8":
        return True
    plain = bytes(range(128))
    if plain.decode(encoding, errors="replace") != plain.decode("ascii") or encoding.startswith("iso2022"):
        # The ISO 2022 family writes other characters in ASCII bytes behind an escape sequence.
        return False
    return all(
        (bytes([lead]) + mark.encode()).decode(encoding, errors="replace").endswith(mark)
        for lead in range(128, 256)
        for mark in structure
    )


def utf8_share(blocks: Iterable[bytes]) -> tuple[int, int]:
    """How many lines of a text are no UTF-8, and how many are though they are not ASCII."""
    other, found, held = 0, 0, b""
    for block in chain(blocks, (b"\n",)):
        pieces = (held + block).split(b"\n")
        held = pieces.pop()
        for piece in pieces:
            if piece.isascii():
                continue
            try:
                piece.decode()
            except UnicodeDecodeError:
                other += 1
            else:
                found += 1
    return other, found


def misencoded(path: str, encoding: str, *, line: int, share: tuple[int, int] = (0, 0)) -> SourceError:
    """The error for a byte on this line that has no meaning in the encoding, with advice from what the file holds.

    Args:
        path: As in `SourceFile.path`.
        encoding: The one it was read in.
        line: The number of the line, from 1.
        share: What `utf8_share` tells of the whole file.
    """
    other, found = share
    if encoding == "utf-8" and found >= max(other, 1):
        advice = (
            f"of {other + found:,} lines beyond ASCII {other:,} are no UTF-8, so another encoding= would garble the "
            "rest: write those anew as UTF-8 or take them out"
        )
    elif read_range(path, 0, stop=2).startswith(_UTF16):
        advice = 'the file begins like UTF-16: try encoding="utf-16"'
    elif encoding == "utf-8":
        advice = 'try encoding="latin-1", or "cp1252" where a Windows program wrote the file'
    else:
        advice = "check encoding="
    return SourceError(f"{shown(path)}, line {line}: the bytes are not {encoding}; {advice}")
