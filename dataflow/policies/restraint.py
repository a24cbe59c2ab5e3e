"""Restraint: fewer calls in flight while nothing succeeds, so that a provider in trouble is spared. Pure.

Each `threshold` failures in a row halve the calls that may be in flight, down to one, and each answer gives a quarter
of what is allowed back: additive increase, multiplicative decrease (Chiu and Jain, "Analysis of the Increase and
Decrease Algorithms", 1989). It only delays; no call fails for it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from dataflow.policies.streak import NONE, Streak

STEPS = 4
"""Answers after which all is allowed again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restraint:
    """Where one gate stands; begin with `FREE`.

    Attributes:
        streak: Failures in a row.
        most: Calls that may be in flight, or None for all that are allowed.
        usual: Calls that were in flight beside one that failed, when it began to allow fewer.
    """

    streak: Streak = NONE
    most: int | None = None
    usual: int = 0

    def failed(self, *, threshold: int, in_flight: int, earlier: bool = False) -> Restraint:
        """A call has failed.

        Args:
            threshold: Failures in a row for each halving.
            in_flight: Calls that are still on their way.
            earlier: Whether it began before the first failure.
        """
        # Where few may call, a few failures in a row would soon be too many of them.
        outlasted = max(in_flight, self.usual)
        streak = self.streak.failed(threshold=threshold, in_flight=outlasted, earlier=earlier)
        if streak.length == self.streak.length or streak.length % threshold:
            return replace(self, streak=streak)
        before = in_flight + 1 if self.most is None else self.most
        return Restraint(streak=streak, most=max(1, before // 2), usual=max(self.usual, in_flight))

    def answered(self, *, share: int, earlier: bool = False) -> Restraint:
        """A call was answered; all may call again once so many as are allowed are reached.

        One that began before the first failure is no sign that more can be borne.
        """
        streak = self.streak.answered(earlier=earlier)
        if streak is not NONE:
            return replace(self, streak=streak)
        most = share if self.most is None else self.most + max(1, share // STEPS)
        return FREE if most >= share else Restraint(most=most, usual=self.usual)

    def begun_anew(self) -> Restraint:
        """One call at a time, where a provider has just been found to answer again."""
        return Restraint(most=1, usual=self.usual)

    def within(self, share: int) -> int:
        """The calls that may be in flight, of a share."""
        return share if self.most is None else min(share, self.most)


FREE = Restraint()
