"""Records that are called for one by one and share requests all the same: who waits for whom, and how long.

A request that is full is sent at once. One that is not is sent as soon as no other record under way can join it: each
has come by, or has ended. Nobody is waited for who has a call of another service to wait for, but for a moment, in
which records that were called for together come together again. A request holds its records in the order in which they
began, whoever was faster. What a request asks and answers is given.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from dataflow.engine.calling import Answers
from dataflow.telemetry.tokens import NO_TOKENS

LINGER = 0.1
"""Seconds without any step of any record after which a request is sent that others could still join."""
LONGEST = 1.0
"""Seconds for which a record waits at most, also for records whose values are being computed."""

Row = tuple[Any, ...]
Ask = Callable[[Sequence[Row]], Awaitable[Answers]]
"""Calls a service for several records."""


@dataclass(slots=True, eq=False)
class Companion:
    """One of some records that are under way together.

    Attributes:
        together: All of them.
        place: Its place in the order in which they began.
        computes: Whether this process has work to do for it, so that it will soon be further.
    """

    together: Together
    place: int
    computes: bool = True

    def moves(self, *, computes: bool) -> None:
        """Note that it is a step further."""
        self.computes = computes
        self.together.look()

    def passes(self, service: str) -> None:
        """Note that it does not ask a service."""
        self.together.come_by(self, service)

    async def ask(self, service: str, row: Row, *, size: int, ask: Ask) -> Answers:
        """What a service says to a record, asked together with others.

        Args:
            service: The name of the service.
            row: The inputs.
            size: Records of a request at most.
            ask: Calls it for several; the first one that asks says how.
        """
        return await self.together.ask(self, service, row=row, size=size, ask=ask)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What one record asks."""

    place: int
    row: Row
    answer: asyncio.Future[Answers]


@dataclass(slots=True, eq=False, kw_only=True)
class _Request:
    """A request that is being filled."""

    size: int
    ask: Ask
    began: float
    asked: list[_Asked] = field(default_factory=list)


class Together:
    """Some records that are under way together, on one event loop."""

    def __init__(self) -> None:
        self._begun = 0
        self._records: set[Companion] = set()
        self._came: dict[str, set[Companion]] = {}
        self._open: dict[str, _Request] = {}
        self._sent: set[asyncio.Task[None]] = set()
        self._moved = 0.0
        self._looking = False
        self._timer: asyncio.TimerHandle | None = None

    @contextmanager
    def record(self) -> Iterator[Companion]:
        """One more record, as long as it is under way."""
        made = Companion(self, self._begun)
        self._begun += 1
        self._records.add(made)
        try:
            yield made
        finally:
            self._records.discard(made)
            for came in self._came.values():
                came.discard(made)
            self.look()

    def close(self) -> None:
        """End what nobody waits for any more."""
        if self._timer is not None:
            self._timer.cancel()
        for task in self._sent:
            task.cancel()

    def come_by(self, record: Companion, service: str) -> None:
        """Note that a record will not join a request of a service any more, or has just done so."""
        self._came.setdefault(service, set()).add(record)
        self.look()

    async def ask(self, record: Companion, service: str, *, row: Row, size: int, ask: Ask) -> Answers:
        """See `Companion.ask`."""
        loop = asyncio.get_running_loop()
        request = self._open.get(service)
        if request is None:
            request = self._open[service] = _Request(size=size, ask=ask, began=loop.time())
        answer: asyncio.Future[Answers] = loop.create_future()
        request.asked.append(_Asked(place=record.place, row=row, answer=answer))
        if len(request.asked) >= size:
            self._send(service)
        self.come_by(record, service)
        return await answer

    def look(self) -> None:
        """Look soon whether something is to be sent: when all that can go on now has done so."""
        loop = asyncio.get_running_loop()
        self._moved = loop.time()
        if self._open and not self._looking:
            self._looking = True
            loop.call_soon(self._look)

    def _look(self) -> None:
        self._looking = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = asyncio.get_running_loop().time()
        for service in [one for one, request in self._open.items() if self._is_due(one, request, now=now)]:
            self._send(service)
        if self._open:
            self._timer = asyncio.get_running_loop().call_later(LINGER, self._look)

    def _is_due(self, service: str, request: _Request, *, now: float) -> bool:
        missing = self._records - self._came.get(service, set())
        if not missing or now - request.began >= LONGEST:
            return True
        return now - self._moved >= LINGER and not any(one.computes for one in missing)

    def _send(self, service: str) -> None:
        task = asyncio.ensure_future(_answered(self._open.pop(service)))
        self._sent.add(task)
        task.add_done_callback(self._sent.discard)


async def _answered(request: _Request) -> None:
    """Ask, and give each record what was said to it."""
    # The threads that compute for records are not equally fast, and equal calls are to send the same bytes.
    asked = sorted(request.asked, key=lambda one: one.place)
    try:
        answers = await request.ask([one.row for one in asked])
    except asyncio.CancelledError:
        for one in asked:
            one.answer.cancel()
        raise
    except Exception as error:
        for one in asked:
            if not one.answer.done():
                one.answer.set_exception(error)
        return
    for at, one in enumerate(asked):
        if not one.answer.done():
            one.answer.set_result(_of_one(answers, at))


def _of_one(answers: Answers, at: int) -> Answers:
    """The answers as those of one record; the first one counts what was made for all of them."""
    first = at == 0
    return Answers(
        values=[answers.values[at]],
        raised={0: answers.raised[at]} if at in answers.raised else {},
        timed_out={0} if at in answers.timed_out else set(),
        durations={0: answers.durations[at]} if at in answers.durations else {},
        seconds=answers.seconds if first else [],
        attempts={0: answers.attempts[at]} if at in answers.attempts else {},
        statuses={0: answers.statuses[at]} if at in answers.statuses else {},
        costs={0: answers.costs[at]} if at in answers.costs else {},
        tokens=answers.tokens if first else NO_TOKENS,
        remembered={0} if at in answers.remembered else set(),
        not_attempted={0} if at in answers.not_attempted else set(),
        waited=answers.waited if first else {},
        calls=(answers.calls or 0) if first else 0,
        retries=answers.retries if first else 0,
        shared=[0] if at in answers.shared else [],
    )
