"""One record through a pipeline: the coordinator of many services, with what happened to each."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from dataflow.engine import verdicts
from dataflow.engine.environment import Environment, outcomes_of
from dataflow.engine.fate import count, output_table, reasons
from dataflow.engine.partition import run_graph
from dataflow.engine.waiting import IOLoop
from dataflow.errors import CriticalServiceFailed, DeclarationError
from dataflow.outcomes import Outcome, Priority, Status
from dataflow.plan.pipeline import Pipeline
from dataflow.services.context import Context
from dataflow.wiring.binding import wanted_types
from dataflow.wiring.preparation import DEFAULT_CATALOG, prepare_once


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What happened in one execution.

    Attributes:
        execution_id: Names the execution in logs and in `flow.Context.run`.
        total_duration: Seconds.
        services_executed: Services that were called.
        success_count: Those among them that succeeded or found nothing.
        failure_count: Those that failed or timed out.
        failures: Their outcomes.
        completeness: Found over applicable enrichments; without enrichments, succeeded over all services.
        cost: Money.
        rejected: Why a run would reject this record, or None.
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
    io: IOLoop | None = None,
) -> Result:
    """Run one record; see `Pipeline.call`."""
    began = time.perf_counter()
    execution = uuid.uuid4().hex[:12]
    table = to_table(pipeline, [record])
    context = Context(run=execution, parameters=parameters or {})
    prepared = prepare_once(pipeline, table.schema, catalog=catalog)
    resources = replace(prepared.resources, context=context, io=io or prepared.resources.io)
    environment = run_graph(prepared.graph, table, resources)
    _check_critical(environment)
    return Result(
        data=output_table(environment, kept=verdicts.everything(1)).to_pylist()[0],
        metadata=_metadata(environment, execution=execution, duration=time.perf_counter() - began),
    )


async def acall(pipeline: Pipeline, record: Mapping[str, Any], **settings: Any) -> Result:
    """`call` on a thread, with async services on the caller's own loop."""
    io = IOLoop(asyncio.get_running_loop())
    return await asyncio.to_thread(call, pipeline, record, io=io, **settings)


def to_table(pipeline: Pipeline, records: list[Mapping[str, Any]]) -> pa.Table:
    """Records as a table: columns that services declare under their types, the others as Arrow infers them.

    Raises:
        DeclarationError: A value is not of the type that its first reader declares.
    """
    wanted = wanted_types(pipeline)
    names = list(dict.fromkeys(name for record in records for name in record))
    columns = {name: _column(name, [record.get(name) for record in records], wanted, pipeline) for name in names}
    return pa.table(columns)


def _column(name: str, values: list[Any], wanted: Mapping[str, pa.DataType], pipeline: Pipeline) -> pa.Array:
    try:
        found = pa.array(values)
        if name in wanted and (pa.types.is_null(found.type) or found.type != wanted[name]):
            return _under(values, found, wanted[name])
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise DeclarationError(
            f"`{name}` is {type(values[0]).__name__}, but its first reader in `{pipeline.name}` declares "
            f"{wanted.get(name)}"
        ) from error
    return found


def _under(values: list[Any], found: pa.Array, arrow: pa.DataType) -> pa.Array:
    numbers = pa.types.is_floating(arrow) and pa.types.is_integer(found.type)
    if pa.types.is_null(found.type) or numbers or pa.types.is_nested(arrow):
        return pa.array(values, arrow)
    if pa.types.is_temporal(arrow) or pa.types.is_decimal(arrow):
        return found.cast(arrow)
    raise TypeError("another type than declared")


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
        completeness=share,
        cost=0.0,
        rejected=None if rejected is None else f"{rejected[0]}: {rejected[1]}",
    )
