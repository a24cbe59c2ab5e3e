"""Where the records of delimited text end, and how a text is cut into slices at these ends.

Pure functions over blocks of bytes, with the parser's own idea of quoting: a quote counts only where a field
begins, a doubled quote inside a quoted field is one quote, and after the closing quote the field goes on as
plain text. Blank lines are no records. Nothing here opens a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

Positions = npt.NDArray[np.int64]

_LINE_FEED, _RETURN = 0x0A, 0x0D


class Place(IntEnum):
    """Where in a record the scanner stands between two bytes."""

    FIELD = 0
    """A field may begin here."""
    PLAIN = 1
    """Inside an unquoted field: quotes are ordinary characters."""
    QUOTED = 2
    """Inside a quoted field: delimiters and newlines are ordinary characters."""
    CLOSED = 3
    """Behind a quote in a quoted field: another quote would make it a doubled one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """The bytes that give a text its structure.

    Attributes:
        delimiter: One ASCII byte.
        quote: One ASCII byte, or None where the text knows no quoting.
    """

    delimiter: bytes
    quote: bytes | None

    def opens(self) -> npt.NDArray[np.bool_]:
        """For every byte whether a field begins behind it."""
        table = np.zeros(256, dtype=bool)
        table[[_LINE_FEED, _RETURN, self.delimiter[0]]] = True
        return table


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """One slice of a text: bytes from `start` to `stop`, and the records in it."""

    start: int
    stop: int
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cuts:
    """All slices of a text, in order.

    Attributes:
        slices: They touch each other and cover the whole text; empty where it holds no record.
        unclosed: The number (from 1) of the last record if its quote is never closed, else None.
    """

    slices: tuple[Cut, ...]
    unclosed: int | None = None


def cut(blocks: Iterable[bytes], marks: Marks, *, target: int, start: int = 0, records: int | None = None) -> Cuts:
    """Cut a text at the first end of a record behind every `target` bytes, or behind so many records.

    Args:
        blocks: The text from `start` on, in pieces of any size.
        marks: Its delimiter and quote.
        target: Bytes of a slice; a record is never divided, so a slice can be longer.
        start: Offset of the first byte, which all offsets in the answer count from.
        records: Records of a slice, whatever their bytes; None where bytes count.
    """
    slices: list[Cut] = []
    begin, rows, offset, place = start, 0, start, Place.FIELD
    record = start
    for block in whole_newlines(blocks):
        ends, last, place = scan(block, marks, place=place, record=record - offset)
        while True:
            index = int(np.searchsorted(ends, begin + target - offset)) if records is None else records - rows - 1
            if index >= len(ends):
                break
            stop = offset + int(ends[index])
            slices.append(Cut(start=begin, stop=stop, rows=rows + index + 1))
            begin, rows, ends = stop, 0, ends[index + 1 :]
        rows += len(ends)
        record = offset + last
        offset += len(block)
    unclosed = sum(piece.rows for piece in slices) + rows + 1 if place is Place.QUOTED else None
    rows += record < offset
    if rows:
        slices.append(Cut(start=begin, stop=offset, rows=rows))
    elif slices:
        slices[-1] = Cut(start=slices[-1].start, stop=offset, rows=slices[-1].rows)
    return Cuts(slices=tuple(slices), unclosed=unclosed)


def record_ends(data: bytes, marks: Marks) -> Positions:
    """The offset behind each record of a whole text, its newline included; a last one without newline counts."""
    ends, last, _ = scan(data, marks, place=Place.FIELD, record=0)
    return ends if last >= len(data) else np.append(ends, len(data))


