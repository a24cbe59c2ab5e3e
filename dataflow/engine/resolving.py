"""Distinct keys over a dataset: keys out of a partition, answers out of a bucket of keys, outcomes out of answers.

Tables in, tables out; where they are kept is the business of the store, and calling that of `http`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dataflow.engine.distinct import Calls, distinct_calls, group_columns
from dataflow.engine.environment import Environment, fill_arguments
from dataflow.engine.fate import count_service
from dataflow.engine.marks import Effect, Failure, Mark, Moments, Rows, Verdicts, join_chunks, to_mask
from dataflow.engine.values import to_python
from dataflow.outcomes import Kind, Status
from dataflow.plan.graph import Column, Step
from dataflow.services.keys import SIZE
from dataflow.telemetry.given import NOTHING_GIVEN
from dataflow.telemetry.services import ServiceStatistics
from dataflow.telemetry.sketches import Distinct

if TYPE_CHECKING:
    from dataflow.engine.foreseeing import Foreseen

Prefixes = npt.NDArray[np.uint64]

_SPACE = 1 << 64
_DETAILS = pa.schema(
    [
        pa.field("status", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("error", pa.string()),
        pa.field("plain", pa.string()),
        pa.field("rejected", pa.string()),
        pa.field("http_status", pa.int32()),
        pa.field("attempts", pa.int32()),
        pa.field("duration", pa.float64()),
        pa.field("given", pa.float64()),
    ]
)
_VERDICT = [pa.field("valid", pa.bool_()), pa.field("judged", pa.bool_()), pa.field("errors", pa.list_(pa.string()))]
_FAILED = (Status.FAILED.value, Status.TIMED_OUT.value)


class AnswerTables(Protocol):
    """What is known of distinct keys."""

    @property
    def services(self) -> frozenset[str]:
        """The services that are resolved."""

    def find(self, service: str, keys: Sequence[bytes]) -> tuple[pa.Table, Rows]:
        """Rows of answers, and for each key its row among them or -1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """The keys of one service in one partition, counted.

    Attributes:
        records: Records for which it would be called.
        own: Distinct keys.
        sketch: Of the keys.
        foreseen: What became of the records of the partition before any call; None where nobody asked.
    """

    records: int
    own: int
    sketch: Distinct
    foreseen: Foreseen | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The distinct keys of one service in one partition.

    Attributes:
        table: Sorted: `prefix`, `key` and the inputs.
        records: Records for which it would be called.
        sketch: Of the keys.
    """

    table: pa.Table
    records: int
    sketch: Distinct

    @property
    def record(self) -> KeyRecord:
        """The counts alone."""
        return KeyRecord(records=self.records, own=self.table.num_rows, sketch=self.sketch)


def collect_keys(step: Step, environment: Environment) -> Keys:
    """The distinct keys of a service in a partition whose earlier services have run."""
    calls = distinct_calls(step, environment)
    first = pa.array(calls.first)
    inputs = [join_chunks(environment.column(column)).take(first) for column in step.inputs]
    names = [_name(at) for at in range(len(inputs))]
    table = pa.table([_prefixes(calls.keys), _fixed(calls.keys), *inputs], names=["prefix", "key", *names])
    values = table["prefix"].to_numpy().view(np.int64).tolist()
    return Keys(table=sorted_by_key(table), records=len(calls.asking), sketch=Distinct.of(values))


def cut(table: pa.Table, *, bucket: int, buckets: int) -> pa.Table:
    """The rows of a sorted table whose keys are in one bucket."""
    prefixes = prefixes_of(table)
    start = int(np.searchsorted(prefixes, np.uint64(bucket * _SPACE // buckets)))
    last = bucket + 1 == buckets
    stop = len(prefixes) if last else int(np.searchsorted(prefixes, np.uint64((bucket + 1) * _SPACE // buckets)))
    return table.slice(start, stop - start)


def prefixes_of(table: pa.Table) -> Prefixes:
    """The first eight bytes of each key as a number."""
    column = table["prefix"]
    numbers: Prefixes = (column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()).to_numpy()
    return numbers


def united(tables: Sequence[pa.Table]) -> pa.Table:
    """Each key of the tables once, with the inputs of one of the records that have it."""
    whole = pa.concat_tables(tables)
    return whole.take(pa.array(group_columns([whole["key"]], whole.num_rows).first))


def sorted_by_key(table: pa.Table) -> pa.Table:
    """The rows in the order of their keys."""
    return table.take(pa.array(np.argsort(prefixes_of(table), kind="stable")))


def bucket_of(key: bytes, *, buckets: int) -> int:
    """The bucket of a key."""
    return int.from_bytes(key[:8], "big") * buckets // _SPACE


def arguments_of(step: Step, keys: pa.Table, *, injected: Any) -> list[Sequence[Any]]:
    """The arguments of a service for each key, as `Environment.values_of` gives them for records."""
    columns = {column: keys[_name(at)] for at, column in enumerate(step.inputs)}

    def values(column: Column) -> Sequence[Any]:
        return to_python(columns[column])

    size = keys.num_rows
    return fill_arguments(step, size, injected=lambda wanted: [injected[wanted]] * size, values=values)


def answer_table(step: Step, keys: pa.Table, effect: Effect) -> pa.Table:
    """What a service did for each key, sorted by key."""
    size = keys.num_rows
    columns = [keys["prefix"], keys["key"], *_details(effect, size)]
    fields = [pa.field("prefix", pa.uint64()), pa.field("key", pa.binary(SIZE)), *_DETAILS]
    if step.service.kind is Kind.VALIDATION:
        columns += _verdict_columns(effect, size)
        fields += _VERDICT
    else:
        columns += effect.values
        fields += [pa.field(_name(at), arrow) for at, arrow in enumerate(step.types)]
    return sorted_by_key(pa.Table.from_arrays([join_chunks(one) for one in columns], schema=pa.schema(fields)))


def failed_keys(answers: pa.Table) -> pa.Array:
    """True for each key that its service failed for."""
    return pc.is_in(answers["status"], pa.array(_FAILED))


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a resolved service gave the records of a partition.

    Attributes:
        effect: The outcomes of those that something is known of.
        rows: Their places among the records that were asked for.
        missing: The places of the others.
    """

    effect: Effect
    rows: Rows
    missing: Rows


