"""Rate and concurrency limits, and what is said to who meets them. Pure: the time is an argument."""

from __future__ import annotations

import math
from collections import Counter, deque
from dataclasses import dataclass
from email.utils import formatdate
from enum import StrEnum

UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0, "hour": 3600.0, "day": 86400.0}


class RetryAfter(StrEnum):
    """The forms of Retry-After: two that the standard knows, and what servers send besides."""

    SECONDS = "seconds"
    DATE = "date"
    NEGATIVE = "negative"
    HUGE = "1000000000"
    TEXT = "text"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """So many calls in any window of so many seconds."""

    calls: int
    seconds: float


def parse_rate(text: str) -> Rate:
    """Read `100/s`, `60/min`, `50000/day`, or `5/0.5s` for a window of another length.

    Raises:
        ValueError: The text has another form.
    """
    calls, _, window = text.partition("/")
    digits = window.rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = window[len(digits) :]
    try:
        return Rate(calls=int(calls), seconds=float(digits or 1) * UNITS[unit])
    except (ValueError, KeyError):
        raise ValueError(f"no rate {text!r}; write 100/s, 60/min, 50000/day or 5/0.5s") from None


def retry_after_text(form: RetryAfter, wait: float, *, unix_time: float) -> str | None:
    """What stands in the header Retry-After, or None for no header.

    Args:
        form: The form.
        wait: Seconds until a call has a chance.
        unix_time: Seconds since 1970, for the date.
    """
    match form:
        case RetryAfter.SECONDS:
            return str(math.ceil(wait))
        case RetryAfter.DATE:
            return formatdate(math.ceil(unix_time + wait), usegmt=True)
        case RetryAfter.NEGATIVE:
            return "-5"
        case RetryAfter.HUGE:
            return "1000000000"
        case RetryAfter.TEXT:
            return "soon"
    return None


class Gates:
    """Who has been let in, for each scope that has a limit of its own."""

    def __init__(self) -> None:
        self._times: dict[str, deque[float]] = {}
        self._inside: Counter[str] = Counter()

    def pass_rate(self, scope: str, rate: Rate, now: float) -> float:
        """Let a call through: 0; or the seconds until one may come. Calls turned away do not count."""
        times = self._times.setdefault(scope, deque())
        while times and times[0] <= now - rate.seconds:
            times.popleft()
        if len(times) >= rate.calls:
            return times[0] + rate.seconds - now if times else rate.seconds
        times.append(now)
        return 0.0

    def enter(self, scope: str, most: int) -> bool:
        """Take one of so many places, if there is one; `leave` gives it back."""
        if self._inside[scope] >= most:
            return False
        self._inside[scope] += 1
        return True

    def leave(self, scope: str) -> None:
        """Give back a place."""
        self._inside[scope] -= 1
