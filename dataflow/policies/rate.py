"""Rates: how many calls or tokens an API takes in a window, and time slots that keep to it. Pure.

A window of at most a minute is *paced*: its calls get time slots one after the other, `Pace.step` apart, on the clock
of whoever leases them. A longer window is *counted*: the calls of its last `PIECES` pieces are added up. Several
windows hold at once, since a slot needs room in each. Who asks, and when, is decided elsewhere.

Why slots keep to a limit of `count` calls in `period` seconds: a slot at `s` is used between `s` and `s + tolerance`,
so what is sent in a window (t, t + period] had its slots in (t - tolerance, t + period], an interval that is
`period + tolerance` long. Slots are at least (period + tolerance) / count apart, so no more than `count` of them lie
in it. With a tolerance of 2.2 % of the period, slots come at 1 / 1.022 = 97.8 % of the limit. This is the virtual
scheduling algorithm of GCRA (ITU-T I.371) without any burst: time that nobody asked for is not credited.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

from dataflow.errors import DeclarationError

TOLERANCE = 0.022
"""How late a slot may be used, as a share of the period; more would cost more of the limit than 3 %."""
PACED = 60.0
"""Seconds of the longest window that is paced; an hour's calls may come as they are needed."""
PIECES = 64
"""Parts that a counted window is cut into; what is counted is longer than the window by one of them."""
UNPACED = 5.0
"""Seconds for which a slot without pace can be used."""

_ROUNDING = 1e-6
"""Makes steps longer by more than what adding up floats can make them shorter."""
_PERIODS = {"s": 1, "sec": 1, "second": 1, "m": 60, "min": 60, "minute": 60, "h": 3600, "hour": 3600, "d": 86400}
_PERIODS |= {"day": 86400}
_NAMES = {"day": 86400.0, "h": 3600.0, "min": 60.0}
_THOUSANDS = {"": 1, "k": 1_000, "m": 1_000_000}
_TEXT = re.compile(r"\s*(\d[\d_]*(?:\.\d+)?)\s*([km]?)\s*(calls|tokens)?\s*(?:/|per\b)\s*(\d*)\s*([a-z]+)\s*", re.I)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """At most so many in any window of so many seconds.

    Attributes:
        count: At least 1.
        period: Seconds.
        unit: What is counted.
    """

    count: int
    period: float
    unit: Literal["calls", "tokens"] = "calls"

    @property
    def text(self) -> str:
        """As an author writes it: `50000/day`, `200000 tokens/min`."""
        fitting = [(self.period / size, name) for name, size in _NAMES.items() if self.period % size == 0]
        times, name = fitting[0] if fitting else (self.period, "s")
        return f"{self.count}{' tokens' if self.unit == 'tokens' else ''}/{'' if times == 1 else f'{times:g} '}{name}"

    @property
    def paced(self) -> bool:
        """Whether its calls get slots in equal steps."""
        return self.period <= PACED

    @property
    def tallied(self) -> bool:
        """Whether it is counted in pieces; tokens are in any case, since calls differ in them."""
        return not self.paced or self.unit == "tokens"

    @property
    def piece(self) -> float:
        """Seconds of one of the pieces in which it is counted."""
        return self.period / PIECES


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How slots follow each other.

    Attributes:
        step: Seconds from one slot to the next; 0 where nothing is paced.
        tolerance: Seconds after which a slot is too late to be used.
    """

    step: float
    tolerance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """Where the virtual clock of an API stands.

    Attributes:
        free_at: The earliest next slot.
        returned: Slots before it that were given back unused, ascending.
    """

    free_at: float = -math.inf
    returned: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What was counted of a window lately, as plain values.

    Attributes:
        pieces: (number of the piece on the clock, amount), ascending; those of the window and a few more.
    """

    pieces: tuple[tuple[int, int], ...] = ()


def read_rates(value: object, *, where: str) -> tuple[Rate, ...]:
    """The rates of a declaration: `"100/s"`, `"60/min"`, `"50000/day"`, `"200k tokens/min"`, a number, or several.

    Args:
        value: A text, a number of calls per second, a `Rate`, None, or a list of these.
        where: What the declaration belongs to, for the message.

    Raises:
        DeclarationError: It is none of these, or not above 0.
    """
    if value is None:
        return ()
    if isinstance(value, (list, tuple)):
        return tuple(rate for one in value for rate in read_rates(one, where=where))
    rate = value if isinstance(value, Rate) else _read(value)
    if rate is None or rate.count < 1 or not 0 < rate.period < math.inf:
        raise DeclarationError(
            f'{where}: {value!r} is no rate; write "100/s", "60/min", "50000/day", "200k tokens/min", '
            "a number of calls per second, or a list of these"
        )
    return (rate,)


def _read(value: object) -> Rate | None:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf:
        return _whole(Fraction(value).limit_denominator(1000), period=1, unit="calls")
    found = _TEXT.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return None
    number, thousands, unit, times, name = found.groups(default="")
    name = name.lower()
    seconds = _PERIODS.get(name) or _PERIODS.get(name.removesuffix("s"))
    if seconds is None:
        return None
    count = Fraction(number.replace("_", "")) * _THOUSANDS[thousands.lower()]
    return _whole(count, period=seconds * int(times or 1), unit="tokens" if unit.lower() == "tokens" else "calls")


def _whole(count: Fraction, *, period: int, unit: Literal["calls", "tokens"]) -> Rate:
    """2.5 in a second are 5 in two: a window can only hold whole calls."""
    return Rate(count=count.numerator, period=float(period * count.denominator), unit=unit)


