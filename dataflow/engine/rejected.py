"""The rejects of one partition in a few lines, for whoever watches: how many for which reason, and examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

EXAMPLES = 3
"""Examples for each reason: enough to see what is wrong."""
_REASONS = 20
_LOOKED_AT = 200
_TEXT = 300


class Rejected(NamedTuple):
    """Rejected records of one service and reason.

    Attributes:
        service: What has rejected them.
        reason: The class of reason.
        records: How many.
        examples: For some of them, what names the record, and the error.
    """

    service: str
    reason: str
    records: int
    examples: tuple[tuple[str, str], ...]


def summarize(rejects: pa.Table, *, key: Sequence[str]) -> tuple[Rejected, ...]:
    """The most frequent reasons of a table of rejects; examples are taken from its last records."""
    if not rejects.num_rows:
        return ()
    counts = rejects.group_by(["service", "reason"]).aggregate([([], "count_all")]).to_pylist()
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for row in reversed(rejects.slice(max(0, rejects.num_rows - _LOOKED_AT)).to_pylist()):
        examples = found.setdefault((row["service"], row["reason"]), [])
        if len(examples) < EXAMPLES:
            examples.append((_named(row, key), (row["error"] or "")[:_TEXT]))
    counts.sort(key=lambda one: -one["count_all"])
    return tuple(
        Rejected(one["service"], one["reason"], one["count_all"], tuple(found.get((one["service"], one["reason"]), ())))
        for one in counts[:_REASONS]
    )


def _named(row: Mapping[str, Any], key: Sequence[str]) -> str:
    """What names a record: its key, or its place in the source."""
    values = [row[name] for name in key]
    if values and None not in values:
        return ", ".join(map(str, values))[:_TEXT]
    return f"{str(row['source_file']).rpartition('/')[2]}, row {row['source_row']}"
