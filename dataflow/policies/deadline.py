"""Deadline: the time one record has over all attempts, in which waiting for others does not count. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

LIMIT = 300.0
"""Seconds for one record: three attempts of 30 s and every wait between them, with room."""


def record_limit(timeout: float, attempts: int) -> float:
    """Seconds for one record whose attempts may take so long each: all of them, where that is more than usual."""
    return max(LIMIT, timeout * attempts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """When a record's time is up.

    Attributes:
        started: When it began, in seconds of the clock that `now` is taken from, later by what was excused.
        limit: Seconds from then, 300 by default.
    """

    started: float
    limit: float = LIMIT

    def left(self, now: float) -> float:
        """Seconds until it is up, 0 when it is."""
        return max(0.0, self.started + self.limit - now)

    def excused(self, seconds: float) -> Deadline:
        """The deadline moved by a wait that is not the record's fault: for a breaker or a budget."""
        return replace(self, started=self.started + seconds) if seconds > 0 else self


def attempt_timeout(deadline: Deadline, timeout: float, *, now: float) -> float:
    """Seconds that an attempt may take: its own timeout, or what is left of the record's time."""
    return min(timeout, deadline.left(now))


def allows(deadline: Deadline, wait: float, *, now: float) -> bool:
    """Whether there is time left for an attempt after waiting so many seconds."""
    return wait < deadline.left(now)