def pace_of(rates: Iterable[Rate], *, tokens: float = 1.0) -> Pace:
    """The pace at which all these rates hold: the largest step, and the tolerance that it leaves to each of them.

    Args:
        rates: All windows of an API.
        tokens: What one call is expected to use.
    """
    paced = [(_span(rate), rate.count / (tokens if rate.unit == "tokens" else 1)) for rate in rates if rate.paced]
    if not paced:
        return Pace(step=0.0, tolerance=UNPACED)
    step = max(span * (1 + TOLERANCE) / count for span, count in paced) * (1 + _ROUNDING)
    return Pace(step=step, tolerance=min(max(step * count, span * (1 + TOLERANCE)) - span for span, count in paced))


def _span(rate: Rate) -> float:
    return rate.period + (rate.piece if rate.tallied else 0.0)


def lease(
    slots: Slots, pace: Pace, *, now: float, until: float, wanted: int, spread: bool = False
) -> tuple[Slots, tuple[float, ...]]:
    """The next free slots.

    Args:
        slots: The virtual clock.
        pace: Its step.
        now: No slot lies before it.
        until: No slot lies after it.
        wanted: At most so many.
        spread: Take them evenly from all that are free, for a holder that does not know when it will call; else the
            earliest ones, so that none is lost.
    """
    if pace.step <= 0:
        return replace(slots, returned=()), (now,) * wanted
    usable = tuple(at for at in slots.returned if at >= now)
    start = max(slots.free_at, now)
    room = math.floor((until - start) / pace.step) + 1 if start <= until else 0
    free = len(usable) + room
    taken = min(wanted, free)
    chosen = [at * free // taken for at in range(taken)] if spread else list(range(taken))
    times = [usable[at] if at < len(usable) else start + pace.step * (at - len(usable)) for at in chosen]
    fresh = max(0, chosen[-1] + 1 - len(usable)) if chosen else 0
    passed = (*usable, *(start + pace.step * at for at in range(fresh)))
    gone = set(times)
    left = tuple(at for at in passed if at not in gone)
    return Slots(free_at=start + pace.step * fresh if fresh else slots.free_at, returned=left), tuple(times)


def give_back(slots: Slots, times: Sequence[float], *, now: float) -> Slots:
    """Take slots back that will not be used: those still to come are leased again, at the same times.

    A slot that has passed is lost: a call in its place would come later, and windows that do not hold the slot might
    hold that call.
    """
    coming = [at for at in times if now <= at < slots.free_at]
    return replace(slots, returned=tuple(sorted({*slots.returned, *coming}))) if coming else slots


def room(rate: Rate, tally: Tally, *, now: float, tolerance: float) -> int:
    """What still fits into a counted window.

    Args:
        rate: The window.
        tally: What was counted.
        now: When.
        tolerance: Seconds after its slot at which a call may still be sent, so that it counts longer.
    """
    first = _piece(rate, now - rate.period - tolerance)
    return rate.count - sum(amount for piece, amount in tally.pieces if piece >= first)


def charge(rate: Rate, tally: Tally, *, amounts: Iterable[tuple[float, int]], now: float, tolerance: float) -> Tally:
    """Count amounts, each at the time of its slot; a negative one takes back what was counted at that time.

    Taking back touches the piece it was counted in only: where that is forgotten already, nothing happens.
    """
    pieces = dict(tally.pieces)
    for at, amount in amounts:
        piece = _piece(rate, at)
        pieces[piece] = max(0, pieces.get(piece, 0) + amount)
    oldest = _piece(rate, now - rate.period - tolerance)
    return Tally(pieces=tuple(sorted(item for item in pieces.items() if item[0] >= oldest and item[1] > 0)))


def wait_for_room(rate: Rate, tally: Tally, *, now: float, tolerance: float, wanted: int = 1) -> float:
    """Seconds until so much fits into a counted window again; 0 where it does now."""
    lacking = wanted - room(rate, tally, now=now, tolerance=tolerance)
    first = _piece(rate, now - rate.period - tolerance)
    for piece, amount in tally.pieces:
        if lacking <= 0:
            break
        if piece >= first:
            lacking -= amount
            moment = (piece + 1) * rate.piece + rate.period + tolerance
            if lacking <= 0:
                return max(0.0, moment - now)
    return 0.0


def merged(tallies: Iterable[Tally]) -> Tally:
    """What was counted of one window in several places, together."""
    pieces: dict[int, int] = {}
    for tally in tallies:
        for piece, amount in tally.pieces:
            pieces[piece] = pieces.get(piece, 0) + amount
    return Tally(pieces=tuple(sorted(pieces.items())))


def aged(rate: Rate, tally: Tally, *, now: float) -> list[list[float]]:
    """A tally as [age in seconds, amount] of its pieces: what can be kept where clocks differ."""
    return [[now - piece * rate.piece, amount] for piece, amount in tally.pieces]


def remembered(rate: Rate, ages: Iterable[Sequence[float]], *, now: float) -> Tally:
    """The tally of ages that were kept; it counts them as one piece younger, which errs on the safe side."""
    pieces: dict[int, int] = {}
    for age, amount in ages:
        piece = _piece(rate, now - age) + 1
        pieces[piece] = pieces.get(piece, 0) + int(amount)
    return Tally(pieces=tuple(sorted(pieces.items())))


def _piece(rate: Rate, at: float) -> int:
    return math.floor(at / rate.piece)
