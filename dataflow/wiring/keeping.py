"""Keeps in the catalog what a run's control plane counts of long windows such as "50000/day", and tells it of others.

Once at the beginning, then every 10 s and at the end, the driver reads what other planes have written and writes what
its own has counted. So a process that is killed loses at most the calls of its last 10 s, and two that run at the same
time without sharing a plane learn of each other's calls that late. Records outside a run, `call` and `apply`, count on
the plane of their process, and are written when a run does so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from dataflow.engine.http.offline import SESSIONS
from dataflow.errors import DataflowError
from dataflow.plan.graph import Graph
from dataflow.store.limits import Counted, CountedFiles

INTERVAL = 10.0
"""Seconds between two writings: what a crash may lose."""


class CountKeeper:
    """The go-between of a plane and a catalog, for the APIs of one run.

    Args:
        catalog: The catalog.
        apis: Those with a window longer than a minute.
        warn: Called with a sentence, each at most once.
        clock: Seconds that only grow.
        wall: Seconds since 1970.
    """

    def __init__(
        self,
        catalog: str,
        *,
        apis: Iterable[str],
        warn: Callable[[str], object],
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._apis = sorted(apis)
        self._files = CountedFiles(catalog, unreadable=self._tell)
        self._warn = warn
        self._told: set[str] = set()
        self._clock = clock
        self._wall = wall
        self._next = 0.0
        self._plane = ""
        self._ask: Callable[..., Any] | None = None
        self._written: dict[str, Any] = {}
        self._known: dict[tuple[str, str], float] = {}

    def open(self, plane: str, ask: Callable[..., Any]) -> None:
        """Begin with a plane, before anything is called.

        Args:
            plane: Its id.
            ask: Asks it by the name of an operation: `kept` and `learn`.
        """
        self._plane, self._ask = plane, ask
        self.keep()

    def look(self) -> None:
        """Keep, where it is time."""
        if self._ask is not None and self._clock() >= self._next:
            self.keep()

    def keep(self) -> None:
        """Tell the plane what others have counted, and write what it has; a failure is a warning and no more."""
        if not self._apis or self._ask is None:
            return
        self._next = self._clock() + INTERVAL
        try:
            for api in self._apis:
                self._learn(api)
            kept = self._ask("kept")
            for api in self._apis:
                self._write(api, kept.get(api, []))
        except Exception as error:
            # What a store's driver raises is not known, and no run should end for it.
            problem = str(error) if isinstance(error, DataflowError) else type(error).__name__
            self._tell(f"what the long limits count is not kept in the catalog: {problem}")

    def _learn(self, api: str) -> None:
        assert self._ask is not None
        now = self._wall()
        for counted in self._files.read(api, besides=self._plane, now=now):
            if self._known.get((api, counted.plane)) == counted.written:
                continue
            self._ask("learn", api=api, source=counted.plane, rows=counted.aged(now), written=counted.written)
            self._known[api, counted.plane] = counted.written

    def _write(self, api: str, rows: list[list[Any]]) -> None:
        amounts = [(period, unit, [amount for _, amount in ages]) for period, unit, ages in rows]
        if amounts == self._written.get(api, []):
            return
        self._files.write(Counted(api=api, plane=self._plane, written=self._wall(), windows=rows))  # type: ignore[arg-type]
        self._written[api] = amounts

    def _tell(self, sentence: str) -> None:
        if sentence not in self._told:
            self._told.add(sentence)
            self._warn(sentence)


def long_limited(graph: Graph, *, calls: bool) -> set[str]:
    """The APIs of a graph that have a window longer than a minute; none where nothing is called but offline.

    Args:
        graph: What is run.
        calls: Whether calls may be made.
    """
    if SESSIONS.current is not None or not calls:
        return set()
    apis = [step.service.api for step in graph.every if step.service.api is not None]
    return {api.name for api in apis if any(not rate.paced for rate in api.rates)}
