"""A few records through the graph on an event loop: what waits is awaited there, and what computes keeps off it.

The same steps in the same order as in `partition`, whose pure parts are used. Here is only who waits for whom.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, TypeVar

import pyarrow as pa

from dataflow.engine.applicability import exclude
from dataflow.engine.calling import Answers, judge
from dataflow.engine.environment import Environment
from dataflow.engine.gathering import Companion, Together
from dataflow.engine.http.settings import Execution
from dataflow.engine.keys import is_unlike, key_of, keys_of
from dataflow.engine.marks import Clock, Effect
from dataflow.engine.partition import arguments_of, execution_of, finish, nothing, run_step
from dataflow.engine.patience import TIMEOUT
from dataflow.engine.resources import Resources
from dataflow.engine.tracing import serving, told_effect
from dataflow.engine.waiting import Flights, call_async
from dataflow.plan.graph import Graph, Step
from dataflow.services.context import working_for
from dataflow.services.signature import Form

Value = TypeVar("Value")


class Threads(Protocol):
    """Where functions run that may hold up whoever calls them."""

    def __call__(self, function: Callable[[], Value], /) -> Awaitable[Value]:
        """What the function gives; it begins at once."""


class SharedCalls:
    """The calls of APIs that are under way or made for some records together: equal ones are made once.

    Attributes:
        together: The records, which share the requests of services with `batch=`.
        flights: What is under way for several of them.
    """

    def __init__(self) -> None:
        self._made: dict[tuple[str, bytes], asyncio.Future[Answers]] = {}
        self.together = Together()
        self.flights = Flights()

    def close(self) -> None:
        """End what nobody waits for any more."""
        self.together.close()
        self.flights.cancel()

    async def answers(
        self,
        step: Step,
        inputs: tuple[Any, ...],
        make: Callable[[], Awaitable[Answers]],
        *,
        record: Companion | None = None,
    ) -> Answers:
        """What a service says to some inputs; whoever is not the first to ask pays nothing."""
        if is_unlike(step):
            return await make()
        key = step.service.name, key_of(step, keys_of(step))(inputs)
        if (asked := self._made.get(key)) is not None:
            if record is not None:
                record.passes(step.service.name)
            return _again(await asyncio.shield(asked))
        self._made[key] = asyncio.ensure_future(make())
        return await self._made[key]


def _again(answers: Answers) -> Answers:
    """The answers for another record that shares the call."""
    shared = [0] if 0 not in answers.not_attempted else []
    again = Answers(values=list(answers.values), raised=dict(answers.raised), calls=0, shared=shared)
    again.texts = dict(answers.texts)
    again.timed_out, again.remembered = set(answers.timed_out), set(answers.remembered)
    again.own = set(answers.own)
    again.not_attempted, again.statuses = set(answers.not_attempted), dict(answers.statuses)
    again.attempts, again.durations = dict(answers.attempts), dict(answers.durations)
    again.given = dict(answers.given)
    # Nobody took these seconds twice.
    again.seconds = []
    return again


async def await_graph(
    graph: Graph,
    table: pa.Table,
    resources: Resources,
    *,
    computing: Threads,
    waiting: Threads,
    calls: SharedCalls | None = None,
    record: Companion | None = None,
    clock: Clock = time.perf_counter,
) -> Environment:
    """Run every service of the graph over a few records; cancelling it cancels what it has called.

    Args:
        graph: The bound pipeline.
        table: The records, under `graph.source`.
        resources: What the steps need beside records; their loop is the running one.
        computing: Where services compute, one after the other.
        waiting: Where services wait that cannot be awaited, side by side.
        calls: What this shares with others, where the table is a single record.
        record: Which of these others it is; None where it shares no requests.
        clock: Seconds, for the durations.

    Returns:
        All columns in all versions still needed, and what each step did.
    """
    drive = _Drive(
        Environment(graph, table),
        resources,
        computing=computing,
        waiting=waiting,
        calls=calls,
        record=record,
        clock=clock,
    )
    with working_for(resources.context.run):
        return await drive.run()


class _Drive:
    """One graph on its way."""

    def __init__(
        self,
        environment: Environment,
        resources: Resources,
        *,
        computing: Threads,
        waiting: Threads,
        calls: SharedCalls | None,
        record: Companion | None,
        clock: Clock,
    ) -> None:
        self._environment = environment
        self._resources = resources
        self._computing = computing
        self._waiting = waiting
        self._calls = calls
        self._record = record
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        steps = environment.graph.steps
        self._outward = [step for step in steps if step.service.calls_out]
        self._local = [step for step in steps if not step.service.calls_out]
        self._awaited = frozenset(index for step in self._outward for index in step.after)
        self._tasks: set[asyncio.Task[None]] = set()
        self._computes = False
        self._ended: asyncio.Future[None] = self._loop.create_future()

    async def run(self) -> Environment:
        """All of it."""
        self._advance()
        try:
            await self._ended
        except BaseException:
            self._resources.flights.cancel()
            raise
        finally:
            if not self._ended.done():
                self._ended.cancel()
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                await asyncio.gather(*self._tasks, return_exceptions=True)
        return self._environment

    def _advance(self) -> None:
        """Start what can be started."""
        if self._ended.done():
            return
        effects = self._environment.effects
        left = []
        for step in self._outward:
            if all(index in effects for index in step.after):
                self._start(self._call_out(step))
            else:
                left.append(step)
        self._outward = left
        if not self._computes and self._next_local() is not None:
            self._computes = True
            self._start(self._compute())
        if self._record is not None:
            self._record.moves(computes=self._computes)
        if not self._tasks:
            self._ended.set_result(None)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._take)

    def _take(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or self._ended.done():
            if not self._ended.done():
                self._ended.cancel()
            return
        if (error := task.exception()) is not None:
            self._ended.set_exception(error)
        else:
            self._advance()

    def _next_local(self) -> Step | None:
        effects = self._environment.effects
        return next((step for step in self._local if all(index in effects for index in step.after)), None)

    async def _compute(self) -> None:
        try:
            await self._computing(self._run_local)
        finally:
            self._computes = False

    def _run_local(self) -> None:
        """Run what computes, in listed order, as long as there is something; on a thread."""
        while not self._resources.flights.cancelled and (step := self._next_local()) is not None:
            self._local.remove(step)
            self._environment.add(step, run_step(step, self._environment, self._resources, clock=self._clock))
            if step.index in self._awaited:
                self._loop.call_soon_threadsafe(self._advance)

    async def _call_out(self, step: Step) -> None:
        environment, clock = self._environment, self._clock
        if not self._is_awaitable(step):
            work = partial(run_step, step, environment, self._resources, clock=clock)
            environment.add(step, await self._waiting(work))
            return
        with serving(step) as span:
            environment.add(step, told_effect(span, await self._await(step), step=step, size=environment.size))

    async def _await(self, step: Step) -> Effect:
        environment, resources, clock = self._environment, self._resources, self._clock
        exclusions = exclude(step, environment)
        rows = exclusions.rows
        size = environment.size if rows is None else len(rows)
        if size == 0 and environment.size > 0:
            if self._record is not None:
                self._record.passes(step.service.name)
            return finish(step, environment, exclusions, nothing(step), texts=resources.error_texts)
        began = clock()
        function, columns = arguments_of(step, environment, resources, rows=rows, size=size)
        if step.service.api is None:
            with resources.io.watching(step.service):
                timeout = step.service.policy.timeout or TIMEOUT
                answers = await call_async(function, columns, size=size, timeout=timeout)
        else:
            places = list(range(size)) if rows is None else rows.tolist()
            answers = await self._ask(step, function, columns, places=places)
        effect = judge(step, answers, seconds=clock() - began)
        return finish(step, environment, exclusions, effect, texts=resources.error_texts)

    def _is_awaitable(self, step: Step) -> bool:
        service = step.service
        called = service.api is not None or service.form is Form.ASYNC
        return called and service.form is not Form.EACH and not self._resources.holds(step)

    async def _ask(self, step: Step, function: Any, columns: Sequence[Sequence[Any]], *, places: list[int]) -> Answers:
        """Call a service of an API; a single record shares its call with others that ask the same."""
        assert self._resources.callers is not None
        on = execution_of(step, self._environment, self._resources, places=places)
        make = partial(self._resources.callers.acall, step, function, columns=columns, size=len(places), on=on)
        if self._calls is None or len(places) != 1:
            return await make()
        inputs = tuple(column[0] for column in columns)
        if self._record is not None and (batch := getattr(step.service.endpoint, "batch", None)) is not None:
            make = partial(self._ask_together, step, inputs, size=batch.size, on=on)
        return await self._calls.answers(step, inputs, make, record=self._record)

    async def _ask_together(self, step: Step, inputs: tuple[Any, ...], *, size: int, on: Execution) -> Answers:
        """Call a service whose records share requests, unless what it says is known."""
        callers, record, calls = self._resources.callers, self._record, self._calls
        assert callers is not None
        assert record is not None
        assert calls is not None
        columns = [[one] for one in inputs]
        with callers.asking(step, None, columns=columns, size=1, on=on, group_of=None) as asked:
            known = asked.making is None
        if known:
            record.passes(step.service.name)
            return asked.answers
        flights = calls.flights

        async def ask(rows: Sequence[tuple[Any, ...]]) -> Answers:
            several = replace(on, flights=flights)
            return await callers.acall(step, None, columns=list(zip(*rows, strict=True)), size=len(rows), on=several)

        return await record.ask(step.service.name, inputs, size=size, ask=ask)
