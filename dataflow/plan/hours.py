"""How long calls take under the limits of their API, which limit binds, and what raising it would give. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dataflow.plan.intervals import Interval
from dataflow.policies.rate import TOLERANCE, Rate

MOST = 256
"""Calls in flight of an API that names no cap."""

_RAISED = 4
"""By how much a limit is raised to tell what that would give."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What an API lets through.

    Attributes:
        rates: All hold.
        concurrency: Calls in flight, or None for no limit.
    """

    rates: tuple[Rate, ...] = ()
    concurrency: int | None = None

    @property
    def paced(self) -> Capacity:
        """The same without its long windows."""
        return replace(self, rates=tuple(rate for rate in self.rates if rate.paced))

    def without(self, rate: Rate) -> Capacity:
        """The same without one of its rates."""
        return replace(self, rates=tuple(one for one in self.rates if one != rate))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The calls of one service.

    Attributes:
        service: Its name.
        api: The API whose limits it shares, or None for a function without one.
        calls: All of them.
        seconds: Of one.
        after: The services that call out whose answers it waits for.
    """

    service: str
    api: str | None
    calls: Interval
    seconds: Interval
    after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """The limit that decides how long a run calls.

    Attributes:
        api: The API whose limit it is, or None where functions without an API decide.
        limit: `concurrency 16`, `100/s`; empty without an API.
        raised: What it might be raised to: `at 64`, or `without it`.
        seconds: How long the run would likely call then.
    """

    api: str | None
    limit: str = ""
    raised: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    """How long a run calls.

    Attributes:
        seconds: Of all calls together.
        binding: The limit that decides; None where nothing is called.
    """

    seconds: Interval
    binding: Binding | None = None


@dataclass(frozen=True, slots=True)
class _Load:
    """Calls of an API: how many, and the seconds of all of them one after the other."""

    calls: float
    seconds: float


def hours(stages: Sequence[Stage], capacities: Mapping[str, Capacity], *, partitions: int, told: bool = True) -> Hours:
    """How long all calls take.

    APIs work side by side. Services that wait for each other add up for one partition; with many of them, one calls
    for the next partition while the other calls for this one.

    Args:
        stages: In listed order.
        capacities: By name of the API.
        partitions: Of the source.
        told: Whether to tell what binds.
    """
    ends = [_whole(stages, capacities, bound, partitions=partitions) for bound in ("low", "likely", "high")]
    binding = _binding(stages, capacities, partitions) if told and ends[1] > 0 else None
    return Hours(seconds=Interval.around(*ends), binding=binding)


def _whole(stages: Sequence[Stage], capacities: Mapping[str, Capacity], bound: str, *, partitions: int) -> float:
    loads = {one.service: _load(one, bound) for one in stages}
    longest = max(_by_api(stages, loads, capacities).values(), default=0.0)
    path = _path(stages, loads, capacities)
    if bound == "low":
        return longest
    if bound == "high":
        return max(longest, path)
    return longest + max(0.0, path - longest) / max(1, partitions)


def _load(stage: Stage, bound: str) -> _Load:
    calls, seconds = getattr(stage.calls, bound), getattr(stage.seconds, bound)
    return _Load(calls, calls * seconds if calls else 0.0)


def _by_api(
    stages: Sequence[Stage], loads: Mapping[str, _Load], capacities: Mapping[str, Capacity]
) -> dict[str | None, float]:
    sums: dict[str | None, _Load] = {}
    for one in stages:
        before, more = sums.get(one.api, _Load(0, 0)), loads[one.service]
        sums[one.api] = _Load(before.calls + more.calls, before.seconds + more.seconds)
    return {api: _through(load, _capacity(api, capacities))[0] for api, load in sums.items()}


def _path(stages: Sequence[Stage], loads: Mapping[str, _Load], capacities: Mapping[str, Capacity]) -> float:
    ends: dict[str, float] = {}
    for one in stages:
        begins = max((ends[name] for name in one.after if name in ends), default=0.0)
        ends[one.service] = begins + _through(loads[one.service], _capacity(one.api, capacities))[0]
    return max(ends.values(), default=0.0)


def _capacity(api: str | None, capacities: Mapping[str, Capacity]) -> Capacity:
    return capacities.get(api, Capacity()) if api is not None else Capacity()


def _through(load: _Load, capacity: Capacity) -> tuple[float, Rate | int | None]:
    """Seconds until all calls are through, and the rate or the number of calls in flight that decides."""
    if load.calls <= 0:
        return 0.0, None
    in_flight = MOST if capacity.concurrency is None else capacity.concurrency
    one_call = load.seconds / load.calls
    found: list[tuple[float, Rate | int | None]] = [(max(load.seconds / in_flight, one_call), in_flight)]
    # What a call uses of a rate of tokens is not known beforehand.
    rates = [rate for rate in capacity.rates if rate.unit == "calls"]
    found += [(load.calls * rate.period * (1 + TOLERANCE) / rate.count, rate) for rate in rates if rate.paced]
    found += [_counted(load, rate, capacity) for rate in rates if not rate.paced]
    return max(found, key=lambda one: one[0])


def _counted(load: _Load, rate: Rate, capacity: Capacity) -> tuple[float, Rate]:
    """A long window: what fits goes at once, the rest waits for the next one."""
    waits = math.ceil(load.calls / rate.count) - 1 if math.isfinite(load.calls) else math.inf
    if waits <= 0:
        return 0.0, rate
    if math.isinf(waits):
        return math.inf, rate
    rest = load.calls - waits * rate.count
    left = _Load(rest, load.seconds * rest / load.calls)
    return waits * (rate.period + rate.piece) + _through(left, capacity.without(rate))[0], rate


def _binding(stages: Sequence[Stage], capacities: Mapping[str, Capacity], partitions: int) -> Binding:
    loads = {one.service: _load(one, "likely") for one in stages}
    by_api = _by_api(stages, loads, capacities)
    api = max(by_api, key=lambda name: by_api[name])
    if api is None:
        return Binding(api=None)
    own = [loads[one.service] for one in stages if one.api == api]
    capacity = _capacity(api, capacities)
    limit = _through(_Load(sum(one.calls for one in own), sum(one.seconds for one in own)), capacity)[1]
    raised, told = _raised(capacity, limit)
    after = hours(stages, {**capacities, api: raised}, partitions=partitions, told=False).seconds.likely
    name = limit.text if isinstance(limit, Rate) else f"concurrency {limit}"
    return Binding(api=api, limit=name, raised=told, seconds=after)


def _raised(capacity: Capacity, limit: Rate | int | None) -> tuple[Capacity, str]:
    if isinstance(limit, Rate):
        if not limit.paced:
            return capacity.without(limit), "without it"
        more = replace(limit, count=limit.count * _RAISED)
        rates = tuple(more if one == limit else one for one in capacity.rates)
        return replace(capacity, rates=rates), f"at {more.text}"
    raised = (limit or MOST) * _RAISED
    return replace(capacity, concurrency=raised), f"at {raised}"
