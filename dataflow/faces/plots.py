"""Small pictures of numbers for a notebook: what came of records, how long calls took, how complete a run is.

Pure: numbers in, SVG out. Colours are presentation attributes, legible on light and on dark, and text takes the colour
of its surroundings. Which numbers are worth a picture is decided elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dataflow.faces.markup import GOOD, WEAK, WRONG, faint, plain
from dataflow.faces.picture import LINE
from dataflow.faces.texts import brief, count, share
from dataflow.outcomes import Status

STATUS_COLOURS = {
    Status.SUCCEEDED: GOOD,
    Status.CACHED: "#3f87d9",
    Status.NOT_FOUND: "#8b6fd6",
    Status.FAILED: WRONG,
    Status.TIMED_OUT: WEAK,
    Status.SKIPPED: LINE,
    Status.NOT_ATTEMPTED: LINE,
}
"""One for each way that a service ends for a record; the two in which it was not called are paler in a bar."""

RECORD_COLOURS = {"valid": GOOD, "invalid": WEAK, "rejected": WRONG}
"""One for each place in which a record ends."""

_PALE = {Status.SKIPPED: 0.45, Status.NOT_ATTEMPTED: 0.18}
MARKS = {"p50": "median", "p95": "95 %", "max": "longest"}
"""What is shown of durations, by its name in statistics."""

_NOTICED = 1e-8
"""Seconds of the shortest duration that says anything."""

_BAR, _AXIS, _HEIGHT = 160.0, 140.0, 12.0
_LEAST = 2.0
"""Units of a bar that the smallest part has: three failures among a million are seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a bar.

    Attributes:
        name: What it counts.
        amount: How many.
        colour: Of the part.
        opacity: Less than 1 for what stands back.
    """

    name: str
    amount: int
    colour: str
    opacity: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A logarithmic axis of seconds.

    Attributes:
        low: A power of ten, at the left end.
        high: A greater one, at the right end.
    """

    low: int
    high: int

    @property
    def label(self) -> str:
        """Both ends in words."""
        return f"{brief(10.0**self.low)} .. {brief(10.0**self.high)}"

    def place(self, seconds: float) -> float:
        """Where a duration is, from 0 to 1."""
        if seconds <= 0:
            return 0.0
        return min(max((math.log10(seconds) - self.low) / (self.high - self.low), 0.0), 1.0)


def outcome_parts(counts: Mapping[str, int]) -> list[Part]:
    """What came of the records of one service, by status, without what is zero."""
    return [
        Part(name=status.replace("_", " "), amount=amount, colour=colour, opacity=_PALE.get(status, 1.0))
        for status, colour in STATUS_COLOURS.items()
        if (amount := counts.get(status.value, 0))
    ]


def record_parts(report: Mapping[str, int]) -> list[Part]:
    """Where the records of a run ended, without what is zero."""
    return [
        Part(name=name, amount=amount, colour=colour)
        for name, colour in RECORD_COLOURS.items()
        if (amount := report.get(f"{name}_records", 0))
    ]


def stacked_bar(parts: Iterable[Part], *, width: float = _BAR) -> str:
    """Parts of a whole beside each other, each wide enough to be seen and with its count as a tooltip."""
    shown = [part for part in parts if part.amount > 0]
    drawn, at = "", 0.0
    for part, wide in zip(shown, _widths([part.amount for part in shown], width), strict=True):
        drawn += (
            f"<g><title>{plain(f'{part.name}: {count(part.amount)}')}</title>"
            f'<rect x="{at:.2f}" y="0" width="{wide:.2f}" height="{_HEIGHT:g}" fill="{part.colour}" '
            f'fill-opacity="{part.opacity:g}"/></g>'
        )
        at += wide
    label = ", ".join(f"{part.name} {count(part.amount)}" for part in shown) or "nothing"
    return _svg(drawn, width=width, label=label)


def _widths(amounts: list[int], width: float) -> list[float]:
    """Widths in proportion; the small ones get the least that is seen, and the others make room for them."""
    total = sum(amounts)
    small = {at for at, amount in enumerate(amounts) if amount * width < _LEAST * total}
    rest = sum(amount for at, amount in enumerate(amounts) if at not in small)
    room = width - _LEAST * len(small)
    return [_LEAST if at in small else room * amount / rest for at, amount in enumerate(amounts)]


