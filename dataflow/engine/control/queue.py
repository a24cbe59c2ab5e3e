"""The calls that wait at a gate, in the order in which they came. One asyncio loop."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from dataflow.engine.control.stock import Slot, Stock

Expects = Callable[[], int]


@dataclass(slots=True, kw_only=True, eq=False)
class Waiter:
    """One call that waits.

    Attributes:
        future: Ends with its slot, if it needs one, and whether it is a probe.
        patience: Seconds that it waits for the breaker at most, None for ever.
        before: What `Waits.totals` was when it came.
        tokens: Gives those that it may use, or None where nobody knows.
        held: Slots that it has collected, since one does not have as many tokens.
        fresh: Whether no attempt of its call has failed yet.
    """

    future: asyncio.Future[tuple[Slot | None, bool]]
    patience: float | None
    before: tuple[float, ...]
    tokens: Expects | None = None
    held: list[Slot] = field(default_factory=list)
    fresh: bool = True

    def slots(self, each: int) -> int:
        """How many slots of so many tokens it still takes, to the nearest one: what is over is settled afterwards."""
        if self.tokens is None or not each:
            return 1
        return max(1, round((self.tokens() - sum(slot.tokens for slot in self.held)) / each))

    def give_up(self, stock: Stock) -> None:
        """Report the slots that it has collected as unused."""
        while self.held:
            stock.give_up(self.held.pop())

    def loses_patience(self, wait: float) -> bool:
        """Whether it does not wait so long for the breaker."""
        return self.patience is not None and wait > self.patience


class Queue(OrderedDict[int, Waiter]):
    """Waiters by their id."""

    def slots(self, each: int) -> int:
        """Slots of so many tokens that all of them take."""
        return sum(one.slots(each) for one in self.values())

    @property
    def fresh(self) -> int:
        """Calls of which no attempt has failed."""
        return sum(one.fresh for one in self.values())

    @property
    def patient(self) -> bool:
        """Whether all that wait here wait for an API that is down, too."""
        return all(one.patience != 0 for one in self.values())

    def next(self, *, probe: bool) -> Waiter:
        """Take out who comes next; a probe is the first of which no attempt has failed, if there is one."""
        if probe:
            for key, waiter in self.items():
                if waiter.fresh and not waiter.future.done():
                    del self[key]
                    return waiter
        return self.popitem(last=False)[1]

    def collect(self, stock: Stock) -> bool:
        """Let the first one take a slot that is due without starting, where it needs more; whether it did."""
        waiter = next(iter(self.values()))
        if waiter.future.done() or waiter.slots(stock.first.tokens) == 1:
            return False
        waiter.held.append(stock.take())
        return True

    def forget(self) -> None:
        """Begin with another plane, to which the slots that were collected mean nothing."""
        for waiter in self.values():
            waiter.held.clear()

    def turn_away(
        self, error: Callable[[], Exception], *, whom: Callable[[Waiter], bool] = lambda waiter: True
    ) -> None:
        """Raise an error in each of those that are meant; they wait no longer."""
        for key, waiter in list(self.items()):
            if whom(waiter):
                del self[key]
                if not waiter.future.done():
                    waiter.future.set_exception(error())

    def cancel(self) -> None:
        """Cancel all of them."""
        for waiter in self.values():
            waiter.future.cancel()
        self.clear()
