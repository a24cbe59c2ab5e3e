"""How soon answers leave the host that was given them, by what it would cost to be given them again. Pure.

    a service                           leaves after
    with a price, or a limit of hours   5 s or 500 answers, whichever is first
    any other                           30 s or 10,000 answers, and with the partition in any case

An answer that nobody pays for is had again in the time that it took; one that is paid for, or of which there are so
many a day, is worth a file.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dataflow.policies.rate import Rate

LONG = 3600.0
"""Seconds of a window from which on a call of it is scarce."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """When answers are written where other hosts find them.

    Attributes:
        seconds: At most after the first of them was given.
        answers: At most so many.
    """

    seconds: float
    answers: int


SOON = Leaving(seconds=5.0, answers=500)
LATE = Leaving(seconds=30.0, answers=10_000)


def leaving(*, priced: bool, rates: Iterable[Rate]) -> Leaving:
    """When the answers of a service leave.

    Args:
        priced: Whether its calls cost money.
        rates: The limits of its API.
    """
    scarce = any(rate.period >= LONG for rate in rates)
    return SOON if priced or scarce else LATE
