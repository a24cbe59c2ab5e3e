"""What one process calls and pays of one service for a run, noted while it happens: a till that outlives its process.

A request is noted when it leaves and again when it has ended, so that what a killed process has called is known too.
Where that is written is the business of the store, which the engine is given.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataflow.engine.http.attempts import Call

LEAVING: contextvars.ContextVar[Callable[[], None] | None] = contextvars.ContextVar("dataflow_leaving", default=None)
"""Told when the request of the attempt that is being made is put on its connection."""


@dataclass(slots=True, kw_only=True, eq=False)
class Till:
    """The calls of one service that one process makes for a run; used on one event loop.

    Attributes:
        service: The name of the service.
        write: Keeps the numbers where a kill does not reach them.
        open: Requests on their way.
        held: What these may cost.
        calls: Requests that have ended.
        retries: Those among them that repeated one.
        cost: What they cost.
        sent: Tokens of their inputs.
        received: Tokens of their outputs.
        late: Whether what has ended is still to be written, and
        awaited: whether the loop will come to it.
    """

    service: str
    write: Callable[[Till], None]
    open: int = 0
    held: int = 0
    calls: int = 0
    retries: int = 0
    cost: int = 0
    sent: int = 0
    received: int = 0
    late: bool = False
    awaited: bool = False

    def hold(self, most: int, *, requests: int = 0) -> None:
        """Note requests that leave now, and what they may cost."""
        self.open += requests
        self.held += most
        self.late = False
        self.write(self)

    def release(self, most: int, *, requests: int = 0, cost: int = 0) -> None:
        """Note what it has cost that was held, in one go with what else ends in this turn of the loop.

        A process that is killed before counts it as what is on its way: at its price.
        """
        self.open -= requests
        self.held -= most
        self.cost += cost
        self.late = True
        if not self.awaited:
            self.awaited = True
            asyncio.get_running_loop().call_soon(self._catch_up)

    def _catch_up(self) -> None:
        self.awaited = False
        if self.late:
            self.late = False
            self.write(self)


@dataclass(slots=True, kw_only=True, eq=False)
class Slip:
    """What of one call the till knows.

    Attributes:
        till: Of its service.
        held: What the request may cost that has left and not ended; None where none has.
        calls: What is counted of it, and so `retries`, `cost`, `sent` and `received`.
    """

    till: Till
    held: int | None = None
    calls: int = 0
    retries: int = 0
    cost: int = 0
    sent: int = 0
    received: int = 0

    def fresh(self) -> Slip:
        """One for another call of the same service."""
        return Slip(till=self.till)

    def leave(self, call: Call) -> None:
        """Note that a request of a call leaves now; an attempt counts once, whatever it sends."""
        if self.held is None:
            self.held = 0 if call.billing is None else call.billing.at_most(call.records)
            self.till.hold(self.held, requests=1)

    def hold(self, most: int) -> None:
        """Note what all requests of a function may cost together, once the first of them leaves."""
        if self.held is None:
            self.held = most
            self.till.hold(most)

    def release(self, cost: int) -> None:
        """Note what they have cost together."""
        if self.held is not None or cost:
            self.till.release(self.held or 0, cost=cost)
            self.held = None

    def repeat(self) -> None:
        """Count that a function is called again, whose requests have slips of their own."""
        self.till.retries += 1

    def take(self, call: Call) -> None:
        """Count what has come to a call since the last time; none of its requests is under way."""
        till = self.till
        made = call.attempts, call.retries, call.cost, call.tokens.input, call.tokens.output
        counted = self.calls, self.retries, self.cost, self.sent, self.received
        if made == counted and self.held is None:
            return
        till.calls += made[0] - counted[0]
        till.retries += made[1] - counted[1]
        till.sent += made[3] - counted[3]
        till.received += made[4] - counted[4]
        self.calls, self.retries, self.cost, self.sent, self.received = made
        till.release(self.held or 0, requests=self.held is not None, cost=made[2] - counted[2])
        self.held = None
