"""What is counted of the long windows of one API, here and on other planes. No clock inside.

Counts belong to a window, (period, unit), and not to a limit, so that a limit that is changed finds them. What this
plane counted and what it was told of others are kept apart: only its own is told to others, so nothing counts twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from dataflow.policies import rate

Window = tuple[float, str]
Amounts = list[tuple[float, int]]


class Windows:
    """The counted windows of one API."""

    def __init__(self) -> None:
        self._own: dict[Window, rate.Tally] = {}
        self._others: dict[str, tuple[float, dict[Window, rate.Tally]]] = {}

    def charge(self, *, calls: Amounts, tokens: Amounts, limits: Sequence[rate.Rate], now: float, late: float) -> None:
        """Count calls and tokens at the times of their slots, which are used up to `late` seconds after; see `rate`."""
        for one in _counted(limits):
            amounts = tokens if one.unit == "tokens" else calls
            own = self._own.get(_window(one), rate.Tally())
            self._own[_window(one)] = rate.charge(one, own, amounts=amounts, now=now, tolerance=late)

    def rooms(self, limits: Sequence[rate.Rate], *, now: float, late: float, tokens: int) -> list[int]:
        """Calls that still fit into each window, where one uses so many tokens."""
        counted = [(one, self._whole(one)) for one in _counted(limits)]
        found = [(one, rate.room(one, tally, now=now, tolerance=late)) for one, tally in counted]
        return [max(0, room // _of_a_call(one, tokens)) for one, room in found]

    def used_up(self, limits: Sequence[rate.Rate], *, now: float, late: float, tokens: int) -> tuple[str, float] | None:
        """The limit that lets no call start for the longest time and the seconds until one may, or None."""
        waits = [(_wait(one, self._whole(one), now=now, late=late, tokens=tokens), one) for one in _counted(limits)]
        wait, one = max(waits, key=lambda pair: pair[0], default=(0.0, None))
        return (one.text, wait) if one is not None and wait > 0 else None

    def kept(self, *, now: float) -> list[list[Any]]:
        """[period, unit, [[age, amount], ...]] of what this plane counted in windows longer than a minute."""
        rows = [(_rate(window), tally) for window, tally in self._own.items()]
        aged = [(one, _young(one, rate.aged(one, tally, now=now))) for one, tally in rows if not one.paced]
        return [[one.period, one.unit, ages] for one, ages in aged if ages]

    def learn(self, source: str, rows: Iterable[Sequence[Any]], *, written: float, now: float) -> None:
        """Take up what `kept` of another plane gave, in place of what was known of it before.

        Args:
            source: The id of that plane.
            rows: What it gave, with the ages as they are now.
            written: When it gave that, in seconds since 1970; what is older than what is known is ignored.
            now: When.
        """
        if source in self._others and self._others[source][0] >= written:
            return
        rates = [(_rate((period, unit)), ages) for period, unit, ages in rows]
        tallies = {_window(one): rate.remembered(one, _young(one, ages), now=now) for one, ages in rates}
        self._others[source] = (written, tallies)

    def _whole(self, one: rate.Rate) -> rate.Tally:
        window = _window(one)
        others = [tallies[window] for _, tallies in self._others.values() if window in tallies]
        return rate.merged([self._own.get(window, rate.Tally()), *others])


def _counted(limits: Sequence[rate.Rate]) -> list[rate.Rate]:
    return [one for one in limits if one.tallied]


def _window(one: rate.Rate) -> Window:
    return one.period, one.unit


def _rate(window: Window) -> rate.Rate:
    period, unit = window
    return rate.Rate(count=1, period=period, unit="tokens" if unit == "tokens" else "calls")


def _of_a_call(one: rate.Rate, tokens: int) -> int:
    return tokens if one.unit == "tokens" else 1


def _wait(one: rate.Rate, tally: rate.Tally, *, now: float, late: float, tokens: int) -> float:
    return rate.wait_for_room(one, tally, now=now, tolerance=late, wanted=min(one.count, _of_a_call(one, tokens)))


def _young(one: rate.Rate, ages: Iterable[Sequence[float]]) -> list[list[float]]:
    """The ages that may still count, with a piece of the window to spare."""
    return [[age, amount] for age, amount in ages if age <= one.period + 2 * one.piece]
