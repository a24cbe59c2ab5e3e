"""Why records of a partition were rejected, and the same in a few lines for whoever watches: counts and examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from dataflow.engine.environment import Environment
from dataflow.engine.marks import Effect, rejection_sentence
from dataflow.plan.graph import Step

EXAMPLES = 3
"""Examples for each reason: enough to see what is wrong."""
_REASONS = 20
_LOOKED_AT = 200
_TEXT = 300

PLAIN = "plain"
"""The column of what anybody may read of an error; it is not kept."""


class Rejected(NamedTuple):
    """Rejected records of one service and reason.

    Attributes:
        service: What has rejected them.
        reason: The class of reason.
        records: How many.
        examples: For some of them, what names the record, and what anybody may read of the error.
    """

    service: str
    reason: str
    records: int
    examples: tuple[tuple[str, str], ...]


class Rejection(NamedTuple):
    """Why a record was rejected.

    Attributes:
        service: The first service in listed order that rejects it.
        reason: The class of reason.
        error: The text; it may hold values, and what somebody else has said.
        plain: What anybody may read of it.
    """

    service: str
    reason: str
    error: str
    plain: str


def reasons(environment: Environment) -> dict[int, Rejection]:
    """Why each rejected record was rejected."""
    found: dict[int, Rejection] = {}
    for step in environment.graph.steps:
        effect = environment.effects[step.index]
        if not effect.failures and not effect.rejections and effect.verdicts is None:
            continue
        rejected = environment.rejected_in(step)
        name = step.service.name
        texts = {one.row: Rejection(name, one.reason, one.error, one.sentence) for one in effect.failures}
        texts |= {row: Rejection(name, "rejected", text, rejection_sentence(text)) for row, text in effect.rejections}
        for row in np.flatnonzero(rejected).tolist():
            if row not in found:
                found[row] = texts.get(row) or _invalid(step, effect, row)
    return found


def _invalid(step: Step, effect: Effect, row: int) -> Rejection:
    """The words of a validation are those of its author, and may quote the record."""
    error = None if effect.verdicts is None else effect.verdicts.first_error(row)
    plain = f"{step.service.name} is false"
    return Rejection(step.service.name, "invalid", error or plain, plain)


def summarize(rejects: pa.Table, *, key: Sequence[str]) -> tuple[Rejected, ...]:
    """The most frequent reasons of a table of rejects, with `PLAIN`; examples are taken from its last records."""
    if not rejects.num_rows:
        return ()
    counts = rejects.group_by(["service", "reason"]).aggregate([([], "count_all")]).to_pylist()
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for row in reversed(rejects.slice(max(0, rejects.num_rows - _LOOKED_AT)).to_pylist()):
        examples = found.setdefault((row["service"], row["reason"]), [])
        if len(examples) < EXAMPLES:
            examples.append((_named(row, key), (row[PLAIN] or "")[:_TEXT]))
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
