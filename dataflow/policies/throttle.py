"""Throttling: how an API without a declared rate is called more slowly when it answers 429, and comes back. Pure.

Where a rate is declared, `declared` says how much of it is used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from dataflow.policies.resets import LONGEST

CUT = 0.7
"""What a 429 leaves of the rate."""
APART = 1.0
"""Seconds between two cuts: the 429s of one second are one message, whoever received them."""
GROWTH = 0.05 / 10.0
"""Share of the base that the rate regains in a second: 5 % in 10 s."""
LEAST = 0.01
"""The rate never falls below this share of its base, or it would never come back."""
FORGOTTEN = 1.5
"""The cut is over when the rate has grown to this multiple of its base."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """How much slower an API is called than it was.

    Attributes:
        factor: Of the base, at `since`; grows from then on.
        since: When it was cut last; minus infinity for never.
        base: Calls in a second, observed when it was first cut; None before that.
        until: No call before this time, by a Retry-After.
    """

    factor: float = 1.0
    since: float = -math.inf
    base: float | None = None
    until: float = -math.inf


def throttle(cut: Cut, *, now: float, observed: float, after: float | None = None) -> Cut:
    """What a 429 makes of it: at most one cut in a second, and a pause where the answer asks for one.

    Args:
        cut: As it was.
        now: When the answer came.
        observed: Calls in a second lately.
        after: Seconds of its Retry-After; what is negative or no number counts as none, more than 300 as 300.
    """
    if after is not None and after > 0:
        cut = replace(cut, until=max(cut.until, now + min(after, LONGEST)))
    if now < cut.since + APART:
        return cut
    before = factor(cut, now=now)
    if cut.base is None or before >= FORGOTTEN:
        return replace(cut, factor=CUT, since=now, base=max(1.0, observed))
    return replace(cut, factor=max(LEAST, before * CUT), since=now)


def factor(cut: Cut, *, now: float) -> float:
    """The share of the base that may be called now; it has no upper end here."""
    return cut.factor + GROWTH * max(0.0, now - cut.since) if cut.since > -math.inf else 1.0


def undeclared_rate(cut: Cut, *, now: float) -> float | None:
    """Calls in a second that the API takes now, or None when no cut is in force."""
    if cut.base is None:
        return None
    share = factor(cut, now=now)
    return None if share >= FORGOTTEN else cut.base * share


def pause(cut: Cut, *, now: float) -> float:
    """Seconds for which no call may start."""
    return max(0.0, cut.until - now)
