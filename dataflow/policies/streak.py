"""Failures in a row: how many say that an API is down, and not that a few of its records fail. Pure.

They are counted twice. Once as they come, until any call is answered. And once of those calls only that began after
the first failure, until one of these is answered: an API that has just gone down and says so at once still answers
for a while what it had begun before. Either count says that nothing succeeds when it outlasts the calls that were in
flight when it began by `threshold`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Streak:
    """Failures in a row; begin with `NONE`.

    Attributes:
        failures: Since any call was answered.
        needed: So many of them say that nothing succeeds.
        newer: Those of calls that began after the first one, since one of these was answered.
        newer_needed: So many of them say that nothing succeeds.
        going_on: Whether no call that began after the first failure has been answered since.
    """

    failures: int = 0
    needed: int = 0
    newer: int = 0
    newer_needed: int = 0
    going_on: bool = False

    def failed(self, *, threshold: int, in_flight: int, earlier: bool = False) -> Streak:
        """A call has failed.

        Args:
            threshold: Failures that count as many.
            in_flight: Calls that are still on their way.
            earlier: Whether it began before the first failure.
        """
        needed = threshold + in_flight
        return Streak(
            failures=self.failures + 1,
            needed=self.needed if self.failures else needed,
            newer=self.newer + (not earlier),
            newer_needed=self.newer_needed if self.going_on else needed,
            going_on=True,
        )

    def answered(self, *, earlier: bool = False) -> Streak:
        """A call was answered, which began before the first failure or not."""
        return replace(self, failures=0, needed=0) if earlier and self.going_on else NONE

    @property
    def length(self) -> int:
        """The longer one of both counts."""
        return max(self.failures, self.newer)

    @property
    def is_outlasted(self) -> bool:
        """Whether nothing succeeds any more."""
        return 0 < self.needed <= self.failures or 0 < self.newer_needed <= self.newer


NONE = Streak()