def look_up(step: Step, environment: Environment, tables: AnswerTables) -> Known:
    """What a resolved service gave the records that it applies to; nothing is called."""
    calls: Calls = distinct_calls(step, environment)
    found, places = tables.find(step.service.name, calls.keys)
    at = places[calls.call_of] if len(calls.call_of) else calls.call_of
    rows = np.flatnonzero(at >= 0)
    effect = _effect(step, found, at[rows]) if len(rows) else Effect()
    return Known(effect=effect, rows=rows, missing=np.flatnonzero(at < 0))


def owed(step: Step, effect: Effect, size: int) -> ServiceStatistics:
    """What calling some keys has cost, and what the records that will share them must not count again.

    All records of the main pass count as sharing a call. Those that stand for the calls are taken off here, so that
    the sums are right at any time, also for guardrails.
    """
    counted = count_service(step, effect, size=size, streak=None)
    statuses = {status.value: getattr(counted, status.value) for status in Status}
    none: dict[str, Any] = dict.fromkeys(statuses, 0)
    shared = {status: -number for status, number in statuses.items() if number}
    return replace(counted, records=0, **none, deduplicated=-size, shared=shared, errors={}, given=NOTHING_GIVEN)


def _details(effect: Effect, size: int) -> list[Any]:
    rows: list[list[Any]] = [[Status.SUCCEEDED.value] * size, *([None] * size for _ in range(4))]
    status, reason, error, plain, rejected = rows
    http: list[int | None] = [None] * size
    attempts, duration = [0] * size, [0.0] * size
    for mark in effect.marks:
        for row in mark.rows.tolist():
            status[row], reason[row] = mark.status.value, mark.reason
    for one in effect.failures:
        status[one.row], reason[one.row], error[one.row] = one.status.value, one.reason, one.error
        plain[one.row] = one.plain
        http[one.row], attempts[one.row], duration[one.row] = one.http_status, one.attempts, one.duration
    for row, text in effect.rejections:
        rejected[row] = text
    given = np.full(size, np.nan) if effect.given is None else effect.given
    lists = [*rows, http, attempts, duration, given]
    return [pa.array(values, field.type) for values, field in zip(lists, _DETAILS, strict=True)]