def share_bar(value: float, *, width: float = 80.0) -> str:
    """A share of everything."""
    whole = min(max(value, 0.0), 1.0) * width
    drawn = (
        f'<rect x="0" y="0" width="{width:g}" height="{_HEIGHT:g}" fill="{LINE}" fill-opacity=".3"/>'
        f'<rect x="0" y="0" width="{whole:.2f}" height="{_HEIGHT:g}" fill="{GOOD}"/>'
    )
    return _svg(drawn, width=width, label=share(value))


def axis_of(durations: Iterable[Mapping[str, float | None]]) -> Axis | None:
    """The axis on which all these durations have a place; None where nothing took any time."""
    found = [value for one in durations for value in _known(one).values()]
    if not found:
        return None
    low = math.floor(math.log10(min(found)))
    return Axis(low=low, high=max(math.ceil(math.log10(max(found))), low + 1))


def _known(marks: Mapping[str, float | None]) -> dict[str, float]:
    """The marks that there are; where a service has computed nothing, its durations are those of the clock."""
    return {name: value for name in MARKS if (value := marks.get(name)) is not None and value >= _NOTICED}


def duration_marks(marks: Mapping[str, float | None], axis: Axis) -> str:
    """The median as a dot, the 95th percentile as a stroke and the longest as a ring, on a logarithmic axis."""
    known = _known(marks)
    if not known:
        return ""
    places = {name: 6 + axis.place(value) * (_AXIS - 12) for name, value in known.items()}
    middle, first, last = _HEIGHT / 2, min(places.values()), max(places.values())
    drawn = f'<path d="M0 {middle:g}h{_AXIS:g}" stroke="{LINE}" stroke-opacity=".35"/>'
    drawn += f'<path d="M{first:.1f} {middle:g}H{last:.1f}" stroke="{LINE}" stroke-width="2"/>'
    drawn += "".join(_mark(name, at, middle) for name, at in places.items())
    text = ", ".join(f"{name} {brief(value)}" for name, value in known.items())
    return _svg(f"<g><title>{plain(text)}</title>{drawn}</g>", width=_AXIS, label=text)


def _mark(name: str, at: float, middle: float) -> str:
    if name == "p50":
        return f'<circle cx="{at:.1f}" cy="{middle:g}" r="4" fill="{STATUS_COLOURS[Status.CACHED]}"/>'
    if name == "p95":
        return f'<path d="M{at:.1f} 1V{_HEIGHT - 1:g}" stroke="{WEAK}" stroke-width="2.5"/>'
    return f'<circle cx="{at:.1f}" cy="{middle:g}" r="3.2" fill="none" stroke="{WRONG}" stroke-width="1.8"/>'


def legend(parts: Iterable[Part]) -> str:
    """What the colours of bars mean, each once."""
    known = {part.name: part for part in parts}
    return " ".join(f"{_swatch(part)}&nbsp;{faint(plain(part.name))}&emsp;" for part in known.values())


def marks_legend() -> str:
    """What the marks of durations mean."""
    drawn = {name: _svg(_mark(name, 6, _HEIGHT / 2), width=12.0, label=text) for name, text in MARKS.items()}
    return " ".join(f"{drawn[name]}&nbsp;{faint(plain(text))}&emsp;" for name, text in MARKS.items())


def _swatch(part: Part) -> str:
    square = f'<rect x="0" y="0" width="12" height="{_HEIGHT:g}" fill="{part.colour}" fill-opacity="{part.opacity:g}"/>'
    return _svg(square, width=12.0, label=part.name)


def _svg(drawn: str, *, width: float, label: str) -> str:
    return (
        f'<svg role="img" aria-label="{plain(label)}" width="{width:g}" height="{_HEIGHT:g}" '
        f'viewBox="0 0 {width:g} {_HEIGHT:g}" style="display:inline-block;vertical-align:middle">{drawn}</svg>'
    )
