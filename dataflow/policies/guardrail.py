"""Guardrails: whether a run goes so badly that it should not go on. Pure arithmetic on counts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

FLOOR = 100
"""Failures that a share never stops a run for: 1 % of a small run says little."""
STREAK = 100
"""Unexpected exceptions in a row after which a local service counts as broken, whatever share that is."""
ENOUGH = 100
"""Answers of a service from which its found share says something while a run goes on."""
FEW = 10
"""Answers from which it does so when all is done: fewer may all be unlucky."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxFailures:
    """How many failures a run survives: by calls for each service, by records for all of them together.

    Attributes:
        share: Of the calls or records of the whole run, at least 100; used where `count` is None.
        count: A fixed number instead.
    """

    share: float
    count: int | None = None

    def limit(self, whole: int) -> int:
        """The most failures among so many calls or records of the whole run."""
        return self.count if self.count is not None else max(FLOOR, int(self.share * whole))

    def exceeded(self, failures: int, *, whole: int) -> int | None:
        """The limit that so many failures have exceeded, or None."""
        limit = self.limit(whole)
        return limit if failures > limit else None

    def allows_all(self, records: int) -> bool:
        """Whether every record of a run of so many may fail, which only who says so wants."""
        return self.share >= 1 if self.count is None else self.count >= records


@dataclass(frozen=True, slots=True)
class Stretch:
    """Calls in a row.

    Attributes:
        start: The place of the first record.
        calls: How many.
    """

    start: int
    calls: int


def longest_stretch(calls: Iterable[tuple[int, int]]) -> Stretch | None:
    """The longest stretch among some calls, the first of several; None where there are no calls.

    Args:
        calls: The first place of each and the place after its last, ascending; a gap ends a stretch.
    """
    longest: Stretch | None = None
    start = end = count = 0
    for first, stop in calls:
        start, count = (start, count + 1) if count and first == end else (first, 1)
        end = stop
        if longest is None or count > longest.calls:
            longest = Stretch(start, count)
    return longest


def expected(calls: int, *, seen: int, records: int) -> int:
    """The calls of a whole run, where so many were made for the records seen so far."""
    return calls if seen == 0 else max(calls, calls * records // seen)


def too_few_found(found: int, *, asked: int, share: float, over: bool) -> bool:
    """Whether a service finds less than is worth going on for.

    Args:
        found: Calls that found something.
        asked: Calls that found something or nothing; failed ones say nothing about it.
        share: The least share to be found.
        over: Whether no more calls will come.
    """
    return asked >= (FEW if over else ENOUGH) and found < share * asked
