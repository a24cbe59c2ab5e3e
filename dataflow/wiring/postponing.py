"""Partitions of a run that were given back, since a limit is used up or an API is down: what is said of them.

When they come again is decided in `engine.drive`.
"""

from __future__ import annotations

import math

from dataflow.engine.result import Completion
from dataflow.services.units import about
from dataflow.wiring.worker import STOPPED

TOLD_AGAIN = 3600.0
"""Seconds after which it is said again that a limit is used up."""


class Postponing:
    """What was given back in one run.

    Attributes:
        seconds: How long each partition was put off that has ended since.
    """

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._told: dict[str, float] = {}

    def news(self, completion: Completion, *, now: float) -> str | None:
        """For which limit a partition was given back and until when; None where that is known or no limit.

        Args:
            completion: The partition as it was given back.
            now: Seconds that only grow.
        """
        problem = completion.stopped
        if completion.outage or completion.over is not None or problem is None or problem == STOPPED:
            return None
        if now < self._told.get(problem, -math.inf) + TOLD_AGAIN:
            return None
        self._told[problem] = now
        return f"{problem}, next call in {about(completion.again_in)}"

    @property
    def note(self) -> str | None:
        """What is said at the end; None where nothing was put off."""
        if not self.seconds:
            return None
        partitions = "1 partition was" if len(self.seconds) == 1 else f"{len(self.seconds):,} partitions were"
        return f"{partitions} put off for up to {max(self.seconds):,.0f} s, since the breaker of an API was open"
