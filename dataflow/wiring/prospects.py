"""What a run would make of a source, as far as some of its records tell; `quote`, `sample` and `explain` say so.

Nothing is called here; which guardrail would be reached is decided in `guarding`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from dataflow.engine.foreseeing import Foreseen, foresee
from dataflow.engine.http.settings import CallSettings
from dataflow.engine.partition import run_graph
from dataflow.engine.resources import make_resources
from dataflow.plan.foresight import light
from dataflow.plan.graph import Graph
from dataflow.plan.guardrails import Guardrails
from dataflow.plan.partitions import Batch, SourcePlan
from dataflow.services.context import Context
from dataflow.store.sources import read
from dataflow.telemetry.services import STATUSES, ServiceStatistics
from dataflow.telemetry.statistics import Statistics
from dataflow.wiring.guarding import certain
from dataflow.wiring.measuring import seconds_each

LARGEST = 32 * 2**20
"""Bytes of a partition beyond which nothing of it is read only to be looked at."""
SIZES = (1, 10, 100, 1_000, 10_000)
"""First records that are looked at, more of them as long as that takes no time."""
PATIENCE = 1.0
"""Seconds that the next look may take, by what the last one took."""


def told_ahead(guardrails: Guardrails, graph: Graph, foreseen: Foreseen, *, records: int | None) -> list[str]:
    """What a run would make of records that were looked at, in a sentence; none where nothing would fail.

    Args:
        guardrails: Those of the job.
        graph: Its services.
        foreseen: What became of the records.
        records: Of the source; None where nobody has counted them.
    """
    looked = foreseen.counts.total_records
    found = _rejected(foreseen) or _failed(foreseen)
    if not found:
        return []
    whole = max(looked, records or 0)
    if certain(guardrails, graph, run="", counts=foreseen.counts, records=whole) is not None:
        ending = "would stop" if records is not None else "would stop if the others are like these"
    elif certain(guardrails, graph, run="", counts=_as_whole(foreseen.counts, whole), records=whole) is not None:
        ending = "would stop if the others are like these"
    elif foreseen.counts.failed_records:
        ending = "would go on"
    else:
        # What is only degraded, and ends nothing, is told when it has happened.
        return []
    return [f"{found}; a run {ending}"]


def _rejected(foreseen: Foreseen) -> str:
    failed, looked = foreseen.counts.failed_records, foreseen.counts.total_records
    if not failed:
        return ""
    several = len(foreseen.rejected) + bool(foreseen.unreadable) > 1
    by = [f"`{name}`{f' ({count:,})' if several else ''}" for name, count in foreseen.rejected.items()]
    reasons = [f"by {' and '.join(by)}"] if by else []
    if foreseen.unreadable:
        reasons.append(f"since they cannot be read{f' ({foreseen.unreadable:,})' if several else ''}")
    return f"{failed:,} of {looked:,} records would be rejected {' or '.join(reasons)}"


def _failed(foreseen: Foreseen) -> str:
    counts = {name: part.failed + part.timed_out for name, part in foreseen.counts.services.items()}
    failing = [f"`{name}` for {failed:,}" for name, failed in counts.items() if failed]
    return f"of {foreseen.counts.total_records:,} records, {' and '.join(failing)} would fail" if failing else ""


def _as_whole(counts: Statistics, records: int) -> Statistics:
    """The counts of so many records that are all like these."""

    def grown(value: int) -> int:
        return value * records // max(1, counts.total_records)

    def as_whole(part: ServiceStatistics) -> ServiceStatistics:
        statuses: dict[str, Any] = {name: grown(getattr(part, name)) for name in STATUSES}
        return replace(part, records=grown(part.records), shared={}, **statuses)

    return replace(
        counts,
        total_records=records,
        failed_records=grown(counts.failed_records),
        services={name: as_whole(part) for name, part in counts.services.items()},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What was seen of the first records of a source.

    Attributes:
        foreseen: What became of them.
        seconds: How long one takes in the services that were tried; None where too few have told.
    """

    foreseen: Foreseen
    seconds: float | None = None


def look_at_first(
    plan: SourcePlan,
    graph: Graph,
    tables: Mapping[str, pa.Table],
    *,
    parameters: Mapping[str, Any] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Looked:
    """What becomes of the first records of a source, before anything is called, and how long that takes.

    Services that are set up, or are kept out of this process, are left out: neither is done only to look.

    Args:
        plan: The source.
        graph: The services.
        tables: The table of each lookup.
        parameters: What `flow.Context.parameters` will hold.
        clock: Seconds that only grow.
    """
    if not plan.specs or plan.specs[0].size > LARGEST:
        return Looked(foreseen=Foreseen())
    steps = light(graph)
    spec, foreseen, times = plan.specs[0], Foreseen(), list[tuple[int, float]]()
    batch = read(plan.options, spec, schema=plan.schema)
    # What is only looked at says nothing: it is said when it is run.
    settings, context = CallSettings(warn=lambda _: None), Context(parameters=parameters or {})
    resources = make_resources(graph, tables=tables, context=context, settings=settings, only=steps)
    try:
        for size, before in zip(SIZES, (0, *SIZES), strict=False):
            began = clock()
            part = _first(batch, size)
            environment = run_graph(graph, part.table, resources, only=steps)
            foreseen = foresee(environment, steps, batch=part, path=spec.path)
            took = clock() - began
            times.append((part.table.num_rows, took))
            # The first record may wait for imports, which says nothing of the others.
            if batch.table.num_rows <= size or took * (10 if before else 1) > PATIENCE:
                break
    finally:
        resources.close()
    return Looked(foreseen=foreseen, seconds=seconds_each(times) if steps else None)


def _first(batch: Batch, size: int) -> Batch:
    """The first readable records of a slice, with those between them that are not."""
    if batch.table.num_rows <= size:
        return batch
    return batch.until(batch.rows[size].as_py() - 1)
