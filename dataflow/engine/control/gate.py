"""The gate of one API that every call passes: it waits here for what the control plane grants. One asyncio loop.

A call waits for the breaker, then for a time slot of the rate, then for its place among the calls in flight, in the
order of arrival. What may pass is known here in advance: an exchange with the plane brings slots, a share and the
breaker's word for the next tenth of a second, so a call that need not wait costs microseconds and no message.

What it tells the plane and is told is described at `plane`.
"""

from __future__ import annotations

import asyncio
import math
import time
import uuid
import warnings
from collections.abc import Callable
from typing import Any

from dataflow.engine.control.health import NO_ANSWER, Health
from dataflow.engine.control.limits import Limits
from dataflow.engine.control.link import Line, Link
from dataflow.engine.control.passes import Impatient, Pass, Reason, Waits
from dataflow.engine.control.patience import Patience
from dataflow.engine.control.plane import PROTOCOL
from dataflow.engine.control.queue import Expects, Queue, Waiter
from dataflow.engine.control.report import Report
from dataflow.engine.control.stock import Slot, Stock
from dataflow.errors import ClusterError
from dataflow.policies.resets import LONGEST
from dataflow.policies.restraint import FREE
from dataflow.policies.retry import Attempt

__all__ = ["Gate", "Impatient", "Line", "Pass"]

REPORT = 0.1
"""Seconds after the first call at which the plane hears of it, where no call has to wait."""
HEARING = 0.05
"""Seconds that no call starts after the failure that makes the breaker open: its home hears of it within 0.02 s."""

_NO_CAP = 1 << 30
_FREE = Pass()


