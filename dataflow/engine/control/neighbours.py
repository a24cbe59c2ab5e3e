"""One account among those of the other planes of its host: what they leave it of the rate and of the cap.

The arithmetic is that of holders of one plane, with planes in their place. No clock inside.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Set
from contextlib import contextmanager
from typing import Any, Protocol

from dataflow.engine.control.host import HostFile, HostState, Neighbour, is_alive
from dataflow.engine.control.limits import Limits
from dataflow.policies import concurrency, rate


class Wanting(Protocol):
    """Whoever shares the slots of an API: a holder of this plane, or another plane."""

    @property
    def wanted(self) -> int:
        """Calls that it wants to start."""

    @property
    def served(self) -> float:
        """When it last got slots."""


class HostShare:
    """What one plane of a host may give of one API, while it has its turn.

    Args:
        api: The name of the API.
        plane: The id of the plane.

    Attributes:
        others: The other planes that want to call.
        slowest: The largest step from slot to slot that another plane has declared; 0 where none has.
    """

    def __init__(self, api: str, *, plane: str) -> None:
        self.others: list[Neighbour] = []
        self.slowest = 0.0
        self._api = api
        self._plane = plane
        self._files: dict[str, HostFile] = {}
        self._file: HostFile | None = None
        self._state: HostState | None = None
        self._busy = False
        self._limits = Limits()
        self._told: set[str] = set()

    @contextmanager
    def turn(self, shared: str | None, limits: Limits, *, now: float) -> Iterator[None]:
        """Have the turn of this plane for a holder that says where its host shares; nothing is shared without that."""
        self.others, self.slowest, self._state, self._busy, self._file = [], 0.0, None, False, None
        self._limits = limits
        if shared is None or (not limits.rates and limits.concurrency is None):
            yield
            return
        self._file = self._files.setdefault(shared, HostFile(shared, self._api))
        with self._file.turn(now=now, cap=limits.concurrency) as state:
            self._busy = state == "busy"
            if isinstance(state, HostState):
                self._state = state
                self._look(state, now=now)
            yield

    def slots(self, own: rate.Slots) -> rate.Slots:
        """Where the virtual clock stands for all planes."""
        if self._state is None:
            return own
        there = self._state.slots
        return rate.Slots(free_at=max(own.free_at, there.free_at), returned=there.returned)

    def keep(self, slots: rate.Slots, members: Iterable[Any], *, until: float) -> None:
        """Tell the others where it stands now, and what the holders of this plane want."""
        if self._state is None:
            return
        listed = list(members)
        self._state.slots = slots
        self._state.planes[self._plane] = Neighbour(
            pid=os.getpid(),
            wanted=sum(one.wanted for one in listed),
            served=max(0.0, *(one.served for one in listed)),
            step=rate.pace_of(self._limits.rates).step if self._limits.rates else 0.0,
            cap=self._limits.concurrency,
            until=until,
        )

    def cap(
        self,
        cap: int,
        holder: str,
        report: concurrency.Holding,
        *,
        shares: concurrency.Shares,
        here: Set[str],
        now: float,
    ) -> int:
        """Calls in flight that the holders of this plane may have together, as far as the others leave it.

        Args:
            cap: By their own declaration.
            holder: Who asks.
            report: What it reports.
            shares: Those of this plane.
            here: The holders that share at the same place.
            now: When.
        """
        if self._state is None and not self._busy:
            return cap
        near = [one for name, one in shares.holdings.items() if name in here and name != holder]
        far = sum(one.counted for name, one in shares.holdings.items() if name not in here)
        counted = sum(one.counted for one in near) + sum(count for _, count in shares.held.values())
        counted += max(report.applied, report.in_flight)
        if self._state is None:
            # Another plane has its turn for long: nothing is added until the next exchange.
            return min(cap, counted + far)
        whole = concurrency.Holding(
            applied=counted,
            in_flight=report.in_flight + sum(one.in_flight for one in near),
            wanted=report.wanted + sum(one.wanted for one in near),
            until=report.until,
        )
        least = min([cap, *(one.cap for one in self.others_known if one.cap is not None)])
        self._state.shares = concurrency.ask(self._state.shares, self._plane, cap=least, report=whole, now=now)
        return min(cap, self._state.shares.holdings[self._plane].share + far)

    @property
    def is_busy(self) -> bool:
        """Whether another plane has its turn for so long that nothing can be given now."""
        return self._busy

    @property
    def others_known(self) -> list[Neighbour]:
        """The other planes, whether they want something or not."""
        planes = {} if self._state is None else self._state.planes
        return [one for name, one in planes.items() if name != self._plane]

    def told(self) -> str | None:
        """What the user should be told, once."""
        problem = None if self._file is None else self._file.problem
        if problem is None or problem in self._told:
            return None
        self._told.add(problem)
        return problem

    def close(self) -> None:
        """Close the files."""
        for one in self._files.values():
            one.close()

    def _look(self, state: HostState, *, now: float) -> None:
        """Take out who is gone: of a process that has ended, the calls may still run for one attempt."""
        timeout = self._limits.timeout
        for name in [name for name, one in state.planes.items() if one.until < now or not is_alive(one.pid)]:
            state.planes.pop(name)
            if name != self._plane and name in state.shares.holdings:
                until = min(now, state.shares.holdings[name].until) + timeout
                state.shares = concurrency.forget(state.shares, name, until=until)
        state.shares = concurrency.expired(state.shares, now=now, timeout=timeout)
        others = self.others_known
        self.others = [one for one in others if one.wanted]
        self.slowest = max((one.step for one in others), default=0.0)
