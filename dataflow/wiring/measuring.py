"""How long a record takes in the services that only compute: tried on the first records, before a run is planned.

Services that call out are not called for it, nor what comes after them, nor a class that would have to be set up for
it, nor a service that is kept out of this process. What follows from it is decided in `plan.sizes`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import pyarrow as pa

from dataflow.engine.http.settings import CallSettings
from dataflow.engine.partition import run_graph
from dataflow.engine.resources import make_resources
from dataflow.errors import DataflowError
from dataflow.plan.foresight import light
from dataflow.plan.graph import Graph
from dataflow.plan.partitions import SourcePlan
from dataflow.plan.sizes import Pace
from dataflow.services.context import Context
from dataflow.services.signature import Form
from dataflow.store.sources.heads import SourceHead, read_head

FIRST = 100
"""Records that are tried together; twice, where the first time has taken a while."""
LEAST = 100
"""Records of a source up to which nothing is tried: a service may not like to be called for nothing."""
ENOUGH = 0.25
"""Seconds after which no more are tried."""
FAST = 0.005
"""Seconds of a hundred records that are not worth another look."""
_LARGE, _FEW = 10_000, 10


def measure(
    graph: Graph,
    source: SourcePlan,
    tables: Mapping[str, pa.Table],
    *,
    parameters: Mapping[str, Any],
    seconds: float | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Pace | None:
    """What a record takes; None where nothing slow is found, or nothing that may be tried.

    Where the first records were tried before, `seconds` is what one of them took, and nothing is called. A source or a
    service that fails here is met again, and told, when it is run.
    """
    steps = tried(graph, tables)
    if not steps:
        return None
    with suppress(DataflowError):
        head = read_head(source, 2 + 2 * FIRST)
        if head is None or head.table.num_rows < _FEW or head.rows <= LEAST:
            return None
        if seconds is not None:
            return Pace(seconds=seconds, records=head.rows, largest=head.largest) if seconds > 0 else None
        return _measure(graph, head, tables, steps=steps, parameters=parameters, clock=clock)
    return None


def tried(graph: Graph, tables: Mapping[str, pa.Table]) -> list[int]:
    """The places of the steps that may be tried, of those that take time; empty where there is none."""
    chosen = sorted(light(graph, without=[name for name, table in tables.items() if table.num_rows > _LARGE]))
    forms = {graph.steps[at].service.form for at in chosen}
    return chosen if forms & {Form.RECORD, Form.COLUMN} else []


def _measure(
    graph: Graph,
    head: SourceHead,
    tables: Mapping[str, pa.Table],
    *,
    steps: Sequence[int],
    parameters: Mapping[str, Any],
    clock: Callable[[], float],
) -> Pace | None:
    # What services have to say is heard when they are run.
    settings = CallSettings(warn=lambda message: None)
    context = Context(parameters=parameters)
    resources = make_resources(graph, tables=tables, context=context, settings=settings, only=steps)
    try:

        def seconds(start: int, count: int) -> float:
            began = clock()
            run_graph(graph, head.table.slice(start, count), resources, only=steps)
            return clock() - began

        each = _seconds_each(seconds, head.table.num_rows)
    finally:
        resources.close()
    return None if each is None or each <= 0 else Pace(seconds=each, records=head.rows, largest=head.largest)


def seconds_each(times: Sequence[tuple[int, float]]) -> float | None:
    """What one record takes, where more and more of the first ones were tried; None where too few have told.

    Args:
        times: How many records, and the seconds of all of them.
    """
    if len(times) < 2:
        return None
    (few, short), (many, long) = times[1], times[-1]
    if long * FIRST <= FAST * many:
        return 0.0
    return short / few if many <= few else max(0.0, (long - short) / (many - few))


def _seconds_each(seconds: Callable[[int, int], float], rows: int) -> float | None:
    """What one of so many records takes beyond what a call for any number of them does; None where that is nothing.

    The first record pays for what is imported and compiled with it, so it tells nothing.
    """
    spent = seconds(0, 1)
    one = max(seconds(1, 1), 1e-6)
    spent += one
    count = int(min(rows // 2 - 1, FIRST, max(1, (ENOUGH - spent) / one)))
    if count < _FEW:
        return (one + seconds(2, count)) / (1 + count)
    many = seconds(2, count)
    if spent + many < ENOUGH and many > FAST:
        many = min(many, seconds(2 + count, count))
    return (many - one) / (count - 1) if many > FAST else None
