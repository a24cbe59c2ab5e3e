"""What calls that belong together have in common while they are made: whether they go on, and how many of them rest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True, kw_only=True, eq=False)
class Stop:
    """Whether calls that belong together may begin further attempts, and how many wait before one.

    Attributes:
        error: What keeps them from it, raised where one would begin; None while they may.
        resting: Those that wait so long as a backoff or a provider says, and take nobody's place.
        changed: Told where one more does.
    """

    error: Exception | None = None
    resting: int = 0
    changed: Callable[[], None] = lambda: None

    async def rest(self, seconds: float) -> None:
        """Wait before a further attempt."""
        self.resting += 1
        self.changed()
        try:
            await asyncio.sleep(seconds)
        finally:
            self.resting -= 1
