"""Throttling: how an API without a declared rate is called more slowly when it answers 429, and comes back. Pure.

A 429 cuts the rate to 0.7 of what it was, which at first is what was accepted lately. From there it comes back along
the curve of CUBIC (RFC 9438, with its factor 0.7): fast at first, slowly near the rate that was too much, and ever
faster beyond it, so that a rate that was taken for too low is left behind within seconds:

| time | share of the rate before the cut |
|---|---|
| 0 | 0.7 |
| half of the period | 0.96 |
| the period | 1 |
| twice the period | 1.3 |
| 3.2 times the period | 4, and the cut is over |

The period is 2 s. Where it is cut again at the same height, that is what the provider takes, and the period doubles, up
to 20 s. Where a rate is declared, `declared` says how much of it is used.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dataflow.policies.resets import LONGEST

CUT = 0.7
"""What a 429 leaves of the rate."""
APART = 1.0
"""Seconds between two cuts: the 429s of one second are one message, whoever received them."""
SAMPLE = 10
"""Calls that have to end before 429s among them say something of the rate."""
PERIOD, SLOWEST = 2.0, 20.0
"""Seconds after which the rate is back where it was cut, at first and at most."""
ALIKE = 0.2
"""Two cuts at rates that differ by less than this share are at the same height."""
LEAST = 0.1
"""The rate never falls below this share of what was accepted when it was first cut."""
FORGOTTEN = 4.0
"""The cut is over when the rate has grown to this multiple of what it was before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """How much slower an API is called than it was.

    Attributes:
        before: Calls in a second before it was cut last; None where no cut is in force.
        since: When it was cut last; minus infinity for never.
        period: Seconds after which it is back there.
        base: Calls in a second that were accepted when it was first cut.
        until: No call before this time, by a Retry-After.
    """

    before: float | None = None
    since: float = -math.inf
    period: float = PERIOD
    base: float = 0.0
    until: float = -math.inf


def throttle(cut: Cut, *, now: float, refused: Sequence[float | None], accepted: float, ended: int) -> Cut:
    """What 429s make of it: at most one cut in a second, and a pause where an answer asks for one.

    Args:
        cut: As it was.
        now: When the answers came.
        refused: Of each the seconds of its Retry-After, or None; what is negative or no number counts as none, more
            than 300 as 300.
        accepted: Calls in a second lately that were answered otherwise.
        ended: Calls lately, refused or not.
    """
    asked = [min(after, LONGEST) for after in refused if after is not None and after > 0]
    if asked:
        cut = replace(cut, until=max(cut.until, now + max(asked)))
    if not refused or now < cut.since + APART:
        return cut
    rate = undeclared_rate(cut, now=now)
    if rate is None or cut.before is None:
        base = max(1.0, accepted)
        return cut if ended < SAMPLE else replace(cut, before=base, since=now, period=PERIOD, base=base)
    again = abs(rate - cut.before) <= ALIKE * cut.before
    period = min(2 * cut.period, SLOWEST) if again else PERIOD
    return replace(cut, before=max(LEAST * cut.base / CUT, rate), since=now, period=period)


def undeclared_rate(cut: Cut, *, now: float) -> float | None:
    """Calls in a second that the API takes now, or None when no cut is in force."""
    if cut.before is None:
        return None
    share = 1 + (1 - CUT) * ((now - cut.since) / cut.period - 1) ** 3
    return None if share >= FORGOTTEN else cut.before * share


def pause(cut: Cut, *, now: float) -> float:
    """Seconds for which no call may start."""
    return max(0.0, cut.until - now)
