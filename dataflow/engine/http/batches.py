"""The calls of one service for one partition where records share requests, and halves of what is refused as a whole.

Answers are remembered by record, so a run may go on with another size of batch. What one request does is given.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from dataflow.engine.calling import Answers
from dataflow.engine.http.attempts import Call, CallError
from dataflow.engine.http.batching import Asked
from dataflow.engine.http.calls import (
    NO_OUTCOMES,
    Begin,
    Calling,
    Check,
    leave_alone,
    recalled,
    side_by_side,
    spending,
    value_of,
)
from dataflow.engine.http.effects import reach_of_error
from dataflow.engine.http.settings import Halted
from dataflow.engine.http.sharing import Shared
from dataflow.engine.tally import status_of
from dataflow.outcomes import Status
from dataflow.policies.bisection import CALLS
from dataflow.policies.effects import Reach
from dataflow.policies.money import amount, shared_out
from dataflow.services.matching import Key, cut

REFUSED_WHOLE = frozenset({400, 413, 414, 422})
"""Statuses by which one record, or their number, spoils the request for all that share it."""


async def make_batches(calling: Calling, shared: Shared, *, check: Check, known: Answers | None = None) -> Answers:
    """Ask for every distinct input that memory does not answer; the answers are those of the distinct inputs.

    Args: as for `make_calls`.

    Raises:
        Impatient: A breaker keeps a call longer than the terms allow; what has been answered is remembered.
        Halted: Calls are left, and no new ones may be made; those in flight have ended.
    """
    batches = _Batches(calling, shared, check, known or recalled(calling, shared))
    if not calling.may_call:
        return leave_alone(batches.answers, offline=calling.offline)
    with spending(batches.answers):
        await side_by_side(calling, batches.cut(), batches.ask)
    return batches.answers


class _Batches:
    """The requests of one partition while they are made."""

    def __init__(self, calling: Calling, shared: Shared, check: Check, known: Answers) -> None:
        self.answers = known
        self._calling = calling
        self._shared = shared
        self._check = check
        self._spare = CALLS

    def cut(self) -> list[list[int]]:
        """The records of each request; one without a key that could be found again fails at once."""
        assert self._calling.batch is not None
        match, size = self._calling.batch.match, self._calling.batch.size
        keys: dict[int, Key | int] = {}
        for at, inputs in enumerate(self._shared.inputs):
            if at in self.answers.remembered:
                continue
            try:
                keys[at] = match.key(inputs) or at
            except ValueError as error:
                self.answers.attempts[at] = 0
                self._fail(at, CallError("bad input", f"the answer cannot be matched: {error}"))
        return cut(list(keys), list(keys.values()), size=size)

    async def ask(self, places: Sequence[int], begin: Begin) -> None:
        """Send one request for some records, and halves of it again where it is refused as a whole.

        At most 2,000 requests of a partition are halves, so that a service that refuses everything ends.
        """
        asked, call = self._asked(places), begin()
        self._calling.effects.announce(call, places)
        error = await self._send(asked, places, call)
        left = [places[at] for at in asked.left]
        if error is None or not left:
            return
        if not self._is_divided(left, error):
            error = self._told(error, len(left))
            for at in left:
                self._fail(at, error, reach=call.reached)
            return
        self._spare -= 2
        middle = len(left) // 2
        for half in (left[:middle], left[middle:]):
            if self._calling.halted():
                raise Halted
            await self.ask(half, begin)

    def _is_divided(self, left: Sequence[int], error: Exception) -> bool:
        """Whether halves are asked for; what may be sent only once is not, since part of it may have been taken."""
        return len(left) > 1 and _is_refused_whole(error) and self._calling.terms.repeatable and self._spare > 0

    def _told(self, error: Exception, records: int) -> Exception:
        """The error of records that were refused together and are not asked for one by one."""
        if records < 2 or not isinstance(error, CallError) or not _is_refused_whole(error):
            return error
        spent = f"{CALLS:,} requests of this partition went into finding such records"
        why = spent if self._spare <= 0 else "idempotent=False sends a record once"
        text = f"{error} to {records} records together, which are not asked for one by one: {why}"
        return CallError(error.reason, text, status=error.status, said=error.said)

    def _asked(self, places: Sequence[int]) -> Asked:
        return Asked(
            rows=[self._shared.inputs[at] for at in places],
            keys=[self._shared.keys[at] for at in places],
            prefix=self._calling.prefix if self._calling.keyed else None,
        )

    async def _send(self, asked: Asked, places: Sequence[int], call: Call) -> Exception | None:
        """Send one request and keep what it found; the error of those that it found nothing for."""
        error = None
        try:
            await value_of(self._calling, asked, call)
        except (*NO_OUTCOMES, asyncio.CancelledError):
            self._calling.effects.give_back(places, call)
            raise
        except Exception as raised:
            error = raised
        finally:
            if self._calling.sample is not None:
                self._calling.sample.end(call, error, records=len(places))
            self._count(asked, places, call)
            self._keep(asked, places)
        if call.attempts:
            self._check(error)
        return error

    def _keep(self, asked: Asked, places: Sequence[int]) -> None:
        for at, value in asked.values.items():
            self._calling.tally.add(Status.SUCCEEDED)
            self.answers.values[places[at]] = value
            key, cost = self._shared.keys[places[at]], self._cost(places[at])
            self.answers.give(places[at], self._calling.memory.remember(key, value, cost=cost))
        for at, error in asked.errors.items():
            self._fail(places[at], error, reach=reach_of_error(error))

    def _count(self, asked: Asked, places: Sequence[int], call: Call) -> None:
        answers = self.answers
        self._calling.tally.end(call)
        self._pay(asked, places, call)
        for at, place in enumerate(places):
            answers.attempts[place] = 0 if at in asked.unsent else call.attempts
            if call.status is not None and at not in asked.unsent:
                answers.statuses[place] = call.status
            answers.durations[place] = call.seconds
        if call.attempts:
            answers.seconds.append(call.seconds)
        assert answers.calls is not None
        answers.calls += call.attempts
        answers.retries += call.retries
        for reason, seconds in call.waited.items():
            answers.waited[reason] = answers.waited.get(reason, 0.0) + seconds

    def _fail(self, at: int, error: Exception, *, reach: Reach = Reach.NOTHING) -> None:
        error = self._calling.effects.fail([at], error, reach=reach)
        self._calling.tally.add(status_of(error))
        self.answers.raise_at(at, error)
        if getattr(error, "timed_out", False):
            self.answers.timed_out.add(at)
        kept = self._calling.memory.remember_error(self._shared.keys[at], error, cost=self._cost(at))
        self.answers.give(at, kept)

    def _cost(self, at: int) -> float:
        return amount(self.answers.costs.get(at, 0))

    def _pay(self, asked: Asked, places: Sequence[int], call: Call) -> None:
        """Let the records that were sent share what their request cost."""
        sent = [place for at, place in enumerate(places) if at not in asked.unsent]
        for place, cost in zip(sent, shared_out(call.cost, len(sent)) if sent else (), strict=True):
            self.answers.pay(place, cost)


def _is_refused_whole(error: Exception) -> bool:
    return isinstance(error, CallError) and error.status in REFUSED_WHOLE and not error.later
