"""One call under its policies: deadline, retry, money, then breaker, rate, concurrency, then the attempt.

The layers are here in their order and nowhere else. What an attempt does is given; what the policies decide is
decided in `policies`.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from typing import TypeVar

from dataflow.engine.control.gate import Gate, Impatient, Pass
from dataflow.engine.http.attempts import AttemptError, Call, CallError
from dataflow.engine.http.till import LEAVING
from dataflow.engine.http.transport import within
from dataflow.errors import Verdict
from dataflow.policies.deadline import allows, attempt_timeout
from dataflow.policies.effects import Reach, reach_of, reach_of_status
from dataflow.policies.retry import Attempt, wait_before_next

Value = TypeVar("Value")

_NOTHING = nullcontext()
"""Around calls of which nothing is to be noted ahead."""


class Caller:
    """Makes the calls of one API in one process.

    Args:
        gate: Where calls wait for breaker, rate and concurrency.
        clock: Seconds that only grow.
        draw: Numbers from 0 to 1, for the jitter.
    """

    def __init__(
        self,
        gate: Gate,
        *,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._gate = gate
        self._clock = clock
        self._draw = draw
        self._answered = -math.inf
        self._problem: str | None = None
        self._said = ""

    async def perform(self, attempt: Callable[[], Awaitable[Value]], call: Call) -> Value:
        """Make attempts until one succeeds or the policies say no more.

        Raises:
            CallError: None succeeded.
            Impatient: The breaker keeps it longer than the terms allow.
            Exception: What `call.stop` says, where another attempt would begin.
        """
        wait = 0.0
        while True:
            entered = await self._enter(call, after=wait)
            before = call.seconds
            try:
                return await self._attempt(attempt, call, entered)
            except AttemptError as error:
                wait = self._next(call, error, seconds=call.seconds - before)
                call.retries += 1
            finally:
                call.note()

    async def _attempt(self, attempt: Callable[[], Awaitable[Value]], call: Call, entered: Pass) -> Value:
        began, paid = self._clock(), call.cost
        ending, after, reach, reason = Attempt.ABANDONED, None, Reach.NOTHING, None
        call.send()
        whole = call.whole
        whole.in_flight += 1
        try:
            if whole.announce is not None:
                await whole.announce()
                began = self._clock()
            left = attempt_timeout(call.deadline, call.terms.timeout, now=began)
            if left <= 0:
                raise CallError("deadline", "the time for this record is used up", timed_out=True)
            call.attempts += 1
            reach = Reach.UNCLEAR
            LEAVING.set(call.leave)
            value: Value = await within(left, _charged(attempt, call))
            ending, reach = Attempt.SUCCEEDED, _reach_of_answer(call)
        except AttemptError as error:
            reach = Reach.NOTHING if error.again == "always" else reach_of(error.reason, status=error.status)
            ending = self._ending(call, error, began=began, probe=entered.probe)
            after, call.status = error.after, error.status
            reason = error.reason
            raise
        except Verdict:
            # The provider has answered, whatever it knows.
            ending, reach = Attempt.SUCCEEDED, _reach_of_answer(call)
            self._answered = max(self._answered, began)
            raise
        else:
            self._answered = max(self._answered, began)
            return value
        finally:
            whole.in_flight -= 1
            whole.reach = max(whole.reach, reach)
            call.seconds += self._clock() - began
            call.settle(call.cost - paid)
            self._gate.leave(entered, ending, after=after, tokens=call.used, reason=reason, began=began)

    def _ending(self, call: Call, error: AttemptError, *, began: float, probe: bool) -> Attempt:
        """What an attempt says of the provider: nothing where others are answered and this call fails again."""
        if error.attempt is Attempt.FAILED and call.failed_at is not None and self._answered > call.failed_at:
            error.attempt = Attempt.REFUSED
            # It is no answer either, but must not keep a breaker open that is probed with it.
            return Attempt.REFUSED if probe else Attempt.ABANDONED
        if error.attempt is Attempt.FAILED:
            self._problem, self._said = error.error, error.said
            call.failed_at = self._clock() if call.failed_at is None else call.failed_at
        elif error.attempt is not Attempt.ABANDONED and error.reached:
            self._answered = max(self._answered, began)
        elif not probe:
            return Attempt.ABANDONED
        return error.attempt

    async def _enter(self, call: Call, *, after: float) -> Pass:
        """Wait so many seconds, and then for the turn of the next attempt."""
        whole = call.whole
        whole.waiting += 1
        try:
            if after > 0:
                await whole.stop.rest(after)
            if whole.stop.error is not None:
                raise whole.stop.error
            entered = await self._pass(call)
            call.wait(entered.waited, counts=self._gate.health.in_turn)
            return entered
        finally:
            whole.waiting -= 1

    async def _pass(self, call: Call) -> Pass:
        if call.billing is not None:
            # Before the gate: whoever waits for money holds nobody's place there.
            call.reserved = await call.billing.reserve(call.records, patience=call.terms.patience)
            call.wait({"budget": 0.0 if call.reserved is None else call.reserved.waited})
        try:
            async with self._announced(call) if call.whole.ahead is not None else _NOTHING:
                return await self._gate.enter(patience=call.patience, tokens=call.expects, fresh=not call.attempts)
        except BaseException as error:
            call.settle(0)
            if isinstance(error, Impatient) and error.reason == "breaker" and self._problem is not None:
                error.problem = (
                    f"`{self._gate.api}` fails ({self._problem}; {self._gate.health.trouble}; see its options breaker= "
                    "and retry=), so its breaker keeps calls waiting"
                )
                error.said = self._said and f"`{self._gate.api}` said: {self._said}"
            raise

    @asynccontextmanager
    async def _announced(self, call: Call) -> AsyncIterator[None]:
        """Note ahead of its turn what is to be noted, where a rate counts when calls are sent: a note takes time."""
        whole = call.whole
        assert whole.ahead is not None
        assert whole.announce is not None
        began = self._clock()
        async with whole.ahead:
            call.wait({"rate": self._clock() - began})
            if whole.stop.error is not None:
                raise whole.stop.error
            await whole.announce()
            yield

    async def rest(self, call: Call, error: AttemptError) -> None:
        """Wait before a function is called again whose requests are calls of their own.

        Raises:
            CallError: It has asked for that too often, or its time is up.
        """
        wait = self._next(call, error, seconds=0.0)
        call.waiting += 1
        try:
            await call.stop.rest(wait)
        finally:
            call.waiting -= 1
        if call.stop.error is not None:
            raise call.stop.error
        call.retries += 1
        if call.slip is not None:
            call.slip.repeat()

    def _next(self, call: Call, error: AttemptError, *, seconds: float) -> float:
        """Seconds until the next attempt, after one that took so many; raises CallError where there is none."""
        excused = self._is_excused(call, error)
        stale = error.stale and not call.stale
        call.stale |= error.stale
        later = call.is_asked_to_wait(error)
        call.postponed += later
        call.excused += excused or later or (stale and call.terms.retry.attempts > 1)
        if excused:
            call.lose(seconds)
        wait = self._wait(call, error, later=later)
        if wait is None:
            raise _given_up(call, error) from error
        if excused:
            call.lose(wait)
        # Whether the provider is down shows at once, on a connection of its own.
        return 0.0 if stale else wait

    def _is_excused(self, call: Call, error: AttemptError) -> bool:
        """Whether an attempt does not count, since the API may be down for all."""
        if error.attempt is not Attempt.FAILED or not call.waits_for_breaker:
            return False
        last = call.attempts - call.excused >= call.terms.retry.attempts
        return self._gate.health.is_down or (last and self._gate.health.is_in_doubt and not self._gate.health.in_turn)

    def _wait(self, call: Call, error: AttemptError, *, later: bool) -> float | None:
        """Seconds until the next attempt, or None where there is none."""
        if error.again == "never" or (error.again == "repeatable" and not call.terms.repeatable):
            return None
        counted = call.attempts - call.excused
        if error.limit is not None and counted >= error.limit:
            return None
        if later:
            counted = min(call.postponed, call.terms.retry.attempts - 1)
        wait = wait_before_next(call.terms.retry, attempts=counted, draw=self._draw(), after=error.after)
        if wait is not None and later and error.after:
            call.postpone(wait)
        return wait if wait is not None and allows(call.deadline, wait, now=self._clock()) else None


async def _charged(attempt: Callable[[], Awaitable[Value]], call: Call) -> Value:
    """Make an attempt and count what it cost, also where its time runs out: the provider may have received it."""
    call.answer = None
    try:
        value = await attempt()
    except BaseException as error:
        call.charge(None, error)
        raise
    call.charge(value, None)
    return value


def _reach_of_answer(call: Call) -> Reach:
    return Reach.TAKEN if call.status is None else reach_of_status(call.status)


def _given_up(call: Call, error: AttemptError) -> CallError:
    text = error.error if call.attempts <= 1 else f"{error.error} ({call.attempts} attempts)"
    late, later = error.reason == "timeout", error.attempt is Attempt.THROTTLED
    return CallError(error.reason, text, status=error.status, timed_out=late, later=later, said=error.said)
