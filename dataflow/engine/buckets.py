"""Calls the keys of a bucket: every service of a stage at the same time, once for each key."""

from __future__ import annotations

import contextvars
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import pyarrow as pa

from dataflow.engine.calling import judge
from dataflow.engine.http.settings import Execution
from dataflow.engine.marks import Effect
from dataflow.engine.partition import calling_pool, nothing, wait_for_one
from dataflow.engine.resolving import arguments_of
from dataflow.engine.resources import Resources
from dataflow.engine.telling import as_kept
from dataflow.engine.tracing import serving, told_effect
from dataflow.engine.turns import Turns
from dataflow.engine.values import Holed, refuse_holes
from dataflow.engine.waiting import Flights
from dataflow.plan.graph import Graph, Step


def call_bucket(
    graph: Graph,
    keys: Mapping[int, pa.Table],
    resources: Resources,
    *,
    turns: Turns | None = None,
    flights: Flights | None = None,
) -> dict[int, Effect]:
    """Call some services once for each key.

    Args:
        graph: The bound pipeline.
        keys: By the place of a step, the keys with their inputs; see `resolving.collect_keys`.
        resources: What the steps need beside records.
        turns: Where this bucket says that it only waits.
        flights: For whoever may stop waiting.

    Returns:
        What each service did, with a row for each key.
    """
    resources = replace(resources, flights=flights or Flights())
    effects: dict[int, Effect] = {}
    with calling_pool(resources, len(keys)) as pool:
        waiting: dict[Future[Effect], int] = {
            pool.submit(contextvars.copy_context().run, _serve, graph.steps[at], table, resources): at
            for at, table in keys.items()
        }
        while waiting:
            for future in wait_for_one(waiting, turns):
                effects[waiting.pop(future)] = future.result()
    return effects


def _serve(step: Step, keys: pa.Table, resources: Resources) -> Effect:
    with serving(step) as span:
        return told_effect(span, _call(step, keys, resources), step=step, size=keys.num_rows)


def _call(step: Step, keys: pa.Table, resources: Resources) -> Effect:
    size = keys.num_rows
    if not size:
        return nothing(step)
    assert resources.callers is not None
    function: Any = resources.functions.get(step.index)
    columns = arguments_of(step, keys, injected=resources.injected(step))
    if function is not None and any(isinstance(column, Holed) for column in columns):
        function = refuse_holes(function)
    on = Execution(run=resources.context.run, flights=resources.flights, fail_fast=resources.fail_fast)
    with resources.hold(step):
        effect = judge(step, resources.callers.call(step, function, columns=columns, size=size, on=on))
    return as_kept(step, effect, texts=resources.error_texts)
