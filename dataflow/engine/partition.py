"""One partition through the graph: each service as its inputs are ready, each record followed to its end.

What computes runs in this thread in listed order; what waits is handed over and collected. The result does not
depend on which of them ends first.
"""

from __future__ import annotations

import contextvars
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from dataflow.engine.applicability import exclude
from dataflow.engine.calling import judge
from dataflow.engine.columns import call_columns
from dataflow.engine.computing import call_each, call_threads
from dataflow.engine.distinct import group
from dataflow.engine.environment import Environment, Taints
from dataflow.engine.http.settings import Execution
from dataflow.engine.lookups import find
from dataflow.engine.marks import NONE_EXCLUDED, Clock, Effect, Exclusions, Verdicts, merge_effects, spread
from dataflow.engine.naming import naming_columns, record_names
from dataflow.engine.nested import idle, run_each
from dataflow.engine.patience import TIMEOUT
from dataflow.engine.resolving import look_up
from dataflow.engine.resources import Resources
from dataflow.engine.telling import as_kept
from dataflow.engine.tracing import serving, told_effect
from dataflow.engine.turns import Turns
from dataflow.engine.values import Holed, refuse_holes
from dataflow.engine.waiting import Flights, call_async
from dataflow.errors import GuardrailReached, LimitReached
from dataflow.outcomes import Kind
from dataflow.plan.graph import Column, Graph, Step
from dataflow.services.context import working_for
from dataflow.services.signature import Form

