"""Files of one source that have no column in common: joined, each would be null where the other has values; pure."""

from __future__ import annotations

from collections.abc import Sequence

from dataflow.errors import SourceError
from dataflow.store.filesystem import shown
from dataflow.store.sources.options import listed

Columns = tuple[str, Sequence[str]]

_MARKS = ";\t|,"


def refuse_strangers(files: Sequence[Columns]) -> None:
    """Refuse files of which some share no column with the others, not even by way of further files.

    Args:
        files: Each path with the columns that were found in it; one without any says nothing.

    Raises:
        SourceError: There is such a file.
    """
    telling = [file for file in files if file[1]]
    if not telling:
        return
    known, waiting = set(telling[0][1]), telling[1:]
    while joining := [file for file in waiting if not known.isdisjoint(file[1])]:
        known.update(*(names for _, names in joining))
        waiting = [file for file in waiting if known.isdisjoint(file[1])]
    if waiting:
        first, stranger = telling[0], waiting[0]
        raise SourceError(
            f"{shown(stranger[0])}: has no column of {shown(first[0])}, but {listed(stranger[1])} "
            f"in place of {listed(first[1])}; {_advice(stranger, first)}"
        )


def _advice(stranger: Columns, first: Columns) -> str:
    for (path, names), other in ((stranger, first), (first, stranger)):
        mark = next((mark for mark in _MARKS if len(names) == 1 and mark in names[0]), None)
        if mark is not None:
            return (
                f"{shown(path)} fits delimiter={mark!r} and {shown(other[0])} does not, "
                "so write one of them anew or read them as two sources"
            )
    if [name.casefold().strip() for name in stranger[1]] == [name.casefold().strip() for name in first[1]]:
        return "only case or spaces differ, so write the header of one of them anew"
    if len(stranger[1]) == len(first[1]):
        return "if its first line is a record already, give the file a header; else read them as two sources"
    return "read them as two sources, or leave one out by a glob"
