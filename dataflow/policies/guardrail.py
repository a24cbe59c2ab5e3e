"""Guardrails: whether a run goes so badly that it should not go on. Pure arithmetic on counts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

SHARE = 0.01
"""The share of failures that a run survives where its author names none."""
FLOOR = 100
"""Failures that a share never stops a large run for: 1 % of a few thousand says little."""
FIFTH = 5
"""One in so many may fail of a small run, and one in any case: a hundred would be all of it."""
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
        share: Of the calls or records of the whole run, or a fifth of them up to 100, whichever is more, and one in
            any case; used where `count` is None.
        count: A fixed number instead.
        given: Whether the author has named it, so that it holds for optional services too.
    """

    share: float = SHARE
    count: int | None = None
    given: bool = False

    def limit(self, whole: int) -> int:
        """The most failures among so many calls or records of the whole run."""
        if self.count is not None:
            return self.count
        # A share such as 29 % is no binary number; the bit that it lacks must not cost a failure.
        return max(int(self.share * whole + 1e-6), min(FLOOR, max(1, whole // FIFTH)))

    def exceeded(self, failures: int, *, whole: int) -> int | None:
        """The limit that so many failures have exceeded, or None."""
        limit = self.limit(whole)
        return limit if failures > limit else None

    def allows_all(self, records: int) -> bool:
        """Whether every record of a run of so many may fail, which only who says so wants."""
        return self.share >= 1 if self.count is None else self.count >= records

    def too_many_to_publish(self, failures: int, *, records: int) -> bool:
        """Whether more than half of all records were rejected for failures; only a share of 100 % publishes these."""
        return 2 * failures > records and (self.count is not None or self.share < 1)


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
    """The calls of a whole run, where so many were made for the records seen so far; one for each where none is."""
    if seen == 0:
        return max(calls, records) if calls else 0
    return max(calls, calls * records // seen)


def too_few_found(found: int, *, asked: int, share: float, over: bool) -> bool:
    """Whether a service finds less than is worth going on for.

    Args:
        found: Calls that found something.
        asked: Calls that found something or nothing; failed ones say nothing about it.
        share: The least share to be found.
        over: Whether no more calls will come.
    """
    return asked >= (FEW if over else ENOUGH) and found < share * asked
