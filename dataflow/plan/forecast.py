"""From distinct keys and rates to calls and money, service by service in the order in which they ask. Pure.

Where a service asks for what another one has answered, its keys are bounded by what that one may find. Bounds are
added up as if all services were unlucky together, so the bounds of the whole are wide rather than wrong.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dataflow.plan.hours import Capacity, Stage, hours
from dataflow.plan.intervals import Interval, Z, part_of
from dataflow.plan.quote import NOTHING, Called, KeyCount, Quote, ServiceQuote, Tariff
from dataflow.plan.rates import Rates
from dataflow.plan.resolve import NOISE

UNSHARED = 2 * NOISE / (1 - 2 * NOISE)
"""The keys that partitions may share, for each distinct one, without a run asking for them beforehand.

A sketch decides that while it runs, so that twice its error must be shared for it to be sure.
"""

_SILENT = "what `{}` costs comes with its answers: give it max_price=, or take a sample"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Where the run would take place.

    Attributes:
        records: Of the source.
        partitions: Of the source.
        workers: Processes that call.
        side_by_side: Partitions under way at the same time, which may ask for the same key.
        most_failures: Failing calls of a service that end the run, by the number of its calls; None for any number.
        capacities: Limits by name of the API.
        budget: Money that the run may spend, or None.
    """

    records: int
    partitions: int = 1
    workers: int = 1
    side_by_side: int = 4
    most_failures: Mapping[str, int] = field(default_factory=dict)
    capacities: Mapping[str, Capacity] = field(default_factory=dict)
    budget: float | None = None


@dataclass(frozen=True, slots=True)
class _Forecast:
    """What is expected of one service.

    Attributes:
        fresh: Keys that the cache does not answer.
        first: Calls without those that repeat one.
        calls: With them.
        found: Fresh keys that it finds something for.
    """

    fresh: Interval
    first: Interval
    calls: Interval
    found: Interval


def make_quote(
    name: str,
    services: Sequence[Called],
    counts: Mapping[str, KeyCount],
    rates: Mapping[str, Rates],
    *,
    setting: Setting,
    notes: Sequence[str] = (),
) -> Quote:
    """The quote of a run.

    Args:
        name: The pipeline.
        services: Those that call out, in listed order.
        counts: Their distinct keys.
        rates: What may be expected of them.
        setting: Where the run would take place.
        notes: Sentences to show.
    """
    forecasts: dict[str, _Forecast] = {}
    quotes, stages, rows = [], [], []
    for called in services:
        count, rate = counts[called.service], rates[called.service]
        one = forecasts[called.service] = _forecast(called, count, rate, before=forecasts, setting=setting)
        quoted = _quoted(called, count, rate, one, setting=setting)
        quotes.append(quoted)
        stage = Stage(service=called.service, api=called.api, calls=one.calls, seconds=rate.seconds, after=count.after)
        stages.append(stage)
        rows.append(Stage(service=called.service, api=called.api, calls=quoted.row_calls, seconds=rate.seconds))
    silent = [one.service for one in quotes if math.isinf(one.cost.high) and one.calls.high < math.inf]
    currencies = [one.tariff.currency for one in services if one.tariff is not None]
    return Quote(
        name=name,
        records=setting.records,
        services=tuple(quotes),
        hours=hours(stages, setting.capacities, partitions=setting.partitions),
        row_seconds=hours(rows, setting.capacities, partitions=setting.partitions, told=False).seconds,
        currency=currencies[0] if currencies else "USD",
        budget=setting.budget,
        notes=(*notes, *(_SILENT.format(name) for name in silent)),
    )


def _forecast(
    called: Called, count: KeyCount, rates: Rates, *, before: Mapping[str, _Forecast], setting: Setting
) -> _Forecast:
    known = _estimated(count.keys - count.cached, count.relative_error)
    opened = _opened(called, count, rates, before)
    fresh = known + opened
    asked = fresh + _repeats(called, count, rates, fresh=fresh, opened=opened, setting=setting)
    single = called.batch == 1
    first = asked + _further(asked, rates) if single else _requests(fresh, asked, called.batch, setting.partitions)
    calls = first + _retries(called, first, rates)
    return _Forecast(fresh=fresh, first=first, calls=calls, found=part_of(fresh, rates.found))


def _estimated(keys: int, error: float) -> Interval:
    return Interval.around(keys * (1 - error), keys, keys * (1 + error))


def _opened(called: Called, count: KeyCount, rates: Rates, before: Mapping[str, _Forecast]) -> Interval:
    """Fresh keys of the records that ask, or not, as others answer."""
    if not count.open_records:
        return NOTHING
    records = Interval.exactly(count.open_records)
    if count.open_keys is not None:
        most = _estimated(count.open_keys, count.relative_error).at_most(records)
    elif count.reads is not None and count.reads in before:
        most = records.at_most(before[count.reads].found)
    else:
        most = records
    if rates.asked is not None:
        return part_of(most, rates.asked)
    likely = most.likely / 2 if called.conditional or count.open_keys is not None else most.likely
    return Interval.around(0.0, likely, most.high)


def _repeats(
    called: Called, count: KeyCount, rates: Rates, *, fresh: Interval, opened: Interval, setting: Setting
) -> Interval:
    """Calls for keys that another partition asks for at the same moment, or has asked for in vain."""
    unknown = count.open_keys is None
    further = max(0.0, count.open_records - opened.high) if unknown else count.open_repeats
    most = count.repeats + (min(further, UNSHARED * opened.high) if count.once else further)
    if not most:
        return NOTHING
    at_once = min(setting.side_by_side, setting.partitions) - 1
    in_vain = _failing(called, rates, fresh, setting) * (setting.partitions - 1)
    return Interval.around(0.0, 0.0, min(most, fresh.high * at_once + in_vain))


