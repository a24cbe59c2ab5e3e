"""How a service has answered before, and what that lets one expect of it. Pure; where it was seen is told, not read."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dataflow.plan.intervals import Interval, Z, share_of

ASSUMED = "assumed"
"""The origin of rates that nobody has seen."""

ANYTHING = Interval(low=0.0, likely=0.5, high=1.0)
"""A share of which nothing is known."""

_NO_FAILURE = Interval(low=0.0, likely=0.0, high=1.0)
_ONE_REQUEST = Interval.exactly(0.0)
_NO_RETRY = Interval(low=0.0, likely=0.0, high=math.inf)

_CALL = Interval(low=0.05, likely=0.5, high=5.0)
"""Seconds of a call of which nothing is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was seen of one service, in a run or a sample; keys that records share count once.

    Attributes:
        origin: Where: `leads@v3`, `a sample of 100`.
        keys: It was asked for.
        could: Keys that it could have been asked for, had the services before it answered so; 0 where nobody knows.
        found: Keys that it found something for.
        failed: Keys that it failed for.
        called: Keys that calls were made for; 0 where nobody knows.
        calls: Requests that were made, with those that repeated one.
        retries: Those that did.
        cost: Money for all calls.
        spread: Standard deviation of what a call cost, or None where only the sum is known.
        seconds: Of a call, or None where none was timed.
    """

    origin: str
    keys: int = 0
    could: int = 0
    found: int = 0
    failed: int = 0
    called: int = 0
    calls: int = 0
    retries: int = 0
    cost: float = 0.0
    spread: float | None = None
    seconds: Interval | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What may be expected of one service.

    Attributes:
        origin: Where they come from; `assumed` where nothing was seen.
        keys: Keys behind `found`; 0 where nothing was seen.
        calls: Calls behind the others.
        asked: The share of the keys that depend on other services for which it is asked; None where nobody knows.
        found: The share of its keys that it finds something for.
        failed: The share that it fails for in the end.
        further: Requests of a key after its first one, repetitions aside: a function may make several, a model be
            asked to repair its answer.
        retries: For each call that is no repetition; infinite bounds where only the policy bounds them.
        seconds: Of a call.
        cost: Money for a call as it was seen, or None.
        spread: Standard deviation of it, or None.
    """

    origin: str = ASSUMED
    keys: int = 0
    calls: int = 0
    asked: Interval | None = None
    found: Interval = ANYTHING
    failed: Interval = _NO_FAILURE
    further: Interval = _ONE_REQUEST
    retries: Interval = _NO_RETRY
    seconds: Interval = _CALL
    cost: Interval | None = None
    spread: float | None = None


def rates_of(seen: Seen | None) -> Rates:
    """What follows from what was seen; without calls, only the defaults."""
    if seen is None or seen.keys <= 0:
        return Rates()
    first = seen.calls - seen.retries
    more = _repeated(first - seen.called, seen.called) if 0 < seen.called < first else _ONE_REQUEST
    return Rates(
        origin=seen.origin,
        keys=seen.keys,
        calls=seen.calls,
        asked=share_of(seen.keys, seen.could) if seen.could else None,
        found=share_of(seen.found, seen.keys),
        failed=share_of(seen.failed, seen.keys),
        retries=_repeated(seen.retries, first) if first > 0 else _NO_RETRY,
        # What was timed are all requests of a key.
        seconds=_CALL if seen.seconds is None else seen.seconds.scaled(1 / (1 + more.likely)),
        further=more,
        cost=_cost(seen),
        spread=seen.spread,
    )


def _repeated(retries: int, first: int) -> Interval:
    """Repetitions for each of some calls or keys: a share up to one, else twice the width of a count by chance."""
    if retries <= first:
        return share_of(retries, first)
    mean, wide = retries / first, 2 * Z * math.sqrt(retries) / first
    return Interval.around(max(0.0, mean - wide), mean, mean + wide)


def _cost(seen: Seen) -> Interval | None:
    if not seen.calls or not seen.cost:
        return None
    mean = seen.cost / seen.calls
    if seen.spread is None:
        return Interval.exactly(mean)
    wide = Z * seen.spread / math.sqrt(seen.calls)
    return Interval.around(max(0.0, mean - wide), mean, mean + wide)
