"""Rate and concurrency limits, and what is said to who meets them. Pure: the time is an argument."""

from __future__ import annotations

import math
from collections import Counter, deque
from dataclasses import dataclass
from email.utils import formatdate
from enum import StrEnum

UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0, "hour": 3600.0, "day": 86400.0}


class RetryAfter(StrEnum):
    """The forms of Retry-After: two that the standard knows, and what servers send besides or in its place."""

    SECONDS = "seconds"
    DATE = "date"
    NEGATIVE = "negative"
    HUGE = "1000000000"
    TEXT = "text"
    NONE = "none"
    MS = "ms"
    RESET = "reset"
    RESET_AT = "reset_at"
    RESETS = "resets"
    RATELIMIT = "ratelimit"
    RATELIMIT_LIST = "ratelimit_list"
    RATELIMIT_RESET = "ratelimit_reset"


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


def retry_after_headers(form: RetryAfter, wait: float, *, unix_time: float) -> dict[str, str]:
    """The headers that say when a call has a chance.

    Args:
        form: The form.
        wait: Seconds until then.
        unix_time: Seconds since 1970, for a date.
    """
    seconds, at = math.ceil(wait), math.ceil(unix_time + wait)
    match form:
        case RetryAfter.SECONDS:
            return {"retry-after": str(seconds)}
        case RetryAfter.DATE:
            return {"retry-after": formatdate(at, usegmt=True)}
        case RetryAfter.NEGATIVE:
            return {"retry-after": "-5"}
        case RetryAfter.HUGE:
            return {"retry-after": "1000000000"}
        case RetryAfter.TEXT:
            return {"retry-after": "soon"}
        case RetryAfter.MS:
            return {"retry-after-ms": str(math.ceil(1000 * wait))}
        case RetryAfter.RESET:
            return {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(seconds)}
        case RetryAfter.RESET_AT:
            return {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(at)}
        case RetryAfter.RESETS:
            return _of_two_limits(wait)
        case RetryAfter.RATELIMIT:
            return {"RateLimit": f"limit=100, remaining=0, reset={seconds}"}
        case RetryAfter.RATELIMIT_LIST:
            return {"RateLimit": f'"burst";r=0;t={seconds}, "daily";r=900;t=3600'}
        case RetryAfter.RATELIMIT_RESET:
            return {"RateLimit-Remaining": "0", "RateLimit-Reset": str(seconds)}
    return {}


def _of_two_limits(wait: float) -> dict[str, str]:
    """As models say it: of requests none is left, of tokens many are, which counts for nothing."""
    told = {"requests": ("0", f"{wait:.3g}s"), "tokens": ("90000", "6m0s")}
    return {
        f"x-ratelimit-{what}-{limit}": text
        for limit, texts in told.items()
        for what, text in zip(("remaining", "reset"), texts, strict=True)
    }


class Gates:
    """Who has been let in, for each scope that has a limit of its own."""

    def __init__(self) -> None:
        self._times: dict[str, deque[float]] = {}
        self._inside: Counter[str] = Counter()
        self._due: dict[str, float] = {}

    def is_due(self, scope: str, seconds: float, now: float) -> bool:
        """Whether so many seconds have passed since this was so last."""
        due = now >= self._due.get(scope, now)
        if due:
            self._due[scope] = now + seconds
        return due

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
