"""The calls that wait at a gate, in the order in which they came. One asyncio loop."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from dataflow.engine.control.stock import Slot


@dataclass(slots=True, kw_only=True, eq=False)
class Waiter:
    """One call that waits.

    Attributes:
        future: Ends with its slot, if it needs one, and whether it is a probe.
        patience: Seconds that it waits for the breaker at most, None for ever.
        before: What `Waits.totals` was when it came.
    """

    future: asyncio.Future[tuple[Slot | None, bool]]
    patience: float | None
    before: tuple[float, ...]


class Queue(OrderedDict[int, Waiter]):
    """Waiters by their id."""

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
