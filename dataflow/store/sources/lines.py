"""Blocks of bytes to lines, and lines to slices; pure. Empty lines are none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dataflow.store.sources.cuts import Cut

_BLANK = b" \t\r\n"


def lines(blocks: Iterable[bytes], *, start: int = 0) -> Iterator[tuple[bytes, int]]:
    """Every line that is not empty, stripped of white space, with the offset behind it.

    Args:
        blocks: Bytes from `start` on, in pieces of any size.
        start: Where they begin.
    """
    held: list[bytes] = []
    stop = start
    for block in blocks:
        if b"\n" not in block:
            held.append(block)
            continue
        pieces = b"".join((*held, block)).split(b"\n")
        held = [pieces.pop()]
        for piece in pieces:
            stop += len(piece) + 1
            line = piece.strip(_BLANK)
            if line:
                yield line, stop
    rest = b"".join(held)
    if rest.strip(_BLANK):
        yield rest.strip(_BLANK), stop + len(rest)


def cut_lines(stops: Iterable[int], *, target: int, start: int = 0, records: int | None = None) -> Iterator[Cut]:
    """Slices that end at the first line end behind every `target` bytes, or behind so many lines.

    Args:
        stops: The offset behind each line.
        target: Bytes of a slice.
        start: Where the first line begins.
        records: Lines of a slice, whatever their bytes; None where bytes count.
    """
    begin, stop, rows = start, start, 0
    for stop in stops:
        rows += 1
        if (stop - begin >= target) if records is None else rows == records:
            yield Cut(start=begin, stop=stop, rows=rows)
            begin, rows = stop, 0
    if rows:
        yield Cut(start=begin, stop=stop, rows=rows)
