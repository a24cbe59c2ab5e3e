"""The strings people write and read for quantities: durations, sizes and shares."""

from __future__ import annotations

import math
import re

from dataflow.errors import DeclarationError

_SECONDS = {"ms": 0.001, "s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_PERCENT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*%\s*")
_QUANTITY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*")


def seconds(value: float | str, *, where: str) -> float:
    """Seconds from a number of seconds or a text like "30s", "5 min", "2h", "7d".

    Raises:
        DeclarationError: The text is no positive duration.
    """
    return _quantity(value, units=_SECONDS, where=f'{where} takes seconds or a duration such as "30s", "5min", "2h"')


def size(value: int | str, *, where: str) -> int:
    """Bytes from a number of bytes or a text like "64MiB".

    Raises:
        DeclarationError: The text is no positive size.
    """
    return int(_quantity(value, units=_BYTES, where=f'{where} takes bytes or a size such as "64MiB"'))


def share_or_count(value: float | str, *, where: str) -> tuple[float, int | None]:
    """A limit as (share, count): "1%" is a share, 0.01 is a share, 500 is a count.

    Raises:
        DeclarationError: It is neither a share between 0 and 100 % nor a whole number.
    """
    problem = DeclarationError(f'{where} takes a share such as "1%" or 0.01, or a whole number of records')
    if isinstance(value, bool):
        raise problem
    if isinstance(value, int):
        if value < 0:
            raise problem
        return (0.0, value)
    part = _part(value)
    if part is None:
        raise problem
    return (part, None)


def share(value: float | str, *, where: str) -> float:
    """A share between 0 and 1 from 0.2 or "20%"; whole numbers are refused, since 1 could mean either.

    Raises:
        DeclarationError: It is neither.
    """
    part = _part(value)
    if part is None:
        raise DeclarationError(f'{where} takes a share such as "20%" or 0.2')
    return part


def _part(value: float | str) -> float | None:
    """The share that a float or a percentage means, or None."""
    match = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    part = float(match.group(1)) / 100 if match is not None else value
    return part if isinstance(part, float) and 0 <= part <= 1 else None


def about(duration: float) -> str:
    """Seconds for people, rounded up: `40 s`, `25 min`, `7 h`, `2 days`."""
    for unit, size, most in (("s", 1, 90), ("min", 60, 90), ("h", 3600, 48)):
        if math.ceil(duration / size) <= most:
            return f"{math.ceil(duration / size)} {unit}"
    return f"{math.ceil(duration / 86400)} days"


def _quantity(value: float | str, *, units: dict[str, float] | dict[str, int], where: str) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
        return float(value)
    match = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    if match is None or match.group(2) not in units or float(match.group(1)) <= 0:
        raise DeclarationError(where)
    return float(match.group(1)) * units[match.group(2)]
