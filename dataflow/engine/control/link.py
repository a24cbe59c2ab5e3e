"""When a gate talks to the control plane: one exchange at a time, none without a reason, each one until it succeeds."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from dataflow.errors import ClusterError

GAP = 0.02
"""Seconds between two exchanges at least, however urgent the second one is."""
PATIENT = 5.0
"""Seconds to wait for a reply before the request is sent again."""
LAST = 3.0
"""Seconds that closing waits for the last request: slots that are not given back count as used, perhaps for a day."""
RETRIES = (0.1, 1.0)
"""Seconds before a failed exchange is tried again: at first, and at most; doubled from one to the other."""


class Line(Protocol):
    """The way to the control plane."""

    async def exchange(self, request: dict[str, Any]) -> dict[str, Any]:
        """Carry a request there and its reply back; raises ClusterError where asking again will not help."""


class Link:
    """The exchanges of one gate, on the loop that makes it.

    A request whose reply was lost is sent again as it was, so that the plane can tell that it knows it.

    Args:
        line: The way to the plane.
        request: Makes the next request.
        accept: Takes a reply and when it was asked for; gives the seconds to the next exchange, None for no next one.
        refuse: Takes the error of a plane with which there is no talking.
        clock: Seconds that only grow.

    Attributes:
        exchanges: How many there were.
        timer: When the next one is due, None where none is planned.
    """

    def __init__(
        self,
        line: Line,
        *,
        request: Callable[[], dict[str, Any]],
        accept: Callable[[dict[str, Any], float], float | None],
        refuse: Callable[[ClusterError], None],
        clock: Callable[[], float],
    ) -> None:
        self.exchanges = 0
        self.timer: asyncio.TimerHandle | None = None
        self._line = line
        self._request = request
        self._accept = accept
        self._refuse = refuse
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._pending: dict[str, Any] | None = None
        self._begun_at = -math.inf
        self._retry = RETRIES[0]
        self._urgent = False
        self._closed = False

    @property
    def rests(self) -> bool:
        """Whether no exchange is going on or planned."""
        return self._task is None and self.timer is None

    def plan(self, delay: float) -> None:
        """Have the next exchange in so many seconds, in place of when it was planned."""
        if self._closed:
            return
        if self.timer is not None:
            self.timer.cancel()
        least = self._begun_at + GAP - self._clock()
        self.timer = self._loop.call_later(max(delay, least), self._begin)

    def urge(self) -> None:
        """Have an exchange now, or right after the one that is going on; a line that fails is not urged."""
        self._urgent = True
        if self._task is None and self._retry == RETRIES[0]:
            self.plan(0.0)

    async def close(self, *, tell: bool) -> None:
        """End; with a last request, where there is something to tell."""
        self._closed = True
        if self.timer is not None:
            self.timer.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if tell or self._pending is not None:
            with suppress(Exception):
                await asyncio.wait_for(self._line.exchange(self._pending or self._request()), LAST)

    def _begin(self) -> None:
        self.timer = None
        if self._task is None:
            self._task = self._loop.create_task(self._exchange())

    async def _exchange(self) -> None:
        request = self._pending = self._pending or self._request()
        asked = self._begun_at = self._clock()
        self._urgent = False
        self.exchanges += 1
        try:
            async with asyncio.timeout(PATIENT):
                reply = await self._line.exchange(request)
        except ClusterError as error:
            self._task = self._pending = None
            self._retry = RETRIES[0]
            self._refuse(error)
        except Exception:
            self._task = None
            self.plan(self._retry)
            self._retry = min(2 * self._retry, RETRIES[1])
        else:
            self._task = self._pending = None
            self._retry = RETRIES[0]
            delay = self._accept(reply, asked)
            if self._urgent or delay is not None:
                self.plan(0.0 if self._urgent else delay or 0.0)
