"""Restraint: fewer calls in flight while nothing succeeds, so that a provider in trouble is spared. Pure.

Each `threshold` failures in a row halve the calls that may be in flight, down to one, and each answer gives a quarter
of what is allowed back: additive increase, multiplicative decrease (Chiu and Jain, "Analysis of the Increase and
Decrease Algorithms", 1989). It only delays; no call fails for it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

STEPS = 4
"""Answers after which all is allowed again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restraint:
    """Where one gate stands; begin with `FREE`.

    Attributes:
        streak: Failures in a row.
        needed: So many of them outlast the calls that were in flight when they began.
        most: Calls that may be in flight, or None for all that are allowed.
    """

    streak: int = 0
    needed: int = 0
    most: int | None = None

    def failed(self, *, threshold: int, in_flight: int) -> Restraint:
        """A call has failed.

        Args:
            threshold: Failures in a row for each halving.
            in_flight: Calls that are still on their way.
        """
        streak, needed = self.streak + 1, self.needed if self.streak else threshold + in_flight
        if streak % threshold:
            return replace(self, streak=streak, needed=needed)
        before = in_flight + 1 if self.most is None else self.most
        return Restraint(streak=streak, needed=needed, most=max(1, before // 2))

    @property
    def is_outlasted(self) -> bool:
        """Whether the provider has just failed so often that its breaker is about to open."""
        return 0 < self.streak == self.needed

    def answered(self, *, share: int) -> Restraint:
        """A call was answered; all may call again once so many as are allowed are reached."""
        if self.most is None:
            return FREE
        most = self.most + max(1, share // STEPS)
        return FREE if most >= share else Restraint(most=most)

    def within(self, share: int) -> int:
        """The calls that may be in flight, of a share."""
        return share if self.most is None else min(share, self.most)


FREE = Restraint()
ONE = Restraint(most=1)
"""Where a provider has just been found to answer again."""
