"""One record through a pipeline: the coordinator of many services, with what happened to each."""

from __future__ import annotations

import asyncio
import contextvars
import time
import uuid
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import pyarrow as pa

from dataflow.engine import verdicts
from dataflow.engine.arrow import bring_pandas_in
from dataflow.engine.environment import Environment, outcomes_of
from dataflow.engine.fate import count, output_table, reasons
from dataflow.engine.partition import run_graph
from dataflow.engine.waiting import Flights, IOLoop, Value
from dataflow.errors import CriticalServiceFailed, DeclarationError
from dataflow.outcomes import Outcome, Priority, Status
from dataflow.plan.pipeline import Pipeline
from dataflow.services.context import Context
from dataflow.services.types import is_text
from dataflow.telemetry.services import money
from dataflow.wiring.binding import bind_pipeline
from dataflow.wiring.preparation import DEFAULT_CATALOG, Needs, Prepared, needs_of, prepare_once

SIDE_BY_SIDE = 512
"""Records that `acall` runs at the same time; their threads do nothing but wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What happened in one execution.

    Attributes:
        execution_id: Names the execution in logs and in `flow.Context.run`.
        total_duration: Seconds.
        services_executed: Services that were called, or answered from the cache.
        success_count: Those among them that succeeded or found nothing.
        failure_count: Those that failed or timed out.
        failures: Their outcomes.
        completeness: Found over applicable enrichments; without enrichments, succeeded over all services.
        cost: Money.
        rejected: Why a run would reject this record, or None.
        cached_count: Services that were not called, since the answer was known.
        not_attempted: The outcomes of those that were not called, though no answer was known.
    """

    execution_id: str
    total_duration: float
    services_executed: int
    success_count: int
    failure_count: int
    failures: tuple[Outcome, ...]
    completeness: float | None
    cost: float
    rejected: str | None
    cached_count: int = 0
    not_attempted: tuple[Outcome, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One record after the pipeline.

    Attributes:
        data: Column to value, as the output of a run would hold it.
        metadata: What happened.
    """

    data: dict[str, Any]
    metadata: Metadata

    def _repr_html_(self) -> str:
        from dataflow.faces.render import result_html

        return result_html(self)


def call(
    pipeline: Pipeline,
    record: Mapping[str, Any],
    *,
    catalog: str = DEFAULT_CATALOG,
    parameters: Mapping[str, Any] | None = None,
    offline: bool = False,
    io: IOLoop | None = None,
    flights: Flights | None = None,
) -> Result:
    """Run one record; see `Pipeline.call`."""
    began = time.perf_counter()
    execution = uuid.uuid4().hex[:12]
    table, misfits = to_table(pipeline, [record], catalog=catalog)
    if misfits:
        raise DeclarationError(f"`{pipeline.name}` cannot read the record: {misfits[0]}")
    context = Context(run=execution, parameters=parameters or {})
    prepared = prepare_records(pipeline, table.schema, names=list(record), catalog=catalog, offline=offline)
    resources = replace(prepared.resources, context=context, io=io or prepared.resources.io, fail_fast=True)
    environment = run_graph(prepared.graph, table, resources, flights=flights)
    _check_critical(environment)
    output = to_records(output_table(environment, kept=verdicts.everything(1)))[0]
    return Result(
        data=merged(record, output),
        metadata=_metadata(environment, execution=execution, duration=time.perf_counter() - began),
    )


async def acall(pipeline: Pipeline, record: Mapping[str, Any], **settings: Any) -> Result:
    """`call` on a thread, with async services on the caller's own loop; cancelling it cancels its calls.

    The thread is one of our own pool: a service may await another `acall`, for which a thread must be left.
    """
    loop = asyncio.get_running_loop()
    flights = Flights()
    work = partial(
        contextvars.copy_context().run, call, pipeline, record, io=CallersLoop(loop), flights=flights, **settings
    )
    try:
        return await loop.run_in_executor(_threads(), work)
    except asyncio.CancelledError:
        flights.cancel()
        raise


class CallersLoop(IOLoop):
    """The loop of whoever awaits a record, with their context variables."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._context = contextvars.copy_context()

    def start(self, coroutine: Coroutine[Any, Any, Value]) -> Future[Value]:
        """Run a coroutine on the loop."""
        # One context may be entered once at a time, and services start on threads of their own.
        future: Future[Value] = self._context.copy().run(super().start, coroutine)
        return future


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(SIDE_BY_SIDE, thread_name_prefix="dataflow-acall")


def to_table(
    pipeline: Pipeline, records: Sequence[Mapping[str, Any]], *, catalog: str = DEFAULT_CATALOG
) -> tuple[pa.Table, dict[int, str]]:
    """The columns of some records that the pipeline reads or writes, under the types that it declares.

    Returns:
        The table; and for each record with a value of another type, by its place, what is wrong. Such a value
        is null in the table.
    """
    needs = needs_of(pipeline, catalog=catalog)
    names = dict.fromkeys(name for record in records for name in record)
    touched = [name for name in names if needs.touched is None or name in needs.touched]
    columns: dict[str, pa.Array] = {}
    misfits: dict[int, str] = {}
    for name in touched:
        columns[name], wrong = _column([record.get(name) for record in records], name, needs)
        misfits |= {row: f"column `{name}`: {text}" for row, text in wrong.items()}
    # Without any column a table would have no rows.
    return pa.table(columns or {"": pa.nulls(len(records), pa.bool_())}), misfits


def prepare_records(
    pipeline: Pipeline,
    schema: pa.Schema,
    *,
    names: Sequence[str],
    catalog: str = DEFAULT_CATALOG,
    offline: bool = False,
) -> Prepared:
    """The pipeline ready for what `to_table` made; `names` are all columns, which a refusal may have to mention.

    Raises:
        DeclarationError: The pipeline does not fit the columns.
    """
    try:
        return prepare_once(pipeline, schema, catalog=catalog, offline=offline)
    except DeclarationError:
        fields = [schema.field(name) if name in schema.names else pa.field(name, pa.null()) for name in names]
        bind_pipeline(pipeline, pa.schema(fields), needs_of(pipeline, catalog=catalog).tables)
        raise


def _column(values: list[Any], name: str, needs: Needs) -> tuple[pa.Array, dict[int, str]]:
    wanted = needs.wanted.get(name)
    try:
        return _typed(values, wanted, name, needs), {}
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        wrong = {row: text for row, value in enumerate(values) if (text := _misfit(value, wanted, name, needs))}
    kept = [None if row in wrong else value for row, value in enumerate(values)]
    try:
        return _typed(kept, wanted, name, needs), wrong
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise DeclarationError(f"the values of `{name}` have no type in common; convert them before") from error


def _typed(values: list[Any], wanted: pa.DataType | None, name: str, needs: Needs) -> pa.Array:
    found = pa.array(values)
    if pa.types.is_null(found.type):
        known = needs.given.field(name).type if name in needs.given.names else pa.null()
        return pa.array(values, wanted or known)
    if wanted is None or found.type == wanted:
        return found
    numbers = pa.types.is_integer(found.type) and (pa.types.is_floating(wanted) or pa.types.is_integer(wanted))
    texts = is_text(found.type) and is_text(wanted)
    if numbers or texts or pa.types.is_nested(wanted):
        return pa.array(values, wanted)
    if pa.types.is_temporal(wanted) or pa.types.is_decimal(wanted):
        return found.cast(wanted)
    raise TypeError("another type than declared")


def _misfit(value: Any, wanted: pa.DataType | None, name: str, needs: Needs) -> str | None:
    try:
        _typed([value], wanted, name, needs)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        declared = f", but its first reader declares {wanted}" if wanted is not None else ", which has no Arrow type"
        return f"is {type(value).__name__}{declared}"
    return None


def to_records(table: pa.Table) -> list[dict[str, Any]]:
    """The rows as dicts of Python values."""
    try:
        rows: list[dict[str, Any]] = table.to_pylist(maps_as_pydicts="strict")
    except ValueError:
        # Nanoseconds need the timestamps of pandas.
        bring_pandas_in()
        rows = table.to_pylist(maps_as_pydicts="strict")
    return rows


def merged(record: Mapping[str, Any], output: Mapping[str, Any]) -> dict[str, Any]:
    """The record as it came, with what the pipeline has written or read."""
    return {**record, **{name: value for name, value in output.items() if name}}


def _check_critical(environment: Environment) -> None:
    failed = [
        (step.service.name, failure)
        for step in environment.graph.steps
        for failure in environment.effects[step.index].failures
        if step.service.policy.priority is Priority.CRITICAL
    ]
    if failed:
        names = tuple(name for name, _ in failed)
        detail = "; ".join(f"`{name}`: {failure.reason}" for name, failure in failed)
        raise CriticalServiceFailed(
            f"critical services failed: {detail}; give them default= or priority= if the record can do without", names
        )


def _metadata(environment: Environment, *, execution: str, duration: float) -> Metadata:
    found: dict[str, Outcome] = {}
    for step in environment.graph.steps:
        name = step.service.name
        listed = outcomes_of(step, environment.effects[step.index])
        found[name] = listed[0][1] if listed else Outcome(service=name, status=Status.SUCCEEDED)
    executed = [one for one in found.values() if one.status not in (Status.SKIPPED, Status.NOT_ATTEMPTED)]
    failures = tuple(one for one in executed if one.status in (Status.FAILED, Status.TIMED_OUT))
    statistics = count(environment, verdicts.everything(1))
    share = statistics.completeness
    if "completeness" not in environment.graph.output.names:
        share = (len(executed) - len(failures)) / len(found)
    rejected = reasons(environment).get(0)
    return Metadata(
        execution_id=execution,
        total_duration=duration,
        services_executed=len(executed),
        success_count=len(executed) - len(failures),
        failure_count=len(failures),
        failures=failures,
        cached_count=sum(one.status is Status.CACHED for one in executed),
        not_attempted=tuple(one for one in found.values() if one.status is Status.NOT_ATTEMPTED),
        completeness=share,
        cost=money(statistics.cost),
        rejected=None if rejected is None else f"{rejected[0]}: {rejected[2]}",
    )
