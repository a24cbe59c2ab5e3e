"""What a server's log says of a promise, and whether the promise is met. Pure: times and limits are arguments.

A call is a pair of its arrival and its end at the server, in seconds of one clock.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One figure of a check.

    Attributes:
        check: Its name on the command line.
        what: What the figure is.
        figure: As measured.
        limit: What was promised; None for a figure that only informs.
        bound: Whether the limit is the most or the least that is good enough.
        unit: Of both.
        lenient: Share of the turns in which the limit may be missed.
    """

    check: str
    what: str
    figure: float
    limit: float | None = None
    bound: Literal["most", "least"] = "most"
    unit: str = ""
    lenient: float = 0.0

    @property
    def is_met(self) -> bool:
        """Whether the promise holds."""
        if self.limit is None:
            return True
        return self.figure <= self.limit if self.bound == "most" else self.figure >= self.limit

    def __str__(self) -> str:
        start = f"{self.check:<10} {self.what:<66} {self.figure:>8.5g} {self.unit:<5}"
        if self.limit is None:
            return start.rstrip()
        return f"{start} at {self.bound:<5} {self.limit:>6.5g}  {'met' if self.is_met else 'MISSED'}"


def merged(turns: Iterable[Sequence[Finding]]) -> list[Finding]:
    """The findings of several turns as one: the figure of the worst turn that has to keep to the limit."""
    by_name: dict[tuple[str, str], list[Finding]] = {}
    for findings in turns:
        for one in findings:
            by_name.setdefault((one.check, one.what), []).append(one)
    return [_worst(several) for several in by_name.values()]


def _worst(several: Sequence[Finding]) -> Finding:
    first = several[0]
    figures = sorted((one.figure for one in several), reverse=first.bound == "most")
    return replace(first, figure=figures[math.floor(first.lenient * len(figures) + 1e-9)])


def worst_window(times: Iterable[float], *, seconds: float = 1.0) -> int:
    """The most times in any half-open window of so many seconds; 0 without any."""
    ordered = sorted(times)
    return max((bisect_left(ordered, at + seconds) - index for index, at in enumerate(ordered)), default=0)


def share_used(times: Sequence[float], *, rate: float) -> float:
    """The share of a rate that was used between the first and the last time."""
    return (len(times) - 1) / ((max(times) - min(times)) * rate)


def most_at_once(calls: Iterable[Interval]) -> int:
    """The most calls that ran at one moment; one that arrives just when another ends does not meet it."""
    changes = sorted(change for begins, ends in calls for change in ((begins, 1), (ends, -1)))
    running = most = 0
    for _, change in changes:
        running += change
        most = max(most, running)
    return most


def span(calls: Sequence[Interval]) -> float:
    """Seconds from the first arrival to the last end."""
    return max(ends for _, ends in calls) - min(begins for begins, _ in calls)


def last_after(times: Iterable[float], moment: float) -> float:
    """Seconds from a moment to the last time after it; 0 where there is none."""
    return max((at - moment for at in times if at > moment), default=0.0)


def running_at(calls: Iterable[Interval], moment: float) -> list[Interval]:
    """The calls that had arrived by then and had not ended."""
    return [(begins, ends) for begins, ends in calls if begins <= moment < ends]


def most_while_down(
    *, window: int, threshold: int, probes: int, reset: float, down: float, processes: int, uncounted: int = 0
) -> int:
    """Calls that an API may get while it is down.

    Those in flight when it goes down, those that open the breaker, probes each time it has rested, and as a margin
    once more the threshold for each process, which hears of it by itself before the news is shared.

    Args:
        window: Calls at a time.
        threshold: Failures in a row that open the breaker.
        probes: Calls let through each time.
        reset: Seconds that it stays open each time.
        down: Seconds that the API is down.
        processes: That call it.
        uncounted: Failures that the breaker does not count.
    """
    return window + threshold + probes * math.floor(down / reset) + threshold * processes + uncounted
