"""Scoring of candidates for a task by quality, speed and price, as the caller wants them. Pure.

Each of the three gives points by the row of the wanted level: a candidate that meets its threshold gets the points of
that row, any other none. The lowest level of each has no threshold. What is not known of a candidate gives no points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Quality = Literal["premium", "high", "medium", "low"]
Speed = Literal["fast", "balanced", "thorough"]
Budget = Literal["low", "medium", "high", "unlimited"]

QUALITY: Mapping[str, tuple[float | None, int]] = {
    "premium": (4.5, 40),
    "high": (4.0, 30),
    "medium": (3.5, 20),
    "low": (None, 10),
}
"""For each level the least quality, from 0 to 5, and its points."""

SPEED: Mapping[str, tuple[float | None, int]] = {"fast": (5.0, 30), "balanced": (15.0, 20), "thorough": (None, 10)}
"""For each level the seconds that a call has to stay under, and its points."""

BUDGET: Mapping[str, tuple[float | None, int]] = {
    "low": (0.5, 30),
    "medium": (2.0, 20),
    "high": (10.0, 10),
    "unlimited": (None, 5),
}
"""For each level the price that a call has to stay under, and its points."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What is known of a candidate.

    Attributes:
        quality: From 0 to 5, or None.
        seconds: Of a call on average, or None.
        price: Of a call, 0 for a free one, or None.
    """

    quality: float | None = None
    seconds: float | None = None
    price: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The levels that a caller wants; None leaves one out."""

    quality: Quality | None = None
    speed: Speed | None = None
    budget: Budget | None = None


def score(candidate: Candidate, wanted: Wanted) -> int:
    """The points of a candidate."""
    points = 0
    if wanted.quality is not None and candidate.quality is not None:
        least, worth = QUALITY[wanted.quality]
        points += worth if least is None or candidate.quality >= least else 0
    if wanted.speed is not None and candidate.seconds is not None:
        points += _under(candidate.seconds, SPEED[wanted.speed])
    if wanted.budget is not None and candidate.price is not None:
        points += _under(candidate.price, BUDGET[wanted.budget])
    return points


def best(scores: Sequence[int], *, top: int) -> list[int]:
    """The places of the highest scores, best first; of equal ones the first."""
    return sorted(range(len(scores)), key=lambda place: (-scores[place], place))[:top]


def _under(value: float, row: tuple[float | None, int]) -> int:
    limit, worth = row
    return worth if limit is None or value < limit else 0
