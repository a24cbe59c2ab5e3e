"""The control plane: the one home of all limits that callers share. A plain object; time is an argument.

A holder asks for one API at a time with `exchange`: a request and a reply of plain values, documented at `gate`.
Where the plane lives and how a request comes to it is the business of `home` and `scheduler`, and the state of one
API that of `account`. The scheduler imports this module: nothing but the standard library and the policies.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dataflow.engine.control.account import FARTHEST, INTERVAL, Account
from dataflow.engine.control.windows import Windows
from dataflow.errors import ClusterError
from dataflow.policies.breaker import Held

PROTOCOL = 2
"""Changes whenever an older holder or plane would misread a message."""
EXCHANGES = 200.0
"""In a second, over all holders, at most; then the interval grows."""
ATTEMPT = 30.0
"""Seconds for which a plane that was started again holds concurrency back, unless told otherwise."""
_TIDY = 1.0
_RUN_KEPT = 7 * 86400.0


@dataclass(slots=True, kw_only=True)
class _Purse:
    """The money of one run in millionths, as far as this plane has handed it out."""

    budget: int
    spent: int = 0
    reserved: dict[str, int] = field(default_factory=dict)
    answered: dict[str, tuple[int, int]] = field(default_factory=dict)
    used_at: float = 0.0

    @property
    def left(self) -> int:
        return self.budget - self.spent - sum(self.reserved.values())


class Plane:
    """Everything that is shared: an account for each API, and a purse for each run.

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
        self._purses: dict[str, _Purse] = {}
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
            account = self._account(request["api"], now=now)
            reply = account.exchange(request, now=now, interval=self._interval())
            return {**reply, "protocol": PROTOCOL, "plane": self.id}

    def forget(self, holder: str, *, now: float) -> None:
        """A holder is dead: what it held goes to the others as soon as is safe; its reserved money counts as spent."""
        with self._lock:
            for account in self._accounts.values():
                account.forget(holder, now=now)
            for purse in self._purses.values():
                purse.spent += purse.reserved.pop(holder, 0)
                purse.answered.pop(holder, None)

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

    def reserve(self, run: str, *, holder: str, number: int, amount: int, budget: int, now: float) -> int:
        """Reserve money before it is spent; how much was granted, at most what the budget has left.

        Args:
            run: Whose budget.
            holder: Who will spend it.
            number: Of this request of the holder, ascending; the same one again gets the same answer.
            amount: Millionths.
            budget: Millionths for the whole run; the last one told holds.
            now: When.
        """
        with self._lock:
            purse = self._purses.setdefault(run, _Purse(budget=budget))
            purse.budget, purse.used_at = budget, now
            last, answer = purse.answered.get(holder, (0, 0))
            if number <= last:
                return answer if number == last else 0
            granted = max(0, min(amount, purse.left))
            purse.reserved[holder] = purse.reserved.get(holder, 0) + granted
            purse.answered[holder] = (number, granted)
            return granted

    def settle(self, run: str, *, holder: str, number: int, reserved: int, spent: int, now: float) -> None:
        """Give back a reservation of which so much was really spent; numbers as in `reserve`."""
        with self._lock:
            purse = self._purses.get(run)
            if purse is None or number <= purse.answered.get(holder, (0, 0))[0]:
                return
            purse.used_at = now
            purse.answered[holder] = (number, 0)
            # What is no longer reserved was counted as spent when its holder was thought dead.
            known = min(reserved, purse.reserved.get(holder, 0))
            purse.reserved[holder] = purse.reserved.get(holder, 0) - known
            purse.spent += max(0, spent - (reserved - known))

    def money_left(self, run: str) -> int | None:
        """Millionths that a run can still reserve, or None for a run that is not known."""
        with self._lock:
            purse = self._purses.get(run)
            return None if purse is None else max(0, purse.left)

    def close_run(self, run: str) -> None:
        """Forget the money of a run that has ended."""
        with self._lock:
            self._purses.pop(run, None)

    def _account(self, api: str, *, now: float) -> Account:
        account = self._accounts.get(api)
        if account is None:
            held = self._held if self._held is not None and self._held > now else None
            account = Account(api, blind=self._blind, held=held, windows=self._windows_of(api))
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
            del self._accounts[api]
        for run in [run for run, purse in self._purses.items() if purse.used_at < now - _RUN_KEPT]:
            del self._purses[run]
