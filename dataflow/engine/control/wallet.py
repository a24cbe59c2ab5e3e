"""The money of one run in one process: every paid attempt reserves it here before it is made. One asyncio loop.

Money comes from the control plane in small amounts: what is waited for, and about what is spent in the next tenth of a
second; what is not needed goes back. So a call that need not wait costs microseconds and no message.

A request of plain values says `protocol, holder, run` and, for each purse, what `purse.Purse.exchange` documents. All
of it are sums, so the same request sent again, after a reply was lost, counts once.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dataflow.engine.control.link import Line, Link
from dataflow.engine.control.passes import Impatient
from dataflow.engine.control.plane import PROTOCOL
from dataflow.errors import ClusterError

HUNGRY = 0.02
"""Seconds between two exchanges while a call waits for money, unless the plane has too many to answer."""
CALM = 0.1
"""Seconds between two exchanges while none does."""
AHEAD = 0.15
"""Seconds of spending that are kept in stock."""

Purses = tuple[str, ...]


@dataclass(slots=True, kw_only=True, eq=False)
class Reservation:
    """Money set aside for one attempt.

    Attributes:
        purses: Where it comes from; the whole amount from each.
        amount: Trillionths.
        desk: Where the attempt waits for its turn.
        waited: Seconds that it waited for the money.
        sent: Whether the attempt has begun.
    """

    purses: Purses
    amount: int
    desk: str
    waited: float = 0.0
    sent: bool = False


@dataclass(slots=True, kw_only=True, eq=False)
class _Waiter:
    amount: int
    future: asyncio.Future[None]


@dataclass(slots=True, kw_only=True)
class _Stock:
    """One purse as this process knows it; sums since it began, but for `held` and `out`, which are of now."""

    granted: int = 0
    spent: int = 0
    returned: int = 0
    held: int = 0
    out: int = 0
    taken: int = 0
    portion: int = 0
    last: bool = False
    asked: int = 0
    refused: int | None = None

    @property
    def free(self) -> int:
        return self.granted - self.returned - self.spent - self.held


@dataclass(slots=True, kw_only=True)
class _Queue:
    """Calls that wait for money from the same purses before the same desk."""

    waiters: deque[_Waiter] = field(default_factory=deque)
    total: int = 0

    def add(self, waiter: _Waiter) -> None:
        self.waiters.append(waiter)
        self.total += waiter.amount

    def pop(self) -> _Waiter:
        waiter = self.waiters.popleft()
        self.total -= waiter.amount
        return waiter

    def drop(self, waiter: _Waiter) -> None:
        if waiter in self.waiters:
            self.waiters.remove(waiter)
            self.total -= waiter.amount


class Wallet:
    """The purses of one run, for all calls of this loop; make it on the loop that uses it.

    Args:
        run: Names the purses at the plane.
        titles: Each purse by its name, with what it is called in messages.
        line: The way to the plane.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        run: str,
        *,
        titles: Mapping[str, str],
        line: Line,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run = run
        self._titles = dict(titles)
        self._holder = uuid.uuid4().hex
        self._stocks = {name: _Stock() for name in titles}
        self._queues: dict[tuple[Purses, str], _Queue] = {}
        self._unsent: dict[str, int] = {}
        self._clock = clock
        self._asked_at = clock()
        self._heard: list[tuple[int, int]] = []
        self._loop = asyncio.get_running_loop()
        self._link = Link(line, request=self._request, accept=self._accept, refuse=self._refused, clock=clock)

    async def reserve(self, purses: Purses, amount: int, *, desk: str, patience: float | None = None) -> Reservation:
        """Wait until so much of each purse is set aside; whatever becomes of it, `settle` it once.

        Args:
            purses: Their names.
            amount: Trillionths.
            desk: The API whose gate is next: little money waits there, so that a slow one leaves some to others.
            patience: Seconds to wait at most; None for as long as it takes.

        Raises:
            Impatient: There will be no more money, or not in time.
        """
        found = Reservation(purses=purses, amount=amount, desk=desk)
        if (over := self._over(purses, amount)) is not None:
            raise over
        queue = self._queues.setdefault((purses, desk), _Queue())
        if not queue.waiters and self._take(purses, amount, desk):
            self._watch(CALM)
            return found
        began = self._clock()
        waiter = _Waiter(amount=amount, future=self._loop.create_future())
        queue.add(waiter)
        self._watch(0.0)
        try:
            async with asyncio.timeout(patience):
                await waiter.future
        except BaseException as error:
            queue.drop(waiter)
            if waiter.future.done() and not waiter.future.cancelled() and waiter.future.exception() is None:
                self.settle(found, 0)
            if isinstance(error, TimeoutError):
                raise Impatient("budget", 1.0) from error
            raise
        found.waited = self._clock() - began
        return found

    def send(self, one: Reservation) -> None:
        """Its attempt begins now."""
        one.sent = True
        self._unsent[one.desk] -= one.amount
        for name in one.purses:
            self._stocks[name].out += one.amount
        self._pump()

    def settle(self, one: Reservation, spent: int) -> None:
        """Its attempt has ended, or is not made, and has cost so much."""
        if not one.sent:
            self._unsent[one.desk] -= one.amount
        for name in one.purses:
            stock = self._stocks[name]
            stock.held -= one.amount
            stock.out -= one.amount if one.sent else 0
            stock.spent += spent
        self._pump()
        self._watch(CALM)

    async def close(self) -> None:
        """Give back what is left; whoever still waits is cancelled."""
        for queue in self._queues.values():
            for waiter in queue.waiters:
                waiter.future.cancel()
        self._queues.clear()
        await self._link.close(tell=any(stock.granted for stock in self._stocks.values()))

    def _take(self, purses: Purses, amount: int, desk: str) -> bool:
        stocks = [self._stocks[name] for name in purses]
        if any(stock.free < amount for stock in stocks) or amount > self._room(purses, amount, desk):
            return False
        for stock in stocks:
            stock.held += amount
            stock.taken += amount
        self._unsent[desk] = self._unsent.get(desk, 0) + amount
        return True

    def _room(self, purses: Purses, amount: int, desk: str) -> int:
        """How much more money may wait before a desk; enough for one call where none waits."""
        waits = self._unsent.get(desk, 0)
        most = min(self._stocks[name].portion for name in purses) // 2
        return max(most - waits, 0 if waits else amount)

    def _pump(self) -> None:
        for (purses, desk), queue in self._queues.items():
            while queue.waiters:
                first = queue.waiters[0]
                # One that was just cancelled has not come to take itself out.
                if not first.future.done():
                    if not self._take(purses, first.amount, desk):
                        break
                    first.future.set_result(None)
                queue.pop()

    def _watch(self, delay: float) -> None:
        """See that the plane hears of it, or is asked."""
        if delay == 0.0 and not self._link.rests:
            self._link.urge()
        elif self._link.rests:
            self._link.plan(delay)

    def _request(self) -> dict[str, Any]:
        now = self._clock()
        past, self._asked_at = max(now - self._asked_at, 0.02), now
        told = {name: self._told(name, stock, past=past) for name, stock in self._stocks.items()}
        self._heard = self._sums()
        return {"protocol": PROTOCOL, "holder": self._holder, "run": self._run, "purses": told}

    def _told(self, name: str, stock: _Stock, *, past: float) -> dict[str, int]:
        """What the plane is told and asked about one purse."""
        needs = self._needs(name)
        stocked = min(stock.portion // 2, int(stock.taken / past * AHEAD))
        stock.taken = 0
        wanted = sum(needs.values()) + stocked
        least = stock.asked = min(needs, default=0)
        if needs and stock.last and stock.free < least:
            # Too little for a call here may be enough together with what others give back.
            stock.returned += max(0, stock.free)
        elif stock.free > 2 * wanted:
            stock.returned += stock.free - wanted
        return {
            "asked": stock.granted + max(0, wanted - stock.free),
            "least": max(1, least - max(0, stock.free)) if needs else 1,
            "spent": stock.spent,
            "returned": stock.returned,
            "out": stock.out,
        }

    def _needs(self, name: str) -> dict[int, int]:
        """What calls wait for, by the amount of one call."""
        needs: dict[int, int] = {}
        for (purses, desk), queue in self._queues.items():
            if name in purses and queue.waiters:
                one = queue.waiters[0].amount
                needs[one] = needs.get(one, 0) + min(queue.total, max(one, self._room(purses, one, desk)))
        return needs

    def _accept(self, reply: dict[str, Any], asked: float) -> float | None:
        for name, told in reply["purses"].items():
            stock = self._stocks[name]
            stock.granted, stock.portion = told["granted"], told["portion"]
            stock.last, stock.refused = told["last"], stock.asked if told["over"] else None
        self._pump()
        self._turn_away()
        if any(queue.waiters for queue in self._queues.values()):
            return max(HUNGRY, float(reply["next"]))
        rests = all(stock.free <= 0 and not stock.held and not stock.taken for stock in self._stocks.values())
        return None if rests and self._heard == self._sums() else CALM

    def _sums(self) -> list[tuple[int, int]]:
        return [(stock.spent, stock.returned) for stock in self._stocks.values()]

    def _turn_away(self) -> None:
        """Refuse calls for which there will be no more money."""
        for (purses, _), queue in self._queues.items():
            while queue.waiters and (over := self._over(purses, queue.waiters[0].amount)) is not None:
                waiter = queue.pop()
                if not waiter.future.done():
                    waiter.future.set_exception(over)

    def _over(self, purses: Purses, amount: int) -> Impatient | None:
        """Why a call cannot be paid any more; None where this process itself may give something back."""
        for name in purses:
            stock = self._stocks[name]
            if stock.refused is not None and not stock.held and stock.free < amount and stock.refused <= amount:
                return Impatient("budget", 0.0, f"the {self._titles[name]} is used up", over=name)
        return None

    def _refused(self, error: ClusterError) -> None:
        for queue in self._queues.values():
            while queue.waiters:
                waiter = queue.pop()
                if not waiter.future.done():
                    waiter.future.set_exception(error)
