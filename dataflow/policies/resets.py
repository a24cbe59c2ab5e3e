"""Resets: when a provider says that it may be called again, in all the ways in which headers and bodies say it. Pure.

Read are, in this order: a wait in milliseconds (`retry-after-ms`), `Retry-After` and what is called like it, what the
body says of it, and when a limit is whole again: every header whose name holds `ratelimit` and `reset`, and the lists
of the IETF drafts (`RateLimit: limit=100, remaining=0, reset=5`, `"default";r=0;t=5`). Of several limits those count
that are used up. What cannot be read says nothing, and no wait is longer than `LONGEST`.

A moment is compared with the clock of the provider where the answer has a `Date`, since ours may differ.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

LONGEST = 300.0
"""Seconds at most that a provider is obeyed: a record's whole deadline."""

_YEAR = 365 * 86400.0
_HEADER = 100
_LIST = 2_000
_NUMBER = re.compile(r"[0-9]+(\.[0-9]*)?", re.A)
_SPAN = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ns|us|\u00b5s|\u03bcs|ms|d|h|m|s)", re.A)
_UNITS = {"ns": 1e-9, "us": 1e-6, "\u00b5s": 1e-6, "\u03bcs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_UNITS |= {"d": 86400.0}
_ITEM = re.compile(r'(?:"(?P<quoted>[^"]*)"|(?P<bare>[\w.-]+))(?P<rest>[^,"]*)', re.A)
_PARAMETER = re.compile(r"([a-z]+)\s*=\s*([0-9.]+)", re.A | re.I)
_ZONE_NAME = re.compile(r"\s*\([^)]*\)$")
_SINCE_1970 = ((1e17, 1e-9), (1e14, 1e-6), (1e11, 1e-3), (1e8, 1.0))
"""From these numbers on one counts since 1970, in units of so many seconds; less are seconds from now on: 1e8 of them
are three years, and since 1970 they ended in 1973."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Limit:
    """What is known of one of the limits of an account: seconds until it is whole again, and what is left of it."""

    wait: float | None = None
    left: float | None = None


class Resets:
    """What one answer says of when to come again.

    Args:
        headers: Of the answer; their names are read without regard to case.
        now_wall: Seconds since 1970, by our clock.
        body: What its body says, parsed, where it is JSON.
    """

    def __init__(self, headers: Mapping[str, str], *, now_wall: float, body: Any = None) -> None:
        self._told = {name.lower(): text for name, text in headers.items()}
        self._now = _clock(self._told.get("date"), now_wall=now_wall)
        self._body = body

    @property
    def asked(self) -> float | None:
        """Seconds, from 0 to 300, that it asks to wait in so many words; None where it does not."""
        found = [*_asked(self._told, now=self._now), _asked_in_body(self._body)]
        return _bounded(next((wait for wait in found if wait is not None), None))

    @property
    def used_up(self) -> float | None:
        """Seconds, from 0 to 300, until the limits are whole again of which it says that nothing is left."""
        waits = [wait for wait, left in self._waits() if left == 0]
        return _bounded(max(waits, default=None))

    @property
    def whole_again(self) -> float | None:
        """Seconds, from 0 to 300, until a limit is whole again, whatever is left of it."""
        waits = self._waits()
        unknown = [wait for wait, left in waits if left is None]
        # Where all have something left, only not enough, the first one that is whole again may do.
        return _bounded(max(unknown) if unknown else min((wait for wait, _ in waits), default=None))

    @property
    def told(self) -> float | None:
        """Seconds, from 0 to 300, by whatever it says first of these; for an answer that means "later" for sure."""
        return next((one for one in (self.asked, self.used_up, self.whole_again) if one is not None), None)

    def _waits(self) -> list[tuple[float, float | None]]:
        known = [(one.wait, one.left) for one in _limits(self._told, now=self._now)]
        return [(wait, left) for wait, left in known if wait is not None and wait >= 0]


def retry_after(text: str | None, *, now_wall: float) -> float | None:
    """Seconds that a Retry-After header asks for, at most 300, or None where it says nothing to go by.

    A number (a fraction too, though RFC 9110 has none), an HTTP date, or what else `read_wait` knows. What is
    unparsable, negative or in the past says nothing.

    Args:
        text: The value of the header, None without one.
        now_wall: Seconds since 1970, what a date is compared with.
    """
    return None if text is None else _bounded(read_wait(text, now=now_wall))


def read_wait(text: str, *, now: float, unit: float = 1.0) -> float | None:
    """Seconds from now that a text means, or None where it means none.

    A number of seconds; seconds, milliseconds or finer since 1970; a duration as Go writes it (`1m30s`); a date as
    HTTP, ISO 8601 or JavaScript write it.

    Args:
        text: As it came.
        now: Seconds since 1970.
        unit: Seconds in one, for a number that does not count since 1970.
    """
    text = text.strip()
    if not text or len(text) > _HEADER:
        return None
    if _NUMBER.fullmatch(text):
        number = float(text)
        since = next((size for least, size in _SINCE_1970 if number >= least), None)
        # A moment years ago is none: what is meant are very many seconds.
        return number * unit if since is None or number * since < now - _YEAR else number * since - now
    spans = _SPAN.findall(text.lower())
    if spans and "".join(f"{number}{name}" for number, name in spans) == "".join(text.lower().split()):
        return math.fsum(float(number) * _UNITS[name] for number, name in spans)
    moment = _date(text)
    return None if moment is None else moment - now


def _bounded(wait: float | None) -> float | None:
    return min(wait, LONGEST) if wait is not None and wait >= 0 else None


def _clock(date: str | None, *, now_wall: float) -> float:
    moment = _date(date) if date is not None and len(date) <= _HEADER else None
    return now_wall if moment is None else moment


def _asked(told: Mapping[str, str], *, now: float) -> Iterator[float | None]:
    """What the headers say that ask to be called later, the most exact one first."""
    found = [(_unit(name), text) for name, text in told.items() if "retryafter" in _words(name)]
    for unit, text in sorted(found, key=lambda one: one[0]):
        wait = read_wait(text, now=now, unit=unit)
        if wait is not None and wait >= 0:
            yield wait


def _asked_in_body(body: Any) -> float | None:
    """What Google's `RetryInfo` says, or a member called `retry_after`."""
    error = body.get("error", body) if isinstance(body, Mapping) else None
    if not isinstance(error, Mapping):
        return None
    details = error.get("details")
    for one in [error, body, *(details if isinstance(details, list) else ())]:
        for name in ("retryDelay", "retry_after", "retryAfter") if isinstance(one, Mapping) else ():
            wait = _seconds(one.get(name))
            if wait is not None:
                return wait
    return None


def _seconds(value: Any) -> float | None:
    """Seconds from a number or a duration; no moment, since these are counted from now on."""
    if isinstance(value, str):
        return read_wait(value, now=0.0) if len(value) <= _HEADER and not _NUMBER.fullmatch(value) else None
    fits = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf
    return float(value) if fits else None


def _limits(told: Mapping[str, str], *, now: float) -> Iterator[_Limit]:
    """Each limit of which the headers say when it is whole again."""
    left = {_family(name, "remaining"): _amount(text) for name, text in told.items() if _is_of(name, "remaining")}
    for name, text in told.items():
        if _is_of(name, "reset"):
            yield _Limit(wait=read_wait(text, now=now, unit=_unit(name)), left=left.get(_family(name, "reset")))
        elif "ratelimit" in _words(name) and not name.endswith("policy"):
            yield from _listed(text, windows=_windows(told.get(f"{name}-policy")))


def _listed(text: str, *, windows: Mapping[str, float]) -> Iterator[_Limit]:
    """The limits in a list: `limit=100, remaining=0, reset=5` is one, `"a";r=0;t=5, "b";r=9;t=60` are two."""
    if len(text) > _LIST or "=" not in text:
        return
    if '"' not in text:
        yield _limit_of(_parameters([text]))
        return
    for item in _ITEM.finditer(text):
        found = _limit_of(_parameters([item["rest"]]))
        window = windows.get(item["quoted"] or item["bare"] or "")
        yield found if found.wait is not None or found.left != 0 else _Limit(wait=window, left=0)


def _windows(policy: str | None) -> dict[str, float]:
    """Seconds of the windows that a policy names: `"default";q=100;w=60`."""
    items = _ITEM.finditer(policy) if policy is not None and len(policy) <= _LIST else ()
    found = {item["quoted"] or item["bare"] or "": _parameters([item["rest"]]).get("w") for item in items}
    return {name: seconds for name, seconds in found.items() if seconds is not None}


def _limit_of(parameters: Mapping[str, float]) -> _Limit:
    wait = next((parameters[name] for name in ("reset", "resets", "t") if name in parameters), None)
    return _Limit(wait=wait, left=next((parameters[name] for name in ("remaining", "r") if name in parameters), None))


def _parameters(texts: Iterable[str]) -> dict[str, float]:
    pairs = [pair for text in texts for pair in _PARAMETER.findall(text)]
    found = {name.lower(): _amount(number) for name, number in pairs}
    return {name: number for name, number in found.items() if number is not None}


def _amount(text: str) -> float | None:
    """A number that is left; less than nothing is how some say that they do not know."""
    return float(text) if len(text) <= _HEADER and _NUMBER.fullmatch(text.strip()) else None


def _words(name: str) -> str:
    return name.replace("-", "").replace("_", "")


def _is_of(name: str, word: str) -> bool:
    words = _words(name)
    return "ratelimit" in words and word in words and "retryafter" not in words


def _family(name: str, word: str) -> str:
    return _words(name).replace(word, "").replace("after", "")


def _unit(name: str) -> float:
    return 1e-3 if re.search(r"(?:^|[-_])(?:ms|millis|milliseconds)$", name) else 1.0


def _date(text: str) -> float | None:
    """Seconds since 1970 of a date; without a zone it is in UTC."""
    text = _ZONE_NAME.sub("", text.strip())
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            date = read(text.replace("GMT+", "+").replace("GMT-", "-"))
            return (date if date.tzinfo is not None else date.replace(tzinfo=UTC)).timestamp()
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
    return None
