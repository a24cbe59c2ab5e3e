"""Where each record of a partition ends: the output or the rejects, with its outcomes and the counts.

Nothing is called here; the tables and the sums are made from the effects of the services.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataflow.engine import verdicts
from dataflow.engine.arrow import arrow_array
from dataflow.engine.environment import Environment
from dataflow.engine.marks import NO_ROWS, Effect, Failure, Mask, Moments, join_chunks, mask_of
from dataflow.engine.rejected import PLAIN, reasons, summarize
from dataflow.engine.result import PartitionResult
from dataflow.engine.spending import currency_of
from dataflow.errors import StoreError
from dataflow.outcomes import Kind, Status
from dataflow.plan.graph import Column, Graph, Step
from dataflow.plan.partitions import Batch, Unreadable
from dataflow.services.signature import Form
from dataflow.telemetry.durations import Durations
from dataflow.telemetry.given import NOTHING_GIVEN, Given
from dataflow.telemetry.services import Streak, Waited
from dataflow.telemetry.statistics import ServiceStatistics, Statistics, unbalanced

UNREADABLE = "source"
"""What stands for the service in the rejects of records that could not be read."""

REJECTS = [
    pa.field("service", pa.string()),
    pa.field("reason", pa.string()),
    pa.field("error", pa.string()),
    pa.field("source_file", pa.string()),
    pa.field("source_row", pa.int64()),
    pa.field("raw", pa.string()),
]

FAILURES = [
    pa.field("service", pa.string()),
    pa.field("status", pa.string()),
    pa.field("reason", pa.string()),
    pa.field("error", pa.string()),
    pa.field("http_status", pa.int32()),
    pa.field("attempts", pa.int32()),
    pa.field("duration", pa.float64()),
    pa.field("cost", pa.float64()),
    pa.field("source_file", pa.string()),
    pa.field("source_row", pa.int64()),
]


def settle(environment: Environment, batch: Batch, *, key: Sequence[str], path: str) -> PartitionResult:
    """Sort the records of a partition into output and rejects, and count.

    Args:
        environment: The partition after its services.
        batch: What was read.
        key: The columns that name a record; of the source, or else of the output.
        path: The source file, for the rejects.

    Raises:
        StoreError: A sum does not add up, which is a fault of dataflow and not of the data.
    """
    rejected = environment.rejected_by([step.index for step in environment.graph.steps])
    kept = ~rejected
    rejects = _rejects(environment, batch, rejected, key=key, path=path)
    output = output_table(environment, kept=kept)
    statistics = count(environment, kept, batch=batch, path=path)
    broken = unbalanced(statistics, output=output.num_rows, rejects=rejects.num_rows)
    if broken:
        raise StoreError(
            f"the sums of a partition of {path} do not add up, so it is not committed: {'; '.join(broken)}"
        )
    return PartitionResult(
        output=output,
        rejects=rejects.select(rejects.column_names[:-1]),
        failures=_failures(environment, batch, key=key, path=path),
        statistics=statistics,
        rejected=summarize(rejects, key=key),
    )


def output_table(environment: Environment, *, kept: Mask) -> pa.Table:
    """The kept records under the output schema."""
    table = pa.Table.from_arrays(output_columns(environment), schema=environment.graph.output)
    return table if kept.all() else table.filter(arrow_array(kept))


def output_columns(environment: Environment) -> list[Any]:
    """The columns of all records in the order of the output schema."""
    return [*(environment.column(column) for column in environment.graph.final), *run_columns(environment)]


def run_columns(environment: Environment) -> list[Any]:
    """The columns that the run itself adds, in the order of the schema."""
    kinds = {step.service.kind for step in environment.graph.steps}
    columns: list[Any] = [arrow_array(verdicts.validity(environment))]
    if Kind.VALIDATION in kinds:
        columns.append(verdicts.validations(environment))
    if Kind.ENRICHMENT in kinds:
        columns += [verdicts.completeness(environment), arrow_array(verdicts.degraded(environment))]
    return columns


def count(environment: Environment, kept: Mask, *, batch: Batch | None = None, path: str = "") -> Statistics:
    """The counts of a partition.

    Args:
        environment: The partition after its services.
        kept: The records that go to the output.
        batch: What was read, or None where the records come from no source.
        path: The source file.
    """
    unreadable = 0 if batch is None else len(batch.unreadable)
    valid = verdicts.validity(environment)
    share = verdicts.completeness(environment).filter(arrow_array(kept))
    return Statistics(
        total_records=environment.size + unreadable,
        valid_records=int((valid & kept).sum()),
        invalid_records=int((~valid & kept).sum()),
        rejected_records=int((~kept).sum()) + unreadable,
        not_attempted_records=int(_unattempted(environment).sum()),
        degraded_records=int((verdicts.degraded(environment) & kept).sum()),
        batches_processed=1,
        completeness_sum=pc.sum(share).as_py() or 0.0,
        completeness_count=len(share) - share.null_count,
        failed_records=sum(failed_by(environment, environment.graph.steps, rejected=~kept).values()) + unreadable,
        cost=cost_of(environment),
        currency=currency_of(step.service for step in environment.graph.every),
        services=count_services(environment, environment.graph.steps, batch=batch, path=path),
    )


def cost_of(environment: Environment) -> float:
    """What all services have cost, with those inside others."""
    return math.fsum(cost for effect in environment.effects.values() for cost in _costs(effect))


def _costs(effect: Effect) -> list[float]:
    return [effect.cost, *(member.statistics.cost for member in effect.members)]


def count_services(
    environment: Environment, steps: Iterable[Step], *, batch: Batch | None, path: str
) -> dict[str, ServiceStatistics]:
    """The counts of each service, and of those inside it.

    Args:
        environment: A partition after these services.
        steps: The services.
        batch: What was read, or None where the records come from no source.
        path: The source file.
    """
    found: dict[str, ServiceStatistics] = {}
    for step in steps:
        effect = environment.effects[step.index]
        if step.service.member_of and step.service.form is Form.COMPOSITE:
            # What computes between members is no service of anybody.
            continue
        streak = None if batch is None else _streak(effect, batch, path=path)
        found[step.service.name] = count_service(step, effect, size=environment.size, streak=streak)
        found |= {member.service.name: member.statistics for member in effect.members}
    return found


def failed_by(environment: Environment, steps: Iterable[Step], *, rejected: Mask) -> dict[str, int]:
    """By service, the rejected records whose first rejecting service has failed for them; the others were judged.

    Args:
        environment: A partition after these services.
        steps: The services, in listed order.
        rejected: What they have rejected.
    """
    found: dict[str, int] = {}
    left = rejected.copy()
    for step in steps if left.any() else ():
        own = environment.rejected_in(step) & left
        failed = int(own[environment.effects[step.index].failed_rows].sum())
        found |= {step.service.name: failed} if failed else {}
        left &= ~own
    return found


def _streak(effect: Effect, batch: Batch, *, path: str) -> Streak | None:
    if effect.raised is None:
        return None
    start = effect.raised.start
    error = next(failure.reason for failure in effect.failures if failure.row == start)
    return Streak(calls=effect.raised.calls, error=error, file=path, row=batch.rows[start].as_py())


def _shared(effect: Effect, size: int) -> dict[str, int]:
    """The records that shared the call of an earlier one, by status."""
    if not len(effect.shared):
        return {}
    repeats = mask_of(effect.shared, size)
    found = Counter(failure.status for failure in effect.failures if repeats[failure.row])
    for mark in effect.marks:
        found[mark.status] += int(repeats[mark.rows].sum())
    found[Status.SUCCEEDED] = len(effect.shared) - found.total()
    return {status.value: number for status, number in found.items() if number}


def _unattempted(environment: Environment) -> Mask:
    """True for each record that lacks a service which was not attempted; it may be among the rejects."""
    mask = np.zeros(environment.size, np.bool_)
    for effect in environment.effects.values():
        mask[effect.unattempted_rows] = True
    return mask


def count_service(step: Step, effect: Effect, *, size: int, streak: Streak | None) -> ServiceStatistics:
    """What a step did for so many records."""
    statuses: Counter[Status] = Counter(failure.status for failure in effect.failures)
    others = mask_of(effect.failed_rows, size)
    for mark in effect.marks:
        statuses[mark.status] += len(mark.rows)
        others[mark.rows] = True
    # Counted by itself, so that a record with two outcomes breaks the sum.
    statuses[Status.SUCCEEDED] = size - int(others.sum())
    return ServiceStatistics(
        kind=step.service.kind,
        priority=step.service.policy.priority,
        records=size,
        calls=effect.calls,
        succeeded=statuses[Status.SUCCEEDED],
        cached=statuses[Status.CACHED],
        not_found=statuses[Status.NOT_FOUND],
        failed=statuses[Status.FAILED],
        timed_out=statuses[Status.TIMED_OUT],
        skipped=statuses[Status.SKIPPED],
        not_attempted=statuses[Status.NOT_ATTEMPTED],
        deduplicated=len(effect.shared),
        shared=_shared(effect, size),
        retries=effect.retries,
        cost=effect.cost,
        tokens=effect.tokens,
        duration=_durations(effect),
        waited=Waited(**effect.waited),
        errors=dict(Counter(one.reason for one in effect.failures if one.status is not Status.NOT_ATTEMPTED)),
        streak=streak,
        given=_given(effect),
        member_of=step.service.member_of,
        api="" if step.service.api is None else step.service.api.name,
    )


def _given(effect: Effect) -> Given:
    """When the answers were given that are kept."""
    if effect.given is None:
        return NOTHING_GIVEN
    missing = [mark.rows for mark in effect.marks if mark.status is Status.NOT_FOUND]
    missed = mask_of(np.concatenate([NO_ROWS, *missing]), len(effect.given))
    kept = ~np.isnan(effect.given)
    return Given(
        records=int(kept.sum()),
        found=_oldest(effect.given[kept & ~missed]),
        missed=_oldest(effect.given[kept & missed]),
    )


def _oldest(moments: Moments) -> float | None:
    return float(moments.min()) if len(moments) else None


def _durations(effect: Effect) -> Durations:
    if effect.durations:
        return Durations.of(effect.durations)
    return Durations.batch(effect.seconds, records=effect.calls) if effect.calls else Durations()


def _rejects(environment: Environment, batch: Batch, rejected: Mask, *, key: Sequence[str], path: str) -> pa.Table:
    rows = np.flatnonzero(rejected)
    found = reasons(environment) if len(rows) else {}
    ordered = [found[row] for row in rows.tolist()]
    bad: Sequence[Unreadable] = batch.unreadable
    keys = zip(key, _keys(environment, rows, key), strict=True)
    columns: list[Any] = [
        pa.concat_arrays([column, _remains(batch, name, column.type)]) if bad else column for name, column in keys
    ]
    columns += [
        pa.array([one.service for one in ordered] + [UNREADABLE] * len(bad), pa.string()),
        pa.array([one.reason for one in ordered] + ["unreadable"] * len(bad), pa.string()),
        pa.array([one.error for one in ordered] + [_unreadable_text(one) for one in bad], pa.string()),
        pa.array([path] * (len(ordered) + len(bad)), pa.string()),
        pa.concat_arrays(
            [join_chunks(batch.rows).take(arrow_array(rows)), pa.array([one.row for one in bad], pa.int64())]
        ),
        pa.array([None] * len(ordered) + [one.raw for one in bad], pa.string()),
        pa.array([one.plain for one in ordered] + [_unreadable_text(one) for one in bad], pa.string()),
    ]
    schema = rejects_schema(environment.graph, key).append(pa.field(PLAIN, pa.string()))
    table = pa.Table.from_arrays(columns, schema=schema)
    return table.sort_by("source_row") if len(bad) and ordered else table


def _unreadable_text(one: Unreadable) -> str:
    return one.error if one.column is None else f"column `{one.column}`: {one.error}"


def _failures(environment: Environment, batch: Batch, *, key: Sequence[str], path: str) -> pa.Table:
    listed = [
        (name, failure)
        for step in environment.graph.steps
        for name, failures in _failures_of(step, environment.effects[step.index])
        for failure in sorted(failures, key=lambda one: one.row)
    ]
    rows = np.array([failure.row for _, failure in listed], np.int64)
    columns: list[Any] = _keys(environment, rows, key)
    columns += [
        pa.array([service for service, _ in listed], pa.string()),
        pa.array([failure.status.value for _, failure in listed], pa.string()),
        pa.array([failure.reason for _, failure in listed], pa.string()),
        pa.array([failure.error for _, failure in listed], pa.string()),
        pa.array([failure.http_status for _, failure in listed], pa.int32()),
        pa.array([failure.attempts for _, failure in listed], pa.int32()),
        pa.array([failure.duration for _, failure in listed], pa.float64()),
        pa.array([failure.cost for _, failure in listed], pa.float64()),
        pa.array([path] * len(listed), pa.string()),
        join_chunks(batch.rows).take(arrow_array(rows)),
    ]
    return pa.Table.from_arrays(columns, schema=failures_schema(environment.graph, key))


def _failures_of(step: Step, effect: Effect) -> list[tuple[str, Sequence[Failure]]]:
    return [(step.service.name, effect.failures), *((one.service.name, one.failures) for one in effect.members)]


def rejects_schema(graph: Graph, key: Sequence[str]) -> pa.Schema:
    """The schema of the rejects: the key, then what became of the record."""
    return pa.schema([*_key_fields(graph, key), *REJECTS])


def failures_schema(graph: Graph, key: Sequence[str]) -> pa.Schema:
    """The schema of the failures: the key, then the outcome."""
    return pa.schema([*_key_fields(graph, key), *FAILURES])


def _key_fields(graph: Graph, key: Sequence[str]) -> list[pa.Field]:
    return [
        pa.field(name, (graph.source if name in graph.source.names else graph.output).field(name).type) for name in key
    ]


def _keys(environment: Environment, rows: Any, key: Sequence[str]) -> list[Any]:
    final = {column.name: column for column in environment.graph.final}
    named = [Column(name, 0) if name in environment.graph.source.names else final[name] for name in key]
    return [join_chunks(environment.column(column)).take(arrow_array(rows)) for column in named]


def _remains(batch: Batch, name: str, kind: pa.DataType) -> pa.Array:
    """A column of the records that cannot be read as a whole, as far as it can."""
    if batch.remains is None or name not in batch.remains.schema.names:
        return pa.nulls(len(batch.unreadable), kind)
    return join_chunks(batch.remains.column(name))
