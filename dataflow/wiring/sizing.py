"""How a source is cut for a run: as somebody says, as a run that goes on has it, or as slow services need it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pyarrow as pa

from dataflow.engine.cluster import current_client
from dataflow.engine.local import available_processors
from dataflow.plan.fingerprint import changes
from dataflow.plan.graph import Graph
from dataflow.plan.partitions import PartitionSpec, SourcePlan
from dataflow.plan.sizes import PartitionSize, SizeOption, read_partition_size, records_each, told_pace
from dataflow.store.sources import Source
from dataflow.wiring.inputs import plan_source
from dataflow.wiring.measuring import measure
from dataflow.wiring.settings import PLACES, SCHEDULERS, Settings

ELSEWHERE = 16
"""Threads of a cluster that nobody has looked at yet."""


def chosen_size(given: SizeOption | None, found: Source, of_job: SizeOption | None) -> PartitionSize | None:
    """What counts of what the run, the source and the job say, in this order; None where nobody says anything."""
    return read_partition_size(given) or found.partition_size or read_partition_size(of_job)


def kept_cuts(
    source: SourcePlan, before: Mapping[str, Any] | None, fingerprints: Mapping[str, str], *, size: PartitionSize | None
) -> SourcePlan | None:
    """The source with the cuts of the run that goes on; None where none does.

    Args:
        source: As it would be cut now.
        before: The plan of a run that may go on.
        fingerprints: Of the plan that is made now.
        size: What somebody has asked for.
    """
    if before is None or changes(before["fingerprints"], fingerprints):
        return None
    specs = tuple(PartitionSpec.from_dict(spec) for spec in before["specs"])
    # How much of a packed file may be read goes with its cuts; all else is the same, or another plan.
    source = replace(source, options={**source.options, **before["reading"]})
    if size is None or [spec.identity for spec in specs] == [spec.identity for spec in source.specs]:
        return replace(source, specs=specs)
    note = f"the run goes on with the {len(specs):,} partitions that it has; {size} each would be for a new run"
    return replace(source, specs=specs, notes=(*source.notes, note))


def records_for(
    graph: Graph,
    source: SourcePlan,
    tables: Mapping[str, pa.Table],
    *,
    threads: int,
    parameters: Mapping[str, Any] | None = None,
    seconds: float | None = None,
) -> tuple[int, str] | None:
    """How many records a partition may have where local services are slow, and why; None where it is well cut.

    The first records tell, for which the services that only compute are called, unless `seconds` says what one takes.
    """
    pace = measure(graph, source, tables, parameters=parameters or {}, seconds=seconds)
    records = None if pace is None else records_each(pace, threads=threads)
    return None if pace is None or records is None else (records, told_pace(pace, threads=threads))


def cut_to(
    source: SourcePlan,
    records: int,
    *,
    found: Source,
    wanted: Mapping[str, pa.DataType],
    why: str,
    limit: int | None = None,
) -> SourcePlan:
    """The source with partitions of so many records, where these are smaller.

    Raises:
        SourceError: The source cannot be read.
    """
    smaller = plan_source(found, wanted, limit=limit, size=PartitionSize(records=records))
    if len(smaller.specs) <= len(source.specs):
        return source
    return replace(smaller, notes=(*smaller.notes, f"cut into {len(smaller.specs):,} partitions {why}"))


def threads_for(settings: Settings) -> int:
    """The threads that will run partitions, as far as can be told before anything is started."""
    if settings.workers is not None:
        return settings.workers * (settings.threads or 1)
    if settings.adapt is not None:
        return settings.adapt[1]
    client = settings.client or current_client()
    if client is not None and not client.asynchronous and client.status == "running":
        return max(1, sum(int(count) for count in client.nthreads().values()))
    if (
        client is not None
        or any(getattr(settings, name) is not None for name in PLACES)
        or any(os.environ.get(one) for one in SCHEDULERS)
    ):
        return ELSEWHERE
    return settings.threads or available_processors()
