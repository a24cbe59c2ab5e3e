"""The header of a delimited file: the names of its columns and the offset at which its records begin."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dataflow.errors import SourceError
from dataflow.store.filesystem import shown
from dataflow.store.sources.content import TextFile
from dataflow.store.sources.cuts import Place, scan
from dataflow.store.sources.options import DelimitedOptions, duplicates, listed

_BOM = b"\xef\xbb\xbf"
_FIRST_LOOK = 1 << 16
_LONGEST = 1 << 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What the beginning of one delimited file tells.

    Attributes:
        file: The file.
        names: The columns in the order of the file, or None for a file without any record.
        start: Offset of the first record.
        unnamed: Positions, from 1, of columns that got a name because the header has none for them.
    """

    file: TextFile
    names: tuple[str, ...] | None
    start: int
    unnamed: tuple[int, ...] = ()


def read_head(file: TextFile, options: DelimitedOptions) -> Head:
    """Read the first record of a file and take the names of the columns from it or from `names=`.

    Raises:
        SourceError: The header has a name twice or a quote that is not closed, does not fit `names=`, does not end, or
            is no text.
    """
    start, record, end, behind = _first_record(file, options)
    if not options.header:
        _compare_fields(file, options, fields=_fields(file, record, options=options), what="the first record")
        return Head(file=file, names=options.names, start=start)
    fields = _fields(file, record, options=options)
    if options.quote is not None:
        _check_quotes(file, record, options=options, behind=behind)
    if options.names is not None:
        _compare_fields(file, options, fields=fields, what="the header")
        return Head(file=file, names=options.names, start=end)
    if not fields:
        return Head(file=file, names=None, start=end)
    return _named(file, fields, start=end)


def _named(file: TextFile, fields: Sequence[str], *, start: int) -> Head:
    repeated = duplicates(field for field in fields if field.strip())
    if repeated:
        raise SourceError(
            f"{shown(file.path)}: the header has {listed(repeated)} more than once; "
            f"give all {len(fields)} columns different names with names=[...]"
        )
    if any("\0" in field for field in fields):
        raise SourceError(f'{shown(file.path)}: the header has NUL characters; try encoding="utf-16-le"')
    unnamed = tuple(place for place, field in enumerate(fields, 1) if not field.strip())
    names = tuple(field if field.strip() else f"column_{place}" for place, field in enumerate(fields, 1))
    if duplicates(names):
        raise SourceError(
            f"{shown(file.path)}: {listed(duplicates(names))} is taken; name the columns with names=[...]"
        )
    return Head(file=file, names=names, start=start, unnamed=unnamed)


def _compare_fields(file: TextFile, options: DelimitedOptions, *, fields: Sequence[str], what: str) -> None:
    names = options.names or ()
    if fields and len(fields) != len(names):
        raise SourceError(
            f"{shown(file.path)}: names= has {len(names)} names, {what} has {len(fields)} fields; "
            f"check names= and delimiter={options.delimiter!r}"
        )


def _first_record(file: TextFile, options: DelimitedOptions) -> tuple[int, bytes, int, bytes]:
    """The offset of the text, its first record, the offset behind that, and the record there as far as it is known."""
    size = _FIRST_LOOK
    while True:
        opening = file.opening(size)
        file.refuse_disguised(opening)
        for _ in file.checked([opening], offset=0, final=len(opening) < size):
            pass
        start = len(_BOM) if file.encoding == "utf-8" and opening.startswith(_BOM) else 0
        text = opening[start:]
        ends, _, _ = scan(text, options.marks, place=Place.FIELD, record=0)
        if len(ends):
            return start, text[: ends[0]], start + int(ends[0]), text[ends[0] : ends[1] if len(ends) > 1 else None]
        if len(opening) < size:
            return start, text, len(opening), b""
        if size >= _LONGEST:
            raise SourceError(
                f"{shown(file.path)}: the first line does not end within 16 MB; check quote= and the file"
            )
        size *= 16


def _check_quotes(file: TextFile, record: bytes, *, options: DelimitedOptions, behind: bytes) -> None:
    """Refuse a header that goes on over lines for a quote that begins no name: it would swallow records.

    A name may have lines where its quotes stand right, and the next record has as many fields as the header; not where
    it has as many as the first line alone.
    """
    text = file.to_utf8(record, offset=0).decode("utf-8").strip("\r\n")
    quote, lines = options.quote or "", text.splitlines()
    if quote not in text:
        return
    try:
        fields = next(csv.reader(io.StringIO(text, newline=""), **_dialect(options), strict=True), [])
    except csv.Error:
        # A space behind a closing quote swallows nothing.
        right = len(lines) == 1 and text.count(quote) % 2 == 0
    else:
        next_one = len(_fields(file, behind, options=options)) if len(lines) > 1 else 0
        right = next_one in (0, len(fields)) or next_one != lines[0].count(options.delimiter) + 1
    if not right:
        raise SourceError(
            f"{shown(file.path)}: a quote ({quote}) in the header is not closed on its line, so that the header has "
            f"{len(lines):,} lines; close it, or say quote=None if quotes mean nothing in this file"
        )


def _fields(file: TextFile, record: bytes, *, options: DelimitedOptions) -> list[str]:
    text = file.to_utf8(record, offset=0).decode("utf-8").strip("\r\n")
    if not text:
        return []
    try:
        return next(csv.reader(io.StringIO(text, newline=""), **_dialect(options)))
    except csv.Error as error:
        raise SourceError(
            f"{shown(file.path)}: the first line cannot be read ({error}); check delimiter= and quote="
        ) from error


def _dialect(options: DelimitedOptions) -> dict[str, Any]:
    if options.quote is None:
        return {"delimiter": options.delimiter, "quoting": csv.QUOTE_NONE}
    return {"delimiter": options.delimiter, "quotechar": options.quote}
