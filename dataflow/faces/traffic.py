"""What is said about the calls of a run while it goes on: a line for each API, and when a log gets one. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dataflow.faces.texts import cause, count, printable, remaining
from dataflow.outcomes import Traffic

MOST = 3
"""APIs that are shown; of more, a number."""

FIRST = 10.0
"""Seconds of calling before a log hears of it: a short run ends without a word."""

EVERY = 30.0
"""Seconds between two lines of a log."""

_UNEVEN = 1.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Diary:
    """What a log has been told about the calls of a run.

    Attributes:
        due: When it gets its next line, None before the first call.
        down: The APIs whose breaker it knows to be open.
    """

    due: float | None = None
    down: frozenset[str] = frozenset()

    def after(self, traffic: Sequence[Traffic], now: float) -> tuple[Diary, tuple[str, ...]]:
        """The diary after some news, and what the log is told: breakers at once, the rest now and then."""
        down = {one.api: one for one in traffic if one.breaker != "closed"}
        opened = [
            f"the breaker of {printable(api)} is {_breaker(one)}{_trouble(one)}"
            for api, one in down.items()
            if api not in self.down
        ]
        # Where nobody calls, as at the end, nothing is known of breakers.
        known = self.down - down.keys() if traffic else ()
        closed = [f"the breaker of {printable(api)} is closed again" for api in sorted(known)]
        due = now + FIRST if self.due is None else self.due
        said = [*opened, *closed]
        if traffic and now >= due:
            said.append("; ".join(lines(traffic)))
            due = now + EVERY
        return Diary(due=due, down=frozenset(down) if traffic else self.down), tuple(said)


def lines(traffic: Sequence[Traffic], *, most: int = MOST) -> tuple[str, ...]:
    """A line for each of the most interesting APIs, and how many there are beyond: the first words matter most."""
    ordered = sorted(traffic, key=lambda one: (_interest(one), one.api))
    shown = [f"{printable(one.api)}: {', '.join(_phrases(one))}" for one in ordered[:most]]
    return (*shown, *((f"+{len(ordered) - most} more",) if len(ordered) > most else ()))


def _interest(one: Traffic) -> int:
    """The lower, the more a person wants to know of it."""
    signs = (one.breaker != "closed" or "breaker" in one.waiting, one.pause > 0, bool(one.waiting), True)
    return signs.index(True)


def _phrases(one: Traffic) -> list[str]:
    found = [f"breaker {_breaker(one)}"] if one.breaker != "closed" else []
    found += [f"paused for {remaining(one.pause)} after a 429"] if one.pause > 0 else []
    reasons = sorted(one.waiting.items(), key=lambda pair: (-pair[1], pair[0]))
    found += [f"{count(calls)} wait{'s' if calls == 1 else ''} for {cause(reason)}" for reason, calls in reasons]
    found += [_rate(one)] if one.in_flight or one.waiting else []
    found += [f"{count(one.in_flight)}{_of(one.concurrency)} in flight"] if one.in_flight else []
    return [phrase for phrase in found if phrase]


def _breaker(one: Traffic) -> str:
    match one.breaker:
        case "open":
            return f"open, next try {f'in {remaining(one.rest)}' if one.rest > 0 else 'now'}"
        case "half_open":
            return "half open, a few calls try"
        case _:
            return "held open by hand"


def _trouble(one: Traffic) -> str:
    return f": {printable(one.trouble)} (options breaker= and retry= of the API)" if one.trouble else ""


def _rate(one: Traffic) -> str:
    """Calls in a second, of those allowed; of fewer than one nothing can be said after seconds but the limit."""
    if one.allowed is None:
        return f"{_number(one.rate)} calls/s" if one.rate else ""
    if one.allowed < 1:
        return f"at most {_number(one.allowed * 60)} calls/min"
    # What is counted where calls end may be a little more than what was let through where they begin.
    rate = one.allowed if one.allowed < one.rate < one.allowed * _UNEVEN else one.rate
    return f"{_number(rate)} of {_number(one.allowed)} calls/s"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 9.95 else f"{value:.2g}"


def _of(most: int | None) -> str:
    return "" if most is None else f" of {count(most)}"
