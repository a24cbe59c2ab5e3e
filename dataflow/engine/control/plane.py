"""The control plane: the one home of all limits that callers share. A plain object; time is an argument.

A holder asks for one API at a time with `exchange`, or for the money of one run, documented at `wallet`.
Where the plane lives and how a request comes to it is the business of `home` and `scheduler`, and the state of one
API that of `account`. The scheduler imports this module: nothing but the standard library and the policies.

A request of plain values says `protocol, holder, api, number, limits`, `shared` (where the planes of its host share
what they give, or None); `wanted` (calls to start soon), `waiting`, `reason` (what these wait for), `fresh` (those
among them that have not failed), `patient` (whether they wait for an API that is down), `in_flight`, `usual` (calls
in flight before it allowed itself fewer), `share` (worked with), `in_hand` (slots); and what happened since the last
one: `outcomes` and `probes` (first letters of `Attempt`, in order, in capitals where the call began before the first
failure in a row), `failed_by` (the reason of the last failure, or None), `throttled` (Retry-After of each 429, or
None), `unused` ([slot, tokens]), `planned` ([slot, reserved, reserved instead]), `tokens` ([slot, reserved, used]).
The same request sent again, after a reply was lost, counts once.

A reply says `now` (the plane's time), `lease` (seconds for which it holds from the moment of asking), `next`,
`slots` (None where none is needed; `runs` of [delay, step, count], `tolerance`, `tokens` reserved for each), `share`
(None for no cap), `breaker` (`probes`: None for closed, else how many may start; `wait`, `opened_for`, `trouble`,
and `in_turn`: whether only inputs are left that have failed, and may be at fault), `pause`, `used_up`
(None, or the `limit` of a long window that lets none start and how long to `wait`), `warning`.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Mapping
from typing import Any

from dataflow.engine.control.account import FARTHEST, INTERVAL, Account
from dataflow.engine.control.purse import Purses
from dataflow.engine.control.windows import Windows
from dataflow.errors import ClusterError
from dataflow.policies.breaker import Held

PROTOCOL = 6
"""Changes whenever an older holder or plane would misread a message."""
EXCHANGES = 200.0
"""In a second, over all holders, at most; then the interval grows."""
ATTEMPT = 30.0
"""Seconds for which a plane that was started again holds concurrency back, unless told otherwise."""
_TIDY = 1.0
_RUN_KEPT = 7 * 86400.0


class Plane:
    """Everything that is shared: an account for each API, and the purses of each run.

    Safe to be called from several threads.

    Args:
        now: The time at which it begins.
        restarted: Whether calls of an earlier plane may still be running: then rates begin after the last slot that
            it can have leased, and concurrency after `timeout`.
        timeout: Seconds of the longest attempt, for a plane that was started again.
    """

    def __init__(
        self,
        *,
        now: float = 0.0,
        restarted: bool = False,
        timeout: float = ATTEMPT,
    ) -> None:
        self.id = uuid.uuid4().hex
        self._accounts: dict[str, Account] = {}
        self._purses: dict[str, Purses] = {}
        self._blind = now + FARTHEST if restarted else None
        self._held = now + timeout if restarted else None
        self._windows: dict[str, Windows] = {}
        self._lock = threading.RLock()
        self._tidied_at = now

    def exchange(self, request: Mapping[str, Any], *, now: float) -> dict[str, Any]:
        """What a holder may do until its next exchange, after taking up what it did since the last one.

        Raises:
            ClusterError: The holder speaks another protocol.
        """
        if request.get("protocol") != PROTOCOL:
            raise ClusterError(
                f"the control plane speaks protocol {PROTOCOL} and a worker or client {request.get('protocol')}; "
                "use the same version of dataflow in all places, or start a new cluster"
            )
        with self._lock:
            self._tidy(now=now)
            if "purses" in request:
                purses = self._purses.setdefault(request["run"], Purses())
                replies = purses.exchange(request["holder"], request["purses"], now=now)
                return {"purses": replies, "next": purses.holders / EXCHANGES}
            account = self._account(request["api"], now=now)
            reply = account.exchange(request, now=now, interval=self._interval())
            return {**reply, "protocol": PROTOCOL, "plane": self.id}

    def forget(self, holder: str, *, now: float) -> None:
        """A holder is dead: what it held goes to the others as soon as is safe; its reserved money counts as spent."""
        with self._lock:
            for account in self._accounts.values():
                account.forget(holder, now=now)
            for purses in self._purses.values():
                purses.forget(holder)

    def hold(self, api: str, state: Held | None, *, now: float) -> None:
        """Hold the breaker of an API open or closed by hand; None lets it judge again."""
        with self._lock:
            account = self._account(api, now=now)
            account.used_at = now
            account.hold(state)

    def status(self, now: float) -> dict[str, dict[str, Any]]:
        """By API: rate, calls in flight, what calls wait for, shares by holder and breaker, as plain values."""
        with self._lock:
            self._tidy(now=now)
            return {api: account.status(now=now) for api, account in self._accounts.items()}

    def kept(self, *, now: float) -> dict[str, list[list[Any]]]:
        """By API: what this plane counted in windows longer than a minute, as plain values; see `Windows.kept`."""
        with self._lock:
            kept = {api: windows.kept(now=now) for api, windows in self._windows.items()}
        return {api: rows for api, rows in kept.items() if rows}

    def learn(self, api: str, *, source: str, rows: list[list[Any]], written: float, now: float) -> None:
        """Take up what `kept` of another plane gave for an API; what is its own it knows already."""
        if source != self.id:
            with self._lock:
                self._windows_of(api).learn(source, rows, written=written, now=now)

    def authorise(self, run: str, *, purses: Mapping[str, Mapping[str, int]], now: float) -> dict[str, dict[str, Any]]:
        """Let the holders of a run spend more, in trillionths; only its driver does, after it has written that down.

        Args:
            run: Whose money.
            purses: By name: `authorised` in all, the `limit` that this may become, and the `portion` that a holder
                should keep in stock at most.
            now: When.

        Returns:
            By name what has become of it; see `Purse.status`.
        """
        with self._lock:
            return self._purses.setdefault(run, Purses()).authorise(purses, now=now)

    def close_run(self, run: str, *, now: float) -> dict[str, dict[str, Any]]:
        """Hand out no more money of a run that has ended; by purse what had become of it, see `Purse.status`."""
        with self._lock:
            purses = self._purses.pop(run, None)
            return {} if purses is None else purses.authorise({}, now=now)

    def _account(self, api: str, *, now: float) -> Account:
        account = self._accounts.get(api)
        if account is None:
            held = self._held if self._held is not None and self._held > now else None
            account = Account(api, blind=self._blind, held=held, windows=self._windows_of(api), plane=self.id)
            self._accounts[api] = account
        return account

    def _windows_of(self, api: str) -> Windows:
        return self._windows.setdefault(api, Windows())

    def _interval(self) -> float:
        holders = sum(len(account.members) for account in self._accounts.values())
        return max(INTERVAL, holders / EXCHANGES)

    def _tidy(self, *, now: float) -> None:
        if now < self._tidied_at + _TIDY:
            return
        self._tidied_at = now
        for api in [api for api, account in self._accounts.items() if not account.tidy(now=now)]:
            self._accounts.pop(api).close()
        for run in [run for run, purses in self._purses.items() if purses.used_at < now - _RUN_KEPT]:
            del self._purses[run]
