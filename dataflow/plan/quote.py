"""What a run would call, cost and take: the values that a quote is made of. Pure.

How calls follow from keys and rates is in `forecast`; keys are counted by the engine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from dataflow.plan.hours import Hours
from dataflow.plan.intervals import Interval
from dataflow.plan.rates import Rates
from dataflow.policies.money import PLACES, cleaned

NOTHING = Interval.exactly(0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyCount:
    """The distinct inputs of one service over a whole source; nothing was called to count them.

    Attributes:
        service: Its name.
        records: Records that ask for sure.
        keys: Their distinct keys.
        cached: Those among them that the cache answers.
        repeats: Keys to be called that are in more than one partition: once for each further one.
        open_records: Further records, that ask or not as other services answer.
        open_keys: Distinct keys of these that are neither among `keys` nor in the cache; None where their inputs are
            not known before other services have answered.
        open_repeats: What `repeats` is, for `open_keys`.
        cached_open: Distinct keys of theirs that the cache answers.
        once: Whether a run asks for its keys before its partitions, wherever these share more than a few.
        after: The services that call out and decide about the open records.
        reads: The one service whose answers all open inputs are made of, or None.
        relative_error: Of `keys` and `open_keys`; 0 where they were counted one by one.
    """

    service: str
    records: int = 0
    keys: int = 0
    cached: int = 0
    repeats: int = 0
    open_records: int = 0
    open_keys: int | None = 0
    open_repeats: int = 0
    cached_open: int = 0
    once: bool = False
    after: tuple[str, ...] = ()
    reads: str | None = None
    relative_error: float = 0.0

    @property
    def exact(self) -> bool:
        """Whether its keys are known before anything is called."""
        return not self.open_records and not self.relative_error


@dataclass(frozen=True, slots=True, kw_only=True)
class Tariff:
    """What calls cost as their service declares it, in its currency.

    Attributes:
        call: Money for a call; infinite above where only the answer will say it.
        record: Money for each record of a call.
        billed: `attempts` counts every call, `answers` those that were answered.
        currency: Three letters or so.
        from_answer: Whether only the answer says what a call costs.
    """

    call: Interval = NOTHING
    record: float = 0.0
    billed: Literal["attempts", "answers"] = "attempts"
    currency: str = "USD"
    from_answer: bool = False

    @property
    def most(self) -> float:
        """Money for a call at most."""
        return self.call.high + self.record


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """A service that calls out, as far as a quote needs to know it.

    Attributes:
        service: Its name.
        api: The API whose limits it keeps, or None.
        attempts: That a call has in all.
        batch: Records that share a call at most.
        conditional: Whether it may be left out for a record whose inputs are there, as with `when=`.
        tariff: What its calls cost, or None for nothing.
    """

    service: str
    api: str | None
    attempts: int = 3
    batch: int = 1
    conditional: bool = False
    tariff: Tariff | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceQuote:
    """What one service would be asked, and for how much.

    Attributes:
        service: Its name.
        api: Its API, or None.
        records: Records that ask.
        keys: Distinct keys among them, with those that the cache answers.
        cached: Keys that the cache answers.
        calls: Requests, with those that repeat one.
        cost: Money for them.
        row_calls: Requests if every record called for itself.
        row_cost: Money for these.
        rates: What the forecast rests on beside the keys.
        after: The services that decide how often it is asked; empty where that is known.
        estimated: Whether the keys are an estimate from a sketch.
    """

    service: str
    api: str | None
    records: Interval
    keys: Interval
    cached: int
    calls: Interval
    cost: Interval
    row_calls: Interval
    row_cost: Interval
    rates: Rates
    after: tuple[str, ...] = ()
    estimated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What a run would call, cost and take; `print` it, or show it in a notebook.

    Attributes:
        name: The pipeline.
        records: Of the source.
        services: Those that call out, in listed order.
        hours: How long the run calls, and what binds it.
        row_seconds: How long it would take if every record called for itself.
        currency: Of all amounts.
        budget: What the job may spend, or None.
        notes: What else there is to know.
    """

    name: str
    records: int
    services: tuple[ServiceQuote, ...]
    hours: Hours
    row_seconds: Interval = NOTHING
    currency: str = "USD"
    budget: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def calls(self) -> Interval:
        """Requests of all services."""
        return Interval.total(one.calls for one in self.services)

    @property
    def cost(self) -> Interval:
        """Money for all of them."""
        return Interval.total(one.cost for one in self.services)

    @property
    def row_cost(self) -> Interval:
        """Money if every record called for itself."""
        return Interval.total(one.row_cost for one in self.services)

    @property
    def row_calls(self) -> Interval:
        """Requests if every record called for itself."""
        return Interval.total(one.row_calls for one in self.services)

    @property
    def enough(self) -> Interval | None:
        """The share of the run that the budget pays for; None without a budget."""
        if self.budget is None:
            return None
        cost = self.cost
        return Interval.around(*(_share(self.budget, one) for one in (cost.high, cost.likely, cost.low)))

    def to_dict(self) -> dict[str, Any]:
        """The quote as plain JSON values; a bound that nobody knows is null."""
        binding = self.hours.binding
        return {
            "pipeline": self.name,
            "records": self.records,
            "currency": self.currency,
            "calls": plain(self.calls),
            "cost": plain(self.cost, digits=PLACES),
            "seconds": plain(self.hours.seconds, digits=3),
            "binding": None
            if binding is None
            else {
                "api": binding.api,
                "limit": binding.limit,
                "raised": binding.raised,
                "seconds": round(binding.seconds, 3),
            },
            "per_row": {
                "calls": plain(self.row_calls),
                "cost": plain(self.row_cost, digits=PLACES),
                "seconds": plain(self.row_seconds, digits=3),
            },
            "budget": self.budget,
            "services": {one.service: _service(one) for one in self.services},
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        from dataflow.faces.quote import quote_text

        return quote_text(self)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from dataflow.faces.quote import quote_html

        return quote_html(self)


def _share(budget: float, cost: float) -> float:
    return 1.0 if cost <= budget else budget / cost


def _service(one: ServiceQuote) -> dict[str, Any]:
    rates = one.rates
    return {
        "api": one.api,
        "records": plain(one.records),
        "keys": plain(one.keys),
        "cached": one.cached,
        "calls": plain(one.calls),
        "cost": plain(one.cost, digits=PLACES),
        "depends_on": list(one.after),
        "estimated": one.estimated,
        "rates": {
            "origin": rates.origin,
            "keys": rates.keys,
            "calls": rates.calls,
            "found": plain(rates.found, digits=4),
            "failed": plain(rates.failed, digits=4),
            "retries": plain(rates.retries, digits=4),
            "seconds": plain(rates.seconds, digits=4),
        },
    }


def plain(interval: Interval, *, digits: int = 0) -> dict[str, float | None]:
    """An interval as plain JSON values."""
    bounds = {"low": interval.low, "likely": interval.likely, "high": interval.high}
    return {name: _number(value, digits) for name, value in bounds.items()}


def _number(value: float, digits: int) -> float | None:
    if math.isinf(value):
        return None
    # What a product of floats leaves behind its fifteenth digit is noise.
    return round(cleaned(value), digits) if digits else round(value)