def _requests(fresh: Interval, asked: Interval, batch: int, partitions: int) -> Interval:
    """Requests that keys share: partitions share none, so that the last one of each may not be full."""
    if fresh.high <= 0:
        return NOTHING
    high = math.inf if math.isinf(asked.high) else min(asked.high, asked.high // batch + partitions)
    likely = min(fresh.likely, fresh.likely / batch + (partitions / 2 if partitions > 1 else 0.5))
    return Interval.around(math.ceil(fresh.low / batch), likely, high)


def _further(asked: Interval, rates: Rates) -> Interval:
    """Requests for keys that take more than one."""
    return part_of(asked, rates.further) if rates.further.high <= 1 else asked.times(rates.further)


def _retries(called: Called, first: Interval, rates: Rates) -> Interval:
    """Calls that repeat one: as many as were seen, and no more than the attempts that are declared."""
    most = first.high * (called.attempts - 1) if called.attempts > 1 else 0.0
    if math.isinf(rates.retries.high):
        return Interval.around(0.0, 0.0, most)
    seen = part_of(first, rates.retries) if rates.retries.high <= 1 else first.times(rates.retries)
    return seen.at_most(Interval.exactly(most))


def _quoted(called: Called, count: KeyCount, rates: Rates, forecast: _Forecast, *, setting: Setting) -> ServiceQuote:
    records = Interval.around(
        count.records,
        count.records + count.open_records * (rates.asked.likely if rates.asked else _guess(called, count)),
        count.records + count.open_records,
    )
    per_record = records.times(_again(forecast)).scaled(1 + rates.further.likely if called.batch == 1 else 1)
    cached = count.cached + count.cached_open
    return ServiceQuote(
        service=called.service,
        api=called.api,
        records=records,
        keys=forecast.fresh + Interval.exactly(cached),
        cached=cached,
        calls=forecast.calls,
        cost=_cost(called, rates, calls=forecast.calls, first=forecast.first, keys=forecast.fresh, setting=setting),
        row_calls=per_record,
        row_cost=_row_cost(called.tariff, rates, per_record),
        rates=rates,
        after=count.after if count.open_records else (),
        estimated=count.relative_error > 0,
    )


def _guess(called: Called, count: KeyCount) -> float:
    return 0.5 if called.conditional or count.open_keys is not None else 1.0


def _again(forecast: _Forecast) -> Interval:
    """Calls for each one that does not repeat another."""
    first, calls = forecast.first, forecast.calls
    return Interval.exactly(1.0 if not first.likely else calls.likely / first.likely)


def _cost(
    called: Called, rates: Rates, *, calls: Interval, first: Interval, keys: Interval, setting: Setting
) -> Interval:
    tariff = called.tariff
    if tariff is None or not calls.high:
        return NOTHING
    billed = calls
    if tariff.billed == "answers":
        billed = Interval.around(
            max(0.0, first.low - _failing(called, rates, first, setting)), first.likely, calls.high
        )
    if tariff.record:
        # Each record of a request is paid for, and again with each repetition of it.
        again = billed.high / first.high if first.high and math.isfinite(first.high) else 1.0
        least = min(1.0, billed.low / first.low) if first.low else 0.0
        return keys.scaled(tariff.record).times(Interval.around(least, 1.0, max(1.0, again)))
    return _money(billed, tariff, rates)


def _failing(called: Called, rates: Rates, first: Interval, setting: Setting) -> float:
    """Calls that may fail in the end, which a run survives."""
    most = part_of(first, rates.failed).high
    limit = setting.most_failures.get(called.service)
    return most if limit is None else min(most, float(limit))


def _money(calls: Interval, tariff: Tariff, rates: Rates) -> Interval:
    if not tariff.from_answer:
        return calls.times(tariff.call)
    if rates.cost is None:
        return calls.times(tariff.call)
    amount = calls.times(rates.cost)
    # Where the spread was seen, the bounds of the mean hold already that few calls say little about it.
    unsure = 0.0 if rates.spread is not None else calls.high / max(rates.calls, 1)
    noise = Z * _spread(rates, tariff) * math.sqrt(calls.high * (1 + unsure))
    if math.isinf(noise) or math.isnan(noise):
        return Interval.around(0.0, amount.likely, math.inf)
    most = calls.high * tariff.call.high if math.isfinite(tariff.call.high) else math.inf
    return Interval.around(max(0.0, amount.low - noise), amount.likely, min(most, amount.high + noise))


def _spread(rates: Rates, tariff: Tariff) -> float:
    """Standard deviation of what a call costs; without one, the most that the mean and `max_price` leave room for."""
    assert rates.cost is not None
    if rates.spread is not None:
        return rates.spread
    mean, most = rates.cost.likely, tariff.call.high
    return math.sqrt(mean * max(0.0, most - mean)) if math.isfinite(most) else mean


def _row_cost(tariff: Tariff | None, rates: Rates, calls: Interval) -> Interval:
    if tariff is None:
        return NOTHING
    if tariff.record:
        return calls.scaled(tariff.record)
    return calls.times(rates.cost if tariff.from_answer and rates.cost is not None else tariff.call)
