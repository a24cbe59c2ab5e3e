"""What an API is declared to bear, as the holders send it to the control plane. Pure values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from dataflow.policies.breaker import Breaker
from dataflow.policies.rate import Rate

_GENEROUS = {"window", "reset", "maximum"}
"""Numbers of a breaker of which the larger is the stricter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of one API over everything that shares a control plane.

    Attributes:
        rates: All of them hold; none for no rate.
        concurrency: Calls in flight, or None for no cap.
        breaker: When to stop calling, or None for never.
        timeout: Seconds of the longest attempt: how long calls of a dead worker may still run.
        tokens: What a call is taken to use until some have told.
    """

    rates: tuple[Rate, ...] = ()
    concurrency: int | None = 16
    breaker: Breaker | None = field(default_factory=Breaker)
    timeout: float = 30.0
    tokens: int = 1000

    def to_dict(self) -> dict[str, Any]:
        """As plain values, which any line can carry."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Limits:
        """The limits that `to_dict` gave."""
        breaker = value["breaker"]
        rates = tuple(Rate(**rate) for rate in value["rates"])
        return cls(**{**value, "rates": rates, "breaker": None if breaker is None else Breaker(**breaker)})


def strictest(declared: Iterable[Limits]) -> Limits:
    """The limits that keep to all of these: every rate, and of every other number the stricter one."""
    several = list(declared)
    breakers = [asdict(one.breaker) for one in several if one.breaker is not None]
    caps = [one.concurrency for one in several if one.concurrency is not None]
    return Limits(
        rates=_strictest_rates(rate for one in several for rate in one.rates),
        concurrency=min(caps, default=None),
        breaker=_strictest_breaker(breakers) if breakers else None,
        timeout=max(one.timeout for one in several),
        tokens=max(one.tokens for one in several),
    )


def _strictest_rates(rates: Iterable[Rate]) -> tuple[Rate, ...]:
    least: dict[tuple[float, str], Rate] = {}
    for rate in rates:
        window = (rate.period, rate.unit)
        least[window] = min(rate, least.get(window, rate), key=lambda one: one.count)
    return tuple(least.values())


def _strictest_breaker(breakers: list[dict[str, Any]]) -> Breaker:
    numbers = {name: [one[name] for one in breakers] for name in breakers[0]}
    return Breaker(**{name: max(all_) if name in _GENEROUS else min(all_) for name, all_ in numbers.items()})
