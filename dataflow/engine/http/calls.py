"""The calls of one service for one partition: once for each distinct input, side by side, remembered as they come.

What one call does is given. Here is who shares a call, what needs none any more, and what becomes of its ending.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from dataflow.engine.calling import Answers
from dataflow.engine.control.gate import Impatient
from dataflow.engine.http.attempts import Call, CallError, Terms
from dataflow.engine.http.billing import Billing
from dataflow.engine.http.effects import Effects
from dataflow.engine.http.memory import Memory
from dataflow.engine.http.sampling import CallSample
from dataflow.engine.http.settings import Halted
from dataflow.engine.http.sharing import Shared
from dataflow.engine.http.stopping import Stop
from dataflow.engine.http.till import Slip, Till
from dataflow.engine.spending import spent_on
from dataflow.engine.tally import Tally, status_of
from dataflow.errors import DeclarationError, GuardrailReached, LimitReached, OutputLocked, StoreError
from dataflow.outcomes import Status
from dataflow.policies.deadline import Deadline
from dataflow.policies.money import amount
from dataflow.services.batch import Batch
from dataflow.services.units import about
from dataflow.telemetry.tokens import NO_TOKENS, Tokens

MOST = 256
"""Calls of one partition side by side where the API names no cap: more would only wait."""

STOPPED = "run stopped"
"""The reason of what is not attempted, since its run was stopped and is published as it is."""
_STOPPED_BEFORE = (STOPPED, "the run was stopped before this was called")

OFFLINE = "offline"
"""The reason of what is not attempted, since only the cache may answer and does not."""

LOOK = 0.25
"""Seconds between two looks at whether calls that wait for their turn may still be made."""

current_call: contextvars.ContextVar[Call] = contextvars.ContextVar("dataflow_call")
"""The call that a function works for, found by the client that it was given."""

NO_OUTCOMES = (Impatient, Halted, GuardrailReached, LimitReached, DeclarationError, OutputLocked, StoreError)
"""What is no outcome of the record that it meets: it ends more than its call."""

Begin = Callable[..., Call]
"""Begins a call of one of those that are made side by side; takes its Idempotency-Key."""

Function = Callable[[Any, Call], Awaitable[Any]]
"""Makes one call for the values of a record, or for an `Asked` where records share requests."""


Todo = TypeVar("Todo")


class Check(Protocol):
    """Looks at how each call ended, and raises what ends the run because of it."""

    def __call__(self, error: BaseException | None) -> None:
        """Raise, or let it be an outcome of its record; None for a call that succeeded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calling:
    """How the calls of one service are made.

    Attributes:
        function: Makes one call.
        terms: Its policies.
        side_by_side: Calls of one partition at the same time.
        memory: Answers that were paid for before.
        keyed: Whether an Idempotency-Key is sent.
        prefix: What it begins with: the run and the service.
        halted: Whether no new call may be made.
        may_call: False leaves what memory does not answer not attempted, at once.
        offline: Whether that is since only the cache may answer.
        clock: Seconds that only grow.
        batch: How records share requests, or None for a call each.
        billing: What the calls cost, or None where they are free.
        effects: What may be sent only once, and what is known of it.
        kept: Failures that stay as they are, by place among the calls.
        tally: What they come to while they are made, for whoever watches.
        sample: Makes spans of some of the calls, or None where they are not traced.
        till: Where they are noted for the bill of a run, or None.
        texts: Whether what providers and exceptions say may be kept.
        lacks_probes: Whether the API is down, and all that wait for it have failed before.
    """

    function: Function
    terms: Terms
    side_by_side: int
    memory: Memory
    keyed: bool = False
    prefix: str = ""
    halted: Callable[[], bool] = lambda: False
    may_call: bool = True
    offline: bool = False
    clock: Callable[[], float] = time.monotonic
    batch: Batch | None = None
    billing: Billing | None = None
    effects: Effects = field(default_factory=Effects)
    kept: Mapping[int, Exception] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)
    sample: CallSample | None = None
    till: Till | None = None
    texts: bool = True
    lacks_probes: Callable[[], bool] = lambda: False

    def begin(self, stop: Stop, key: str | None) -> Call:
        """A call that begins now."""
        deadline = Deadline(started=self.clock(), limit=self.terms.record_limit)
        slip = None if self.till is None else Slip(till=self.till)
        call = Call(terms=self.terms, deadline=deadline, key=key, stop=stop, billing=self.billing, slip=slip)
        return call if self.sample is None else self.sample.begin(call)