LOOK = 0.5
"""Seconds between two looks of a waiting partition at whether another may begin, or Ctrl-C was pressed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prelude:
    """What comes before the calls of a partition.

    Attributes:
        steps: The places of the steps that run first.
        judge: Told how the partition stands then; what it raises ends the run before a call.
    """

    steps: Collection[int]
    judge: Callable[[Environment], object]


def run_graph(
    graph: Graph,
    table: pa.Table,
    resources: Resources,
    *,
    turns: Turns | None = None,
    flights: Flights | None = None,
    clock: Clock = time.perf_counter,
    only: Collection[int] | None = None,
    prelude: Prelude | None = None,
    taints: Taints | None = None,
) -> Environment:
    """Run every service of the graph over the records of a table.

    Args:
        graph: The bound pipeline.
        table: The records, under `graph.source` (columns beyond it are ignored).
        resources: What the steps need beside records.
        turns: Where this partition says that it only waits; None where nobody waits for its place.
        flights: For whoever may stop waiting; Ctrl-C in this thread cancels them too.
        clock: Seconds, for the durations in the statistics.
        only: The places of the steps to run, with all that they need; None for all.
        prelude: What runs and is judged before anything is called; None where calls need not wait.
        taints: Why some columns of the table are null, where an earlier service is to blame.

    Returns:
        All columns in all versions still needed, and what each step did for each record.
    """
    environment = Environment(graph, table, taints=taints)
    resources = replace(resources, flights=flights or Flights())
    todo = [step for step in graph.steps if only is None or step.index in only]
    services = len([step for step in todo if step.service.calls_out])
    with working_for(resources.context.run), calling_pool(resources, services) as pool:
        run = partial(_run_steps, environment, resources=resources, pool=pool, turns=turns, clock=clock)
        if prelude is not None:
            run([step for step in todo if step.index in prelude.steps])
            prelude.judge(environment)
            todo = [step for step in todo if step.index not in prelude.steps]
        run(todo)
    return environment


@contextmanager
def calling_pool(resources: Resources, services: int) -> Iterator[ThreadPoolExecutor]:
    """Threads for services that wait side by side; what ends the work ends what they wait for."""
    with ThreadPoolExecutor(max_workers=max(1, services), thread_name_prefix="dataflow-step") as pool:
        try:
            yield pool
        except (KeyboardInterrupt, SystemExit):
            # The pool waits for its threads, and these for answers that nobody wants any more.
            resources.flights.cancel()
            raise
        except (GuardrailReached, LimitReached):
            # The run ends here: what other services of this partition have in flight is paid for, no more.
            if resources.callers is not None:
                resources.callers.halt()
            raise


def _run_steps(
    environment: Environment,
    todo: list[Step],
    *,
    resources: Resources,
    pool: ThreadPoolExecutor,
    turns: Turns | None,
    clock: Clock,
) -> None:
    waiting: dict[Future[Effect], Step] = {}
    while todo or waiting:
        ready = [step for step in todo if all(one in environment.effects for one in step.after)]
        for step in ready:
            if step.service.calls_out:
                work = partial(contextvars.copy_context().run, run_step, step, environment, resources, clock=clock)
                waiting[pool.submit(work)] = step
                todo.remove(step)
        local = next((step for step in ready if not step.service.calls_out), None)
        if local is not None:
            todo.remove(local)
            environment.add(local, run_step(local, environment, resources, clock=clock))
        _collect(waiting, environment, block=local is None, turns=turns)


def _collect(
    waiting: dict[Future[Effect], Step], environment: Environment, *, block: bool, turns: Turns | None
) -> None:
    if not waiting:
        return
    done, _ = wait(waiting, timeout=0, return_when=FIRST_COMPLETED)
    if block and not done:
        done = wait_for_one(waiting, turns)
    for future in sorted(done, key=lambda one: waiting[one].index):
        environment.add(waiting.pop(future), future.result())


def wait_for_one(waiting: Iterable[Future[Effect]], turns: Turns | None) -> set[Future[Effect]]:
    """Those that have ended, as soon as one has.

    Never without a timeout: where a library such as polars has set a handler of its own, Ctrl-C wakes no lock.
    """
    with nullcontext() if turns is None else turns.waiting():
        while not (done := wait(waiting, timeout=LOOK, return_when=FIRST_COMPLETED).done):
            if turns is not None:
                turns.make_room()
    return done


def run_step(step: Step, environment: Environment, resources: Resources, *, clock: Clock) -> Effect:
    """Run one service over the records it applies to."""
    with serving(step) as span:
        effect = _run_step(step, environment, resources, clock=clock)
        return told_effect(span, effect, step=step, size=environment.size)


def _run_step(step: Step, environment: Environment, resources: Resources, *, clock: Clock) -> Effect:
    exclusions = exclude(step, environment)
    rows = exclusions.rows
    size = environment.size if rows is None else len(rows)
    if size == 0 and environment.size > 0:
        return finish(step, environment, exclusions, nothing(step), texts=resources.error_texts)
    with resources.hold(step):
        began = clock()
        effect = _perform(step, environment, resources, rows=rows, size=size, clock=clock)
        effect = replace(effect, seconds=clock() - began)
    return finish(step, environment, exclusions, effect, texts=resources.error_texts)


def nothing(step: Step) -> Effect:
    """The effect on no records."""
    judged = np.empty(0, np.bool_) if step.service.kind is Kind.VALIDATION else None
    return Effect(
        values=tuple(pa.nulls(0, arrow) for arrow in step.types),
        verdicts=None if judged is None else Verdicts(valid=judged, judged=judged),
        members=idle(step),
    )


def _perform(
    step: Step, environment: Environment, resources: Resources, *, rows: Any, size: int, clock: Clock
) -> Effect:
    form = step.service.form
    if form is Form.EACH:
        run = partial(run_graph, flights=resources.flights, clock=clock)
        return run_each(step, environment, resources, rows=rows, run=run)
    if form is Form.LOOKUP:
        return find(resources.indexes[step.index], environment.columns_of(step, rows))
    function: Any = resources.function(step)
    if form is Form.COLUMN:
        columns = environment.columns_of(step, rows)
        return call_columns(step, function, columns, resources.context, patience=resources.patience(step))
    if resources.answers is not None and step.service.name in resources.answers.services:
        return _look_up(step, environment, resources, rows=rows)
    if step.service.api is not None:
        return _call_out(step, environment, resources, rows=rows)
    function, columns = arguments_of(step, environment, resources, rows=rows, size=size)
    policy = step.service.policy
    if form is Form.ASYNC:
        calls = call_async(function, columns, size=size, timeout=policy.timeout or TIMEOUT)
        with resources.io.watching(step.service):
            return judge(step, resources.flights.start(resources.io, calls).result())
    patience = resources.patience(step)
    if policy.threads > 1:
        return judge(step, call_threads(function, columns, size=size, threads=policy.threads, patience=patience))
    return judge(step, call_each(function, columns, size, patience=patience))


def arguments_of(
    step: Step, environment: Environment, resources: Resources, *, rows: Any, size: int
) -> tuple[Any, list[Sequence[Any]]]:
    """What is called for some records, None for an endpoint, and the values of each argument."""
    function: Any = resources.function(step)
    columns = environment.values_of(step, rows, size, injected=resources.injected(step))
    if function is not None and any(isinstance(column, Holed) for column in columns):
        function = refuse_holes(function)
    return function, columns


def _look_up(step: Step, environment: Environment, resources: Resources, *, rows: Any) -> Effect:
    """What is known of a service that was asked before, and a call for whatever is not."""
    assert resources.answers is not None
    known = look_up(step, environment, resources.answers)
    if not len(known.missing):
        return known.effect
    missing = known.missing if rows is None else rows[known.missing]
    called = _call_out(step, environment, resources, rows=missing)
    parts = [(known.effect, known.rows), (called, known.missing)]
    return merge_effects(step.types, parts, size=len(known.rows) + len(missing))


def _call_out(step: Step, environment: Environment, resources: Resources, *, rows: Any) -> Effect:
    """Call a service of an API, once for records with the same inputs."""
    assert resources.callers is not None
    groups = group(step, environment, rows)
    first = groups.first if rows is None else rows[groups.first]
    function, columns = arguments_of(step, environment, resources, rows=first, size=len(first))
    on = execution_of(step, environment, resources, places=first.tolist())
    answers = resources.callers.call(step, function, columns=columns, size=len(first), group_of=groups.of, on=on)
    return judge(step, answers)


def execution_of(step: Step, environment: Environment, resources: Resources, *, places: list[int]) -> Execution:
    """What the calls for the records at some places are made for."""
    kept = resources.kept.get(step.service.name, {})
    columns: tuple[Column, ...] = ()
    if resources.effects is not None and not step.service.repeatable:
        columns = naming_columns(step, environment.graph, resources.effects.key)
    return Execution(
        run=resources.context.run,
        flights=resources.flights,
        fail_fast=resources.fail_fast,
        effects=resources.effects,
        records=record_names(columns, environment, places) if columns else (),
        kept={at: kept[place] for at, place in enumerate(places) if place in kept} if kept else {},
    )


def finish(step: Step, environment: Environment, exclusions: Exclusions, effect: Effect, *, texts: bool) -> Effect:
    """The effect on the records that a step was called for as one on all records of the partition, as it may be kept.

    Args:
        step: The step.
        environment: The partition so far.
        exclusions: The records that it was not called for.
        effect: On the others.
        texts: Whether what providers and exceptions say may be kept.
    """
    whole = spread(as_kept(step, effect, texts=texts), exclusions.rows, environment.size)
    values = environment.settle(step, whole, exclusions)
    if exclusions is NONE_EXCLUDED and values is whole.values:
        return whole
    return replace(
        whole,
        values=values,
        marks=(*exclusions.marks, *whole.marks),
        rejections=(*exclusions.rejections, *whole.rejections),
        verdicts=exclusions.verdicts_of(whole.verdicts, environment.size),
    )


def check_rowwise(effect: Effect, halves: Sequence[Effect]) -> bool:
    """Whether a column service gave the same for a table as for its halves."""
    joined = [pa.concat_arrays([half.values[at] for half in halves]) for at in range(len(effect.values))]
    same = all(_are_same(whole, parts) for whole, parts in zip(effect.values, joined, strict=True))
    if effect.verdicts is None:
        return same
    valid = np.concatenate([half.verdicts.valid for half in halves if half.verdicts is not None])
    return same and bool((valid == effect.verdicts.valid).all())


def _are_same(one: pa.Array, other: pa.Array) -> bool:
    """Whether two columns are equal where NaN equals NaN."""
    if one.equals(other) or not pa.types.is_floating(one.type):
        return bool(one.equals(other))
    left, right = (column.to_numpy(zero_copy_only=False) for column in (one, other))
    return bool(one.is_null().equals(other.is_null()) and np.array_equal(left, right, equal_nan=True))
