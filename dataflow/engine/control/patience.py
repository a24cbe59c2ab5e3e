"""Who of a queue is turned away, since what it waits for takes longer than it waits. One asyncio loop."""

from __future__ import annotations

from collections.abc import Callable

from dataflow.engine.control.health import Health
from dataflow.engine.control.passes import Impatient, Waits
from dataflow.engine.control.queue import Queue
from dataflow.services.units import about

USED_UP = 30.0
"""Seconds from which a wait for a long window is told to who calls; shorter ones are waited out."""


class Patience:
    """That of the calls that wait at one gate.

    Args:
        api: The name of its API.
        queue: The calls.
        waits: What they have waited for.
        health: What is known of the health of the API.
        warn: Called with a sentence about a wait that is not waited out by all.
    """

    def __init__(self, api: str, queue: Queue, *, waits: Waits, health: Health, warn: Callable[[str], object]) -> None:
        self._api = api
        self._queue = queue
        self._waits = waits
        self._health = health
        self._warn = warn
        self._told = set[str]()

    def wait_for_breaker(self, wait: float, *, now: float) -> None:
        """Turn away whom the breaker keeps too long."""
        if self._health.in_turn and self._queue.patient:
            return
        self._queue.turn_away(
            lambda: Impatient("breaker", wait, opened_for=self._health.opened_for),
            whom=lambda one: one.loses_patience(self._waits.since(one.before, now=now)["breaker"] + wait),
        )

    def wait_for_window(self, limit: str, *, wait: float) -> None:
        """A long window lets none start for a while: turn away who does not wait for ever, and tell the others once."""
        if wait <= USED_UP:
            return
        problem = f"`{self._api}`: {limit} is used up"
        self._queue.turn_away(lambda: Impatient("rate", wait, problem), whom=lambda one: one.patience is not None)
        if self._queue and limit not in self._told:
            self._told.add(limit)
            self._warn(f"{problem}, next call in {about(wait)}")
