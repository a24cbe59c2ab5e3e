"""Runs services over a table as a partition of a run does: bind, set up, run, settle."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import pyarrow as pa
import pytest

from dataflow.engine.awaiting import await_graph
from dataflow.engine.environment import Environment
from dataflow.engine.fate import settle
from dataflow.engine.http.settings import CallSettings
from dataflow.engine.partition import run_graph
from dataflow.engine.resources import Resources, make_resources
from dataflow.engine.result import PartitionResult
from dataflow.engine.waiting import IOLoop
from dataflow.plan.binding import bind
from dataflow.plan.graph import Graph
from dataflow.plan.partitions import Batch, Unreadable
from dataflow.services.context import Context
from dataflow.services.service import Service


def run_services(
    services: Sequence[Service],
    table: pa.Table | Mapping[str, object],
    *,
    tables: Mapping[str, pa.Table] | None = None,
    key: Sequence[str] = (),
    invalid: str = "keep",
    context: Context | None = None,
    unreadable: Sequence[Unreadable] = (),
    first_row: int = 1,
    settings: CallSettings | None = None,
    through: Callable[[Graph, pa.Table, Resources], Environment] = run_graph,
) -> PartitionResult:
    records = table if isinstance(table, pa.Table) else pa.table(dict(table))
    schemas = {name: one.schema for name, one in (tables or {}).items()}
    graph = bind(services, records.schema, name="test", invalid=invalid, tables=schemas)
    resources = make_resources(graph, tables=tables or {}, context=context, settings=settings)
    try:
        environment = through(graph, records, resources)
    finally:
        resources.close()
    rows = pa.array(range(first_row, first_row + records.num_rows), pa.int64())
    batch = Batch(table=records, rows=rows, unreadable=tuple(unreadable))
    return settle(environment, batch, key=key, path="leads.csv")


def awaited(graph: Graph, table: pa.Table, resources: Resources) -> Environment:
    """The graph on an event loop, what computes on threads beside it."""

    async def run() -> Environment:
        own = replace(resources, io=IOLoop(asyncio.get_running_loop()))
        return await await_graph(graph, table, own, computing=asyncio.to_thread, waiting=asyncio.to_thread)

    return asyncio.run(run())


@pytest.fixture(scope="session")
def run_awaited() -> Callable[..., PartitionResult]:
    """The same on an event loop."""
    return partial(run_services, through=awaited)


@pytest.fixture
def run() -> Callable[..., PartitionResult]:
    return run_services


@pytest.fixture(scope="session")
def run_once() -> Callable[..., PartitionResult]:
    """The same for Hypothesis, which refuses fixtures that are made anew for each test function."""
    return run_services