def _verdict_columns(effect: Effect, size: int) -> list[Any]:
    assert effect.verdicts is not None
    texts: list[list[str]] = [[] for _ in range(size)]
    for row, text in zip(effect.verdicts.error_rows.tolist(), effect.verdicts.errors.to_pylist(), strict=True):
        texts[row].append(text)
    judged = effect.verdicts.judged
    return [
        pa.array(effect.verdicts.valid),
        pa.array(np.ones(size, np.bool_) if judged is None else judged),
        pa.array(texts, pa.list_(pa.string())),
    ]


def _effect(step: Step, found: pa.Table, places: Rows) -> Effect:
    """The outcomes of records by the rows of their answers; all of them share calls."""
    taken = pa.array(places)
    validates = step.service.kind is Kind.VALIDATION
    return Effect(
        values=() if validates else tuple(join_chunks(found[_name(at)]).take(taken) for at in range(len(step.types))),
        verdicts=_verdicts(found, taken) if validates else None,
        marks=_marks(found, places),
        failures=_failures(found, places),
        rejections=_rejections(found, places),
        shared=np.arange(len(places)),
        given=_given(found, places),
    )


def _marks(found: pa.Table, places: Rows) -> tuple[Mark, ...]:
    kinds = found.select(["status", "reason"])
    groups = group_columns(kinds.columns, found.num_rows)
    of = groups.of[places] if len(places) else places
    marks = []
    for number, first in enumerate(groups.first.tolist()):
        status = Status(kinds["status"][first].as_py())
        rows = np.flatnonzero(of == number)
        if status in (Status.CACHED, Status.NOT_FOUND, Status.SKIPPED) and len(rows):
            marks.append(Mark(status=status, reason=kinds["reason"][first].as_py(), rows=rows))
    return tuple(marks)


def _failures(found: pa.Table, places: Rows) -> tuple[Failure, ...]:
    failed = to_mask(failed_keys(found))
    rows = np.flatnonzero(failed[places]) if found.num_rows else places
    told = {at: found.slice(at, 1).to_pylist()[0] for at in set(places[rows].tolist())}
    return tuple(
        Failure(
            row=row,
            reason=one["reason"],
            error=one["error"],
            status=Status(one["status"]),
            attempts=one["attempts"],
            duration=one["duration"],
            http_status=one["http_status"],
            # An older dataflow has not told them apart.
            plain=one["plain"] if "plain" in one else one["reason"],
        )
        for row in rows.tolist()
        for one in (told[int(places[row])],)
    )


def _given(found: pa.Table, places: Rows) -> Moments | None:
    """When each answer was given; an older dataflow has not noted it."""
    if "given" not in found.schema.names:
        return None
    moments: Moments = join_chunks(found["given"]).to_numpy(zero_copy_only=False)[places]
    return moments


def _rejections(found: pa.Table, places: Rows) -> tuple[tuple[int, str], ...]:
    texts = found["rejected"]
    if texts.null_count == len(texts):
        return ()
    of = texts.to_pylist()
    return tuple((row, of[at]) for row, at in enumerate(places.tolist()) if of[at] is not None)


def _verdicts(found: pa.Table, taken: pa.Array) -> Verdicts:
    errors = join_chunks(found["errors"]).take(taken)
    return Verdicts(
        valid=to_mask(join_chunks(found["valid"]).take(taken)),
        judged=to_mask(join_chunks(found["judged"]).take(taken)),
        error_rows=pc.list_parent_indices(errors).to_numpy(zero_copy_only=False).astype(np.int64, copy=False),
        errors=pc.list_flatten(errors),
    )


def _name(at: int) -> str:
    return f"value{at}"


def _prefixes(keys: Sequence[bytes]) -> pa.Array:
    """The first eight bytes of each key as a number, which sorts as the key does."""
    whole = np.frombuffer(b"".join(keys), np.uint8).reshape(len(keys), SIZE)
    return pa.array(whole[:, :8].copy().view(">u8").reshape(len(keys)).astype(np.uint64))


def _fixed(keys: Sequence[bytes]) -> pa.Array:
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(SIZE), len(keys), [None, pa.py_buffer(b"".join(keys))])
