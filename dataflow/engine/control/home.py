"""The control plane of one process, for callers without a cluster: no message, only a call."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from dataflow.engine.control.plane import Plane


class LocalLine:
    """The line to a plane in the same process; several loops may share it.

    Args:
        plane: The plane.
        clock: Its time, seconds that only grow.
    """

    def __init__(self, plane: Plane, clock: Callable[[], float] = time.monotonic) -> None:
        self._plane = plane
        self._clock = clock

    async def exchange(self, request: dict[str, Any]) -> dict[str, Any]:
        """Ask the plane at once."""
        return self._plane.exchange(request, now=self._clock())


@functools.cache
def process_plane() -> Plane:
    """The one plane of this process, on the clock `time.monotonic`: limits hold over all its runs and threads."""
    # A run that calls nothing does without it.
    from dataflow.engine.control.plane import Plane

    return Plane(now=time.monotonic())


def ask(do: Literal["kept", "learn", "authorise", "close_run"], **given: Any) -> Any:
    """Ask the plane of this process what one on a cluster is asked by its name."""
    return getattr(process_plane(), do)(**given, now=time.monotonic())


def read_status() -> dict[str, Any]:
    """What the plane of this process knows of each API; nothing where none was called."""
    return process_plane().status(time.monotonic()) if process_plane.cache_info().currsize else {}
