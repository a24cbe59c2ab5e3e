"""Parts for tests of jobs and of dataflow itself: a settable clock, a catalog in memory, the in-process engine.

They are the real parts or small real ones, no mocks.
"""

from __future__ import annotations

import uuid

from dataflow.engine.local import LocalEngine

__all__ = ["LocalEngine", "SettableClock", "memory_catalog"]


class SettableClock:
    """A clock that stands still until it is moved; call it for the time in seconds.

    Args:
        now: Where it starts.
    """

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Move it forward."""
        self.now += seconds


def memory_catalog() -> str:
    """The URL of a new, empty catalog in the memory of this process; give it as `catalog=`."""
    return f"memory://catalog-{uuid.uuid4().hex[:12]}"
