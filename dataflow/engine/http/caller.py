"""One call under its policies: deadline, retry, retry budget, then breaker, rate and concurrency, then the attempt.

The layers are here in their order and nowhere else. What an attempt does is given; what the policies decide is
decided in `policies`.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from dataflow.engine.control.gate import Gate, Pass
from dataflow.engine.http.attempts import AttemptError, Call, CallError
from dataflow.engine.http.transport import within
from dataflow.errors import Verdict
from dataflow.policies.deadline import LIMIT, allows, attempt_timeout
from dataflow.policies.retry import Attempt, wait_before_next
from dataflow.policies.retry_budget import BudgetState, RetryBudget, note_call, take

Value = TypeVar("Value")

HEARING = 0.05
"""Seconds that a call holds back once where the breaker is about to open: its home hears of it within 0.02 s."""

HELD = LIMIT
"""Seconds that a record waits for breakers while probes cost it no attempt. A record that fails whenever it is asked
keeps a breaker open by itself: it must end before the run gives the API up, after 10 minutes."""

_BUDGET = RetryBudget()


class Caller:
    """Makes the calls of one API in one process.

    Args:
        gate: Where calls wait for breaker, rate and concurrency.
        threshold: Failures in a row that open the breaker, None without one.
        clock: Seconds that only grow.
        draw: Numbers from 0 to 1, for the jitter.
    """

    def __init__(
        self,
        gate: Gate,
        *,
        threshold: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._gate = gate
        self._threshold = threshold
        self._failures = 0
        self._clock = clock
        self._draw = draw
        self._budget = BudgetState()

    async def perform(self, attempt: Callable[[], Awaitable[Value]], call: Call) -> Value:
        """Make attempts until one succeeds or the policies say no more.

        Raises:
            CallError: None succeeded.
            Impatient: The breaker keeps it longer than the terms allow.
        """
        while True:
            try:
                return await self._attempt(attempt, call)
            except AttemptError as error:
                wait = self._wait(call, error)
                if wait is None:
                    raise _given_up(call, error) from error
                call.retries += 1
                await asyncio.sleep(wait)

    async def _attempt(self, attempt: Callable[[], Awaitable[Value]], call: Call) -> Value:
        entered = await self._enter(call)
        call.probe = entered.probe
        began = self._clock()
        ending, after = Attempt.ABANDONED, None
        try:
            left = attempt_timeout(call.deadline, call.terms.timeout, now=began)
            if left <= 0:
                raise CallError("deadline", "the time for this record is used up", timed_out=True)
            self._count(call, began)
            value: Value = await within(left, attempt())
            ending = Attempt.SUCCEEDED
        except AttemptError as error:
            ending, after, call.status = error.attempt, error.after, error.status
            raise
        except Verdict:
            # The provider has answered, whatever it knows.
            ending = Attempt.SUCCEEDED
            raise
        else:
            return value
        finally:
            call.seconds += self._clock() - began
            self._judge(ending)
            self._gate.leave(entered, ending, after=after)

    async def _enter(self, call: Call) -> Pass:
        entered = await self._gate.enter(patience=call.terms.patience)
        call.wait(entered.waited)
        if self._is_down and not entered.probe:
            # A dead provider fails hundreds of calls while the news of the first ones is on its way.
            self._gate.leave(entered, Attempt.ABANDONED)
            await asyncio.sleep(HEARING)
            entered = await self._gate.enter(patience=call.terms.patience)
            call.wait(entered.waited)
        return entered

    @property
    def _is_down(self) -> bool:
        """Whether the last calls have all failed, so many that the breaker opens as soon as it hears of them."""
        return self._threshold is not None and self._failures >= self._threshold

    def _judge(self, ending: Attempt) -> None:
        if ending is Attempt.SUCCEEDED:
            self._failures = 0
        elif ending is Attempt.FAILED:
            self._failures += 1

    def _count(self, call: Call, now: float) -> None:
        call.attempts += 1
        if call.attempts > 1:
            # A retry must not pay for further ones.
            return
        self._budget = note_call(_BUDGET, self._budget, now=now)

    def _wait(self, call: Call, error: AttemptError) -> float | None:
        """Seconds until the next attempt, or None where there is none."""
        if error.again == "never" or (error.again == "repeatable" and not call.terms.repeatable):
            return None
        if error.limit is not None and call.attempts >= error.limit:
            return None
        now, stale = self._clock(), error.stale and not call.stale
        call.stale |= error.stale
        if call.terms.retry.attempts > 1 and (stale or _probed_in_vain(call, error)):
            call.excused += 1
        attempts = call.attempts - call.excused
        wait = wait_before_next(call.terms.retry, attempts=attempts, draw=self._draw(), after=error.after)
        if wait is None or not allows(call.deadline, wait, now=now):
            return None
        if stale:
            # Whether the provider is down shows at once, on a connection of its own.
            return 0.0
        if error.stale or (self._is_down and error.attempt is Attempt.FAILED):
            # While the provider is down, retries wait for the breaker: a budget could spare it nothing more.
            return wait
        self._budget, granted = take(_BUDGET, self._budget, now=now)
        return wait if granted else None


def _probed_in_vain(call: Call, error: AttemptError) -> bool:
    """Whether a record was only the one by which the breaker saw that the provider is still down."""
    return call.probe and error.attempt is Attempt.FAILED and call.held < HELD


def _given_up(call: Call, error: AttemptError) -> CallError:
    text = error.error if call.attempts <= 1 else f"{error.error} ({call.attempts} attempts)"
    return CallError(error.reason, text, status=error.status, timed_out=error.reason == "timeout")