class Gate:
    """All calls of this loop to one API pass here; make it on the loop that uses it.

    Args:
        api: Its name; whoever uses the same name shares its limits.
        limits: As declared here.
        line: The way to the plane.
        holder: Names this gate there; default: a new name.
        shared: Where the planes of this host share what they give; None to share nothing.
        warn: Called with a sentence when the plane has one to say; default: a Python warning.
        clock: Seconds that only grow.

    Attributes:
        health: What is known of the health of the API.
    """

    def __init__(
        self,
        api: str,
        *,
        limits: Limits,
        line: Line,
        holder: str | None = None,
        shared: str | None = None,
        warn: Callable[[str], object] = warnings.warn,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.api = api
        self.holder = holder or uuid.uuid4().hex
        self._limits = limits
        self._declared, self._shared = limits.to_dict(), shared
        self._link = Link(line, request=self._request, accept=self._apply, refuse=self._refused, clock=clock)
        self._warn = warn
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._queue = Queue()
        self._in_flight = 0
        self._arrivals = 0
        # What the plane has granted.
        self._until = -math.inf
        self._share = self._allowed = 0
        self._slotted = True
        self._stock, self._tokens = Stock(), 0
        self.health = Health(limits.breaker)
        self._pause_until = -math.inf
        self._plane: str | None = None
        # What it has to be told.
        self._number, self._report = 0, Report()
        self._outcomes = self._report.outcomes
        # What is going on.
        self._wake: asyncio.TimerHandle | None = None
        self._told_idle, self._closed, self._waits = True, False, Waits()
        self._patience = Patience(api, self._queue, waits=self._waits, health=self.health, warn=warn)

    async def enter(self, *, patience: float | None = None, tokens: Expects | None = None, fresh: bool = True) -> Pass:
        """Wait until one call may start.

        Args:
            patience: Seconds to wait for the breaker at most, 0 to fail at once when it is open; None for ever. Who
                does not wait for ever does not wait for a long window that is used up for 30 s and more either.
            tokens: Gives those that it may use, as known by then; None takes what all calls used lately.
            fresh: Whether no attempt of it has failed yet; such calls probe an API that is down first.

        Raises:
            Impatient: The breaker, or a rate that is used up, would keep it longer.
            ClusterError: The plane refuses to talk to this version.
        """
        self._arrivals += 1
        if (
            not self._queue
            and not self._slotted
            and self.health.probes is None
            and self._in_flight < self._allowed
            and (now := self._clock()) < self._until
            and now >= self._pause_until
        ):
            self._in_flight += 1
            if self._link.timer is None:
                self._watch()
            return _FREE
        return await self._wait(patience, tokens, fresh=fresh)

    def leave(
        self,
        pass_: Pass,
        attempt: Attempt,
        *,
        after: float | None = None,
        tokens: int | None = None,
        reason: str | None = None,
        began: float | None = None,
    ) -> None:
        """Give a pass back.

        Args:
            pass_: What `enter` gave; each is given back once.
            attempt: How the call ended.
            after: Seconds of the Retry-After of a call that was throttled.
            tokens: What it used, where that is known; else it is taken to have used what was reserved.
            reason: The class of reason of a call that failed.
            began: When it began, None where nobody knows.
        """
        self._in_flight -= 1
        earlier = self.health.restraint is not FREE and self.health.is_earlier(began)
        letter = attempt[0].upper() if earlier else attempt[0]
        if attempt is not Attempt.SUCCEEDED:
            self._note(attempt, after, reason=reason, earlier=earlier)
        if self.health.restraint is not FREE and attempt not in NO_ANSWER:
            self.health.answered(share=self._share, earlier=earlier)
            self._allowed = self.health.restraint.within(self._share)
        (self._report.probes if pass_.probe else self._outcomes).append(letter)
        if pass_ is not _FREE:
            self._note_pass(pass_, tokens)
        if self._queue:
            self._pump()
        if self._link.timer is None:
            self._watch()

    async def close(self) -> None:
        """Give back what this gate holds; whoever still waits here is cancelled."""
        self._queue.cancel()
        # Whoever closes wants nothing more, also not for the calls that have just come.
        self._arrivals = 0
        self._closed, self._slotted, self._share, self._allowed = True, True, 0, 0
        if self._wake is not None:
            self._wake.cancel()
        await self._link.close(tell=not self._told_idle or bool(self._outcomes or self._report.probes))

    @property
    def lacks_probes(self) -> bool:
        """Whether its breaker is not closed, and all that wait for it here have failed before."""
        return self.health.probes is not None and not self._queue.fresh

    @property
    def exchanges(self) -> int:
        """Exchanges with the plane so far."""
        return self._link.exchanges

    def _note(self, attempt: Attempt, after: float | None, *, reason: str | None, earlier: bool) -> None:
        if attempt is Attempt.THROTTLED:
            self._report.throttled.append(after)
            if after is not None and not self._limits.rates:
                # Of a declared rate the plane knows better whether one refusal is a word to all.
                self._pause_until = max(self._pause_until, self._clock() + min(after, LONGEST))
            self._link.urge()
        elif attempt is Attempt.FAILED:
            self._report.reason = reason or self._report.reason
            if self.health.failed(in_flight=self._in_flight, earlier=earlier, now=self._clock()):
                self._link.urge()
            self._allowed = self.health.restraint.within(self._share)
            if self.health.restraint.streak.is_outlasted:
                # No call starts while the news of a dead provider is on its way.
                self._pause_until = max(self._pause_until, self._clock() + HEARING)

    def _note_pass(self, pass_: Pass, tokens: int | None) -> None:
        if pass_.probe and self.health.end_probe():
            self._link.urge()
        if pass_.slot is not None and pass_.tokens and tokens is not None:
            self._report.tokens.append((pass_.slot, pass_.tokens, tokens))

    async def _wait(self, patience: float | None, tokens: Expects | None, *, fresh: bool) -> Pass:
        if self._closed:
            raise RuntimeError(f"the gate of `{self.api}` is closed")
        future, before = self._loop.create_future(), self._waits.totals(self._clock())
        waiter = Waiter(future=future, patience=patience, before=before, tokens=tokens, fresh=fresh)
        self._queue[id(waiter)] = waiter
        self._pump()
        self._start(waiter)
        try:
            slot, probe = await self._turn(waiter)
        finally:
            # What it collected counts as its tokens do, or was of no use.
            waiter.give_up(self._stock)
        waited = self._waits.since(before, now=self._clock())
        at, reserved = (None, 0) if slot is None else (slot.at, self._report.plan(slot, tokens and tokens()))
        return Pass(waited=waited, probe=probe, slot=at, tokens=reserved)

    async def _turn(self, waiter: Waiter) -> tuple[Slot | None, bool]:
        while True:
            try:
                slot, probe = await waiter.future
            except asyncio.CancelledError:
                self._withdraw(waiter)
                raise
            if slot is None or self._stock.in_time(slot, now=self._clock()):
                return slot, probe
            self._send_back(waiter, slot, probe=probe)

    def _withdraw(self, waiter: Waiter) -> None:
        """A call that waits is cancelled, perhaps just when it was let through."""
        future = waiter.future
        if self._queue.pop(id(waiter), None) is None and not future.cancelled() and future.exception() is None:
            slot, probe = future.result()
            self._in_flight -= 1
            if slot is not None:
                self._stock.put_back(slot)
            self.health.give_back(probe)
        self._pump()

    def _send_back(self, waiter: Waiter, slot: Slot, *, probe: bool) -> None:
        """Its slot has passed before the loop came to it: it waits for the next one, first in the queue."""
        self._in_flight -= 1
        self._stock.give_up(slot)
        self.health.give_back(probe)
        waiter.future = self._loop.create_future()
        self._queue[id(waiter)] = waiter
        self._queue.move_to_end(id(waiter), last=False)
        self._pump()

    def _pump(self) -> None:
        """Let through whoever may start now, and see to it that the next one is looked at in time."""
        now = self._clock()
        reason: Reason | None = None
        while self._queue and (reason := self._obstacle(now)) is None:
            if self._slotted and self._queue.collect(self._stock):
                continue
            waiter = self._queue.next(probe=self.health.probes is not None)
            # One that was just cancelled has not come to take itself out.
            if not waiter.future.done():
                self._release(waiter)
        self._waits.change(reason if self._queue else None, now=now)
        if self._queue:
            self._sleep(now)
            if self._link.timer is None:
                self._watch()

    def _obstacle(self, now: float) -> Reason | None:
        if self.health.probes == 0:
            return "breaker"
        if now >= self._until:
            return "plane"
        if now < self._pause_until:
            return "provider"
        if self._slotted and not self._stock.is_due(now):
            return "rate" if self._limits.rates else "provider"
        return "concurrency" if self._in_flight >= self._allowed else None

    def _release(self, waiter: Waiter) -> None:
        self._in_flight += 1
        waiter.future.set_result((self._stock.take() if self._slotted else None, self.health.begin()))

    def _sleep(self, now: float) -> None:
        """Look again when the next slot is due or the pause is over; anything else comes by an event."""
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None
        at = self._pause_until
        if self._slotted and len(self._stock):
            at = max(at, self._stock.next_at())
        if now < at < math.inf:
            self._wake = self._loop.call_later(at - now, self._pump)

    def _watch(self) -> None:
        """Something happens here: see that the plane hears of it."""
        if self._link.rests:
            known = self._clock() < self._until and not self._told_idle
            self._link.plan(REPORT if known or not self._queue else 0.0)

    def _start(self, waiter: Waiter) -> None:
        """Ask at once where the plane believes that nobody wants anything, or what it said is over."""
        now = self._clock()
        if waiter.future.done():
            return
        if self._told_idle or now >= self._until or (self.health.probes == 0 and now >= self.health.until):
            self._link.urge()
        elif self.health.probes == 0:
            self._patience.wait_for_breaker(self.health.until - now, now=now)

    def _refused(self, error: ClusterError) -> None:
        self._until = -math.inf
        self._queue.turn_away(lambda: error)

    def _request(self) -> dict[str, Any]:
        now = self._clock()
        wanted = self._queue.slots(self._tokens) + 2 * max(0, self._arrivals)
        if self._slotted:
            self._stock.is_due(now)
        if wanted == 0:
            # Nobody needs them; and no call starts before the reply, so that the share is free at once.
            self._stock.clear()
            self._report.probes += [Attempt.ABANDONED[0]] * (self.health.probes or 0)
            self.health.probes = self.health.probes and 0
            self._share = min(self._share, self._in_flight) if self._share < _NO_CAP else self._share
            self._allowed = self.health.restraint.within(self._share)
        self._told_idle = wanted == 0
        self._arrivals, self._number = 0, self._number + 1
        return {
            "protocol": PROTOCOL,
            "holder": self.holder,
            "api": self.api,
            "number": self._number,
            "limits": self._declared,
            "shared": self._shared,
            "wanted": wanted,
            "waiting": len(self._queue),
            "reason": self._waits.reason,
            "in_flight": self._in_flight,
            "usual": self.health.usual(self._in_flight),
            "fresh": self._queue.fresh,
            "patient": self._queue.patient,
            "share": self._share if now < self._until and self._share < _NO_CAP else self._in_flight,
            "in_hand": len(self._stock),
            "unused": self._stock.take_unused(),
            **self._report.take(),
        }

    def _apply(self, reply: dict[str, Any], asked: float) -> float | None:
        if not reply.get("stale"):
            self._use(reply, asked=asked, now=self._clock())
        idle = not (self._queue or self._in_flight or self._arrivals or self._outcomes or self._report.probes)
        if self._told_idle and (idle or self._queue):
            return None if idle else 0.0
        return float(reply.get("next", REPORT))

    def _use(self, reply: dict[str, Any], *, asked: float, now: float) -> None:
        if reply["plane"] != self._plane:
            self._plane = reply["plane"]
            self._queue.forget()
            self._stock.forget()
        self._stock.learn(reply["now"], asked=asked, now=now)
        self._until = asked + reply["lease"]
        self._share = _NO_CAP if reply["share"] is None else reply["share"]
        self._slotted = reply["slots"] is not None
        if reply["slots"] is None:
            self._stock.clear()
        else:
            self._tokens = reply["slots"]["tokens"]
            self._stock.add(reply["slots"], time=reply["now"])
        self.health.learn(reply["breaker"], now=now)
        self._allowed = self.health.restraint.within(self._share)
        self._pause_until = max(self._pause_until, now + reply["pause"]) if reply["pause"] else self._pause_until
        if reply["warning"]:
            self._warn(reply["warning"])
        if self.health.probes == 0:
            self._patience.wait_for_breaker(reply["breaker"]["wait"], now=now)
        if used_up := reply["used_up"]:
            self._patience.wait_for_window(used_up["limit"], wait=used_up["wait"])
        self._pump()