def whole_newlines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in blocks that never divide a carriage return from the line feed behind it."""
    held = b""
    for block in blocks:
        joined = held + block if held else block
        held = joined[len(joined.rstrip(b"\r")) :]
        yield joined[: len(joined) - len(held)] if held else joined
    if held:
        yield held


def scan(block: bytes, marks: Marks, *, place: Place, record: int) -> tuple[Positions, int, Place]:
    """Find the ends of the records in one block.

    Args:
        block: Bytes that do not end between a carriage return and its line feed.
        marks: Delimiter and quote of the text.
        place: Where the text before the block has ended.
        record: Offset in the block at which the current line began, negative where that was earlier.

    Returns:
        The offset behind each record that ends here, the offset at which the last line begins, and the place
        behind the block.
    """
    if not block:
        return np.empty(0, dtype=np.int64), record, place
    codes = np.frombuffer(block, dtype=np.uint8)
    quotes = _quotes(block, codes, marks=marks, place=place)
    ends = _line_ends(block, codes, quotes=quotes, quoted=place is Place.QUOTED)
    starts = np.concatenate((np.array([record], dtype=np.int64), ends))
    behind = _behind(block, marks, quotes=quotes, place=place)
    return ends[~_blank(codes, starts[:-1], ends=ends)], int(starts[-1]), behind


def _quotes(block: bytes, codes: npt.NDArray[np.uint8], *, marks: Marks, place: Place) -> Positions:
    """The quotes that open, close or double; those that are ordinary characters are left out."""
    if marks.quote is None or marks.quote not in block:
        return np.empty(0, dtype=np.int64)
    quotes = np.flatnonzero(codes == marks.quote[0])
    opening = quotes[int(place is Place.QUOTED) :: 2]
    proper = marks.opens()[codes[opening - 1]]
    if not proper.all():
        # An opening quote right behind a closing one is the second half of a doubled quote.
        proper |= np.isin(opening - 1, quotes, assume_unique=True)
    if len(opening) and opening[0] == 0:
        proper[0] = place in (Place.FIELD, Place.CLOSED)
    return quotes if proper.all() else _walk(block, marks, place=place)


def _walk(block: bytes, marks: Marks, *, place: Place) -> Positions:
    """The quotes that count, found one by one: the exact way for blocks with quotes inside plain fields."""
    quote, opens = marks.quote or b"", (b"\n", b"\r", marks.delimiter)
    counted: list[int] = []
    inside = place is Place.QUOTED
    closed = -1 if place is Place.CLOSED else -2
    position = block.find(quote)
    while position >= 0:
        if inside:
            inside, closed = False, position
            counted.append(position)
        elif closed == position - 1 or _begins_field(block, position, opens=opens, place=place):
            inside = True
            counted.append(position)
        position = block.find(quote, position + 1)
    return np.array(counted, dtype=np.int64)


def _begins_field(block: bytes, position: int, *, opens: tuple[bytes, ...], place: Place) -> bool:
    return block[position - 1 : position] in opens if position else place is Place.FIELD


def _line_ends(block: bytes, codes: npt.NDArray[np.uint8], *, quotes: Positions, quoted: bool) -> Positions:
    """The offsets behind all newlines outside of quotes; a line feed belongs to the return before it."""
    breaks = np.flatnonzero(codes == _LINE_FEED)
    if b"\r" in block:
        returns = np.flatnonzero(codes == _RETURN)
        following = np.append(codes, 0)[returns + 1]
        lone = returns[following != _LINE_FEED]
        breaks = np.union1d(breaks, lone) if len(lone) else breaks
    if len(quotes):
        breaks = breaks[(np.searchsorted(quotes, breaks) + quoted) % 2 == 0]
    elif quoted:
        breaks = breaks[:0]
    return breaks + 1


def _blank(codes: npt.NDArray[np.uint8], starts: Positions, *, ends: Positions) -> npt.NDArray[np.bool_]:
    """For every line whether nothing stands before its newline."""
    length = ends - starts
    returned = (codes[ends - 2] == _RETURN) & (codes[ends - 1] == _LINE_FEED) & (ends >= 2)
    blank: npt.NDArray[np.bool_] = (length == 1) | ((length == 2) & returned)
    return blank


def _behind(block: bytes, marks: Marks, *, quotes: Positions, place: Place) -> Place:
    inside = (len(quotes) + (place is Place.QUOTED)) % 2 == 1
    if inside:
        return Place.QUOTED
    if len(quotes) and quotes[-1] == len(block) - 1:
        return Place.CLOSED
    return Place.FIELD if marks.opens()[block[-1]] else Place.PLAIN