def recalled(calling: Calling, shared: Shared) -> Answers:
    """What is known without a call, be it an answer or a failure that stays.

    Reading it may take a while, so it is done off the loop.
    """
    answers = Answers(values=[None] * len(shared.inputs))
    answers.remembered |= calling.memory.recall(shared.keys, answers)
    # Requests that records shared are known by what they cost only, so this counts full ones.
    answers.calls = -(-len(answers.own) // (1 if calling.batch is None else calling.batch.size))
    calling.effects.recall(answers)
    for at, error in calling.kept.items():
        if at not in answers.remembered:
            answers.end_at(at, error)
    return answers


async def make_calls(calling: Calling, shared: Shared, *, check: Check, known: Answers | None = None) -> Answers:
    """Make every distinct call that memory does not answer; the answers are those of the distinct calls.

    Args:
        calling: How they are made.
        shared: What is called for.
        check: Looks at how each call ended.
        known: What memory has given already.

    Raises:
        Impatient: A breaker, or a rate that is used up, keeps a call longer than the terms allow, and
        Halted: calls are left, and no new ones may be made. In both cases those in flight have ended, and what has
            been answered is remembered.
    """
    answers = known or recalled(calling, shared)
    if not calling.may_call:
        return leave_alone(answers, offline=calling.offline)
    answers.calls = None  # until it is known
    todo = [at for at in range(len(shared.inputs)) if at not in answers.remembered]

    async def make(at: int, begin: Begin) -> None:
        call = begin(f"{calling.prefix}-{shared.keys[at].hex()}" if calling.keyed else None)
        calling.effects.announce(call, [at])
        await _make_one(calling, shared, at, call=call, answers=answers, check=check)

    with spending(answers):
        await side_by_side(calling, todo, make)
    answers.calls = sum(answers.attempts.values())
    return answers


async def side_by_side(calling: Calling, todo: Sequence[Todo], make: Callable[[Todo, Begin], Awaitable[None]]) -> None:
    """Do what is left, as many at the same time as allowed; whoever makes a call begins it by what it is given.

    Raises:
        Impatient: A breaker, or a rate that is used up, keeps a call longer than the terms allow, and
        Halted: some are left, and no new ones may be begun, and
        GuardrailReached: the run is not worth going on, and
        LimitReached: it cannot go on. In all cases those in flight have ended.
    """
    crew = _Crew(calling, todo, make)
    try:
        await _until_halted(calling, crew.callers, crew.made, look=crew.look)
    except (Halted, Impatient, GuardrailReached, LimitReached, OutputLocked, StoreError) as error:
        await crew.stop(error)
        raise
    finally:
        await crew.leave()


class _Crew(Generic[Todo]):
    """Who makes the calls: each of them makes one after the other.

    Attributes:
        callers: All who ever called.
        made: The last call of each of them, by number.
    """

    def __init__(self, calling: Calling, todo: Sequence[Todo], make: Callable[[Todo, Begin], Awaitable[None]]) -> None:
        self._calling, self._make = calling, make
        self._left, self._waiting = iter(todo), len(todo)
        self._stop = Stop()
        self._active = 0
        self.callers: list[asyncio.Task[None]] = []
        self.made: dict[int, Call] = {}
        self._stop.changed = self._fill
        for _ in range(min(calling.side_by_side, len(todo))):
            self._add()

    def look(self) -> None:
        """Call for an input that has not failed: it says more of the API than those that have."""
        if self._calling.lacks_probes():
            self._add()

    async def stop(self, error: Exception) -> None:
        """Begin nothing more, and wait for what is in flight: it is paid for."""
        self._stop.error = error
        for number in [number for number, call in self.made.items() if call.only_waits]:
            self.callers[number].cancel()
        await asyncio.gather(*self.callers, return_exceptions=True)

    async def leave(self) -> None:
        """Leave nobody behind."""
        for one in self.callers:
            one.cancel()
        await asyncio.gather(*self.callers, return_exceptions=True)

    async def _call(self, number: int) -> None:
        begin = partial(self._begin, number)
        self._active += 1
        try:
            for one in self._left:
                self._waiting -= 1
                if self._calling.halted():
                    raise Halted
                if self._stop.error is not None:
                    return
                await self._make(one, begin)
                if self._busy > self._calling.side_by_side:
                    return
        finally:
            self._active -= 1

    def _begin(self, number: int, key: str | None = None) -> Call:
        call = self.made[number] = self._calling.begin(self._stop, key)
        return call

    @property
    def _busy(self) -> int:
        """Those who have a place: whoever rests before another attempt takes nobody's."""
        return self._active - self._stop.resting

    def _fill(self) -> None:
        if self._active < MOST and self._busy < self._calling.side_by_side:
            self._add()

    def _add(self) -> None:
        if self._waiting and self._stop.error is None:
            self.callers.append(asyncio.ensure_future(self._call(len(self.callers))))


@contextmanager
def spending(answers: Answers) -> Iterator[None]:
    """Note on what ends the calls before their time what they have spent."""
    try:
        yield
    except (Impatient, Halted) as error:
        error.spent = spent_on(answers)
        raise


async def _until_halted(
    calling: Calling, callers: Sequence[asyncio.Task[None]], made: Mapping[int, Call], *, look: Callable[[], None]
) -> None:
    """Wait for all callers, as long as those that only wait may still call, and look whether another one is needed."""
    ended: set[asyncio.Task[None]] = set()
    while pending := set(callers) - ended:
        done, _ = await asyncio.wait(pending, timeout=LOOK, return_when=asyncio.FIRST_EXCEPTION)
        ended |= done
        for one in done:
            one.result()
        look()
        if calling.halted() and any(call.only_waits for call in made.values()):
            raise Halted


def leave_alone(answers: Answers, *, offline: bool = False) -> Answers:
    """The answers where no call is made: the places that memory does not fill are not attempted.

    Args:
        answers: Those that memory gives.
        offline: Whether only the cache may answer; else the run was stopped.
    """
    reason = (OFFLINE, "it is not in the cache, and offline, nothing is called") if offline else _STOPPED_BEFORE
    answers.not_attempted = set(range(len(answers.values))) - answers.remembered
    for at in answers.not_attempted:
        answers.raise_at(at, CallError(*reason))
        answers.attempts[at] = 0
    return answers


async def _make_one(calling: Calling, shared: Shared, at: int, *, call: Call, answers: Answers, check: Check) -> None:
    current_call.set(call)
    try:
        answers.values[at] = await value_of(calling, shared.inputs[at], call)
        answers.give(at, calling.memory.remember(shared.keys[at], answers.values[at], cost=amount(call.cost)))
        calling.tally.add(Status.SUCCEEDED)
        check(None)
    except (*NO_OUTCOMES, asyncio.CancelledError):
        calling.effects.give_back([at], call)
        raise
    except Exception as raised:
        # What is paid for is remembered, whatever it says about going on.
        answers.give(at, calling.memory.remember_error(shared.keys[at], raised, cost=amount(call.cost)))
        error = calling.effects.fail([at], raised, reach=call.reached)
        calling.tally.add(status_of(error))
        check(error)
        answers.raise_at(at, error)
        if getattr(error, "timed_out", False):
            answers.timed_out.add(at)
    finally:
        calling.tally.end(call)
        if calling.sample is not None:
            calling.sample.end(call, answers.raised.get(at))
        answers.durations[at] = call.seconds
        answers.attempts[at] = call.attempts
        answers.retries += call.retries
        answers.pay(at, call.cost)
        if call.tokens is not NO_TOKENS:
            answers.tokens = Tokens.merged([answers.tokens, call.tokens])
        if call.status is not None:
            answers.statuses[at] = call.status
        for reason, seconds in call.waited.items():
            answers.waited[reason] = answers.waited.get(reason, 0.0) + seconds


async def value_of(calling: Calling, inputs: Any, call: Call) -> Any:
    """What a call gives; an open breaker fails the call of somebody who does not wait, and so may a lack of money.

    Raises:
        Impatient: A breaker keeps it longer than the terms allow.
    """
    try:
        return await calling.function(inputs, call)
    except Impatient as error:
        if error.over is not None and calling.billing is not None and calling.billing.keeps:
            raise CallError("budget", error.problem, not_attempted=not call.attempts) from error
        if calling.terms.patience != 0:
            raise
        if error.reason == "rate":
            raise CallError("rate used up", f"{error.problem}, next call in {about(error.seconds)}") from error
        raise CallError("breaker open", f"the API is down; it is tried again in {error.seconds:.0f} s") from error
