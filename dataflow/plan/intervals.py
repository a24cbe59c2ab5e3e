"""Amounts that are not known exactly, and how their bounds follow from shares that were observed. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

Z = 2.576
"""Standard errors on either side: each bound alone is missed once in 200 times, so that several together still hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An amount that is not known exactly.

    Attributes:
        low: No less than this, as far as anybody can say.
        likely: The best guess.
        high: No more than this; infinite where nobody can say.
    """

    low: float
    likely: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.likely <= self.high:
            raise ValueError(f"{self.low} <= {self.likely} <= {self.high} does not hold")

    @classmethod
    def exactly(cls, amount: float) -> Interval:
        """An amount that is known."""
        return cls(low=amount, likely=amount, high=amount)

    @classmethod
    def around(cls, low: float, likely: float, high: float) -> Interval:
        """An interval of bounds that may have crossed by rounding; the bounds win over the guess."""
        low, high = min(low, high), max(low, high)
        return cls(low=low, likely=min(max(likely, low), high), high=high)

    @classmethod
    def total(cls, parts: Iterable[Interval]) -> Interval:
        """The sum, whichever way the parts depend on each other."""
        listed = list(parts)
        return cls.around(
            sum(one.low for one in listed), sum(one.likely for one in listed), sum(one.high for one in listed)
        )

    @property
    def is_exact(self) -> bool:
        """Whether there is nothing between the bounds."""
        return self.low == self.high

    def __add__(self, other: Interval) -> Interval:
        return Interval.total([self, other])

    def times(self, other: Interval) -> Interval:
        """The product of two amounts that are not negative; nothing times an infinite amount is nothing."""
        return Interval.around(
            _product(self.low, other.low), _product(self.likely, other.likely), _product(self.high, other.high)
        )

    def scaled(self, factor: float) -> Interval:
        """So many times this."""
        return self.times(Interval.exactly(factor))

    def at_most(self, other: Interval) -> Interval:
        """The smaller of the two."""
        return Interval.around(min(self.low, other.low), min(self.likely, other.likely), min(self.high, other.high))

    def contains(self, amount: float) -> bool:
        """Whether an amount lies in it, but for what adding up floats has left."""
        slack = 1e-9 * max(1.0, abs(amount))
        return self.low - slack <= amount <= self.high + slack


def _product(one: float, other: float) -> float:
    return 0.0 if one == 0 or other == 0 else one * other


def share_of(part: float, whole: float) -> Interval:
    """The share that `part` of `whole` observations lets one expect, by Wilson's score interval.

    Without an observation it is anything from 0 to 1. (E. B. Wilson, "Probable inference, the law of succession, and
    statistical inference", JASA 22, 1927; unlike the plain formula it holds for few observations and for shares of 0
    and 1.)
    """
    if whole <= 0:
        return Interval(low=0.0, likely=0.5, high=1.0)
    share = min(max(part / whole, 0.0), 1.0)
    spread = Z * math.sqrt(share * (1 - share) / whole + Z**2 / (4 * whole**2))
    middle, scale = share + Z**2 / (2 * whole), 1 + Z**2 / whole
    return Interval(
        low=max(0.0, min(share, (middle - spread) / scale)),
        likely=share,
        high=min(1.0, max(share, (middle + spread) / scale)),
    )


def part_of(count: Interval, share: Interval) -> Interval:
    """How many of so many fall under a share, each by its own chance.

    The bounds are those of the share, and beside them what chance alone does to a count of that size.
    """
    if math.isinf(count.high):
        return Interval.around(_least(count.low, share.low), count.likely * share.likely, count.high)
    return Interval.around(_least(count.low, share.low), count.likely * share.likely, _most(count.high, share.high))


def _least(count: float, share: float) -> float:
    return max(0.0, count * share - _noise(count, share))


def _most(count: float, share: float) -> float:
    return min(count, count * share + _noise(count, share))


def _noise(count: float, share: float) -> float:
    return Z * math.sqrt(count * share * (1 - share)) + (0.0 if share in (0.0, 1.0) else 1.0)
