"""How single values are written for people: counts, durations, sizes, and texts that come from data. Pure.

What comes from data is made harmless for a terminal here; for HTML it is escaped where it is drawn.
"""

from __future__ import annotations

import unicodedata
from decimal import Decimal
from typing import Any

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def count(value: int) -> str:
    """A whole number in groups of three digits."""
    return f"{value:,}"


def counted(value: int, one: str, many: str | None = None) -> str:
    """A count with its noun: `1 record`, `2 records`."""
    return f"{value:,} {one if value == 1 else many or one + 's'}"


def duration(seconds: float) -> str:
    """A duration in the two units that matter: `84 ms`, `3.2 s`, `2 min 05 s`, `3 h 20 min`."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60:,} h {minutes % 60:02} min"


def brief(seconds: float) -> str:
    """A duration where many stand side by side: `0.937 µs`, `84 ms`, `3.2 s`, `2 min 05 s`."""
    if seconds < 0.0009995:
        return f"{seconds * 1e6:.3g} µs"
    return f"{seconds:.3g} s" if 0.9995 <= seconds < 59.95 else duration(seconds)


def remaining(seconds: float) -> str:
    """An estimated duration, no finer than a second."""
    whole = max(1, round(seconds))
    return f"{whole} s" if whole < 60 else duration(whole)


def size(value: int) -> str:
    """Bytes in decimal units: `1.2 MB`."""
    amount, unit = float(value), 0
    while amount >= 999.5 and unit < len(_UNITS) - 1:
        amount, unit = amount / 1000, unit + 1
    return f"{amount:.3g} {_UNITS[unit]}"


_CAUSES = {"provider": "the provider, which asked for it", "plane": "the control plane"}


def cause(reason: str) -> str:
    """What calls wait for: `the rate`, `the control plane`."""
    return _CAUSES.get(reason, f"the {reason}")


def rate(value: float) -> str:
    """Records in a second: whole from ten on."""
    return f"{value:,.0f} records/s" if value >= 9.95 else f"{value:.2g} records/s"


def share(value: float) -> str:
    """A share as a percentage that says 100 % only of all and 0 % only of nothing."""
    percent = value * 100
    if 0 < percent < 0.1 or 99.9 < percent < 100:
        return "< 0.1 %" if percent < 50 else "> 99.9 %"
    return f"{percent:.3g} %"


def money(value: float) -> str:
    """An amount of money; more places for less of it."""
    return f"{value:,.2f}" if value >= 1 else f"{Decimal(f'{value:.4g}'):f}"


def printable(text: str) -> str:
    """The text in one line without control characters, which could rewrite what a terminal shows."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)


def cell(value: Any) -> str:
    """A value in a table: empty for null, without control characters."""
    return "" if value is None else printable(str(value))


def cells(text: str) -> int:
    """The columns that a text takes in a font of fixed width."""
    if text.isascii():
        return len(text)
    return sum(map(_width, text))


def _width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def shorten(text: str, most: int) -> str:
    """The beginning of a text in at most so many columns."""
    if cells(text) <= most:
        return text
    return _fitting(text, most - 1) + "…"


def shorten_middle(text: str, most: int) -> str:
    """Beginning and end of a text in at most so many columns: names often differ in their last word."""
    if cells(text) <= most:
        return text
    tail = (most - 1) // 3
    return _fitting(text, most - 1 - tail) + "…" + _fitting(text[::-1], tail)[::-1]


def _fitting(text: str, most: int) -> str:
    room = most
    for at, character in enumerate(text):
        room -= _width(character)
        if room < 0:
            return text[:at]
    return text


def padded(text: str, width: int, *, right: bool = False) -> str:
    """The text filled up with spaces to so many columns."""
    space = " " * (width - cells(text))
    return space + text if right else text + space
