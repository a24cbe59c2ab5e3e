"""What the calls of a run are doing while it goes on: asked of the control plane now and then, never waited for."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from dataflow.engine.drive import Engine, PlaneStatus
from dataflow.outcomes import Traffic

EVERY = 1.0
"""Seconds between two questions: what a person can follow, and nothing for a scheduler."""


class Watch:
    """Asks at most once a second, and tells what has changed; a plane that does not answer is no news.

    Args:
        engine: Knows where the plane is.
        apis: The names of those that the run calls; without any, nothing is asked.
        tell: Called with those that are doing something, with none once they rest; by whoever calls `look`.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        apis: Collection[str],
        tell: Callable[[tuple[Traffic, ...]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._apis = apis
        self._tell = tell
        self._clock = clock
        self._next = float("-inf")
        self._asked: Future[PlaneStatus] | None = None
        self._busy = False

    def look(self) -> None:
        """Ask where it is time to, and take an answer that has come; returns at once."""
        now = self._clock()
        if self._asked is None and self._apis and now >= self._next:
            self._next = now + EVERY
            self._asked = self._engine.ask_plane()
        if self._asked is not None and self._asked.done():
            answer, self._asked = self._asked, None
            if not answer.cancelled() and answer.exception() is None:
                self._report(traffic_of(answer.result(), apis=self._apis))

    def close(self) -> None:
        """Wait for no answer any more, and say that the calls rest."""
        if self._asked is not None:
            self._asked.cancel()
        with suppress(Exception):
            # A listener that fails must not hide what ended the run.
            self._report(())

    def _report(self, traffic: tuple[Traffic, ...]) -> None:
        if traffic or self._busy:
            self._busy = bool(traffic)
            self._tell(traffic)


def traffic_of(status: Mapping[str, Mapping[str, Any]], *, apis: Collection[str]) -> tuple[Traffic, ...]:
    """The traffic of these APIs as far as there is any, by name; `status` is that of the control plane."""
    found = (_traffic(api, one) for api, one in sorted(status.items()) if api in apis)
    return tuple(one for one in found if one.in_flight or one.waiting or one.pause or one.breaker != "closed")


def _traffic(api: str, status: Mapping[str, Any]) -> Traffic:
    breaker = status["breaker"]
    held = {"open": "held", "closed": "closed", None: breaker["state"]}
    return Traffic(
        api=api,
        rate=status["rate"],
        allowed=status["allowed"],
        in_flight=status["in_flight"],
        concurrency=status["concurrency"],
        waiting=dict(status["waiting_for"]),
        breaker=held[breaker["held"]],
        rest=breaker["rest"],
        pause=status["pause"],
    )
