"""How services have answered before: in the newest version of a dataset, or in a sample that was just taken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from dataflow.engine.marks import Effect
from dataflow.errors import DataflowError
from dataflow.outcomes import Status
from dataflow.plan.graph import Graph, Step
from dataflow.plan.intervals import Interval
from dataflow.plan.quote import KeyCount
from dataflow.plan.rates import Seen
from dataflow.store.catalog import Catalog
from dataflow.telemetry.durations import Durations
from dataflow.wiring.durations import LOOKED_BACK

if TYPE_CHECKING:
    from dataflow.wiring.trial import Trial

ENOUGH = 30
"""Keys of a sample from which it says more about a service than what was seen long ago."""

_ByService = Mapping[str, Mapping[str, Any]]
_CALLED = ("succeeded", "not_found", "failed", "timed_out")
_ASKED = (*_CALLED, "cached")


def seen_in_version(catalog: Catalog, output: str, graph: Graph, counts: Mapping[str, KeyCount]) -> dict[str, Seen]:
    """What the newest version of a dataset says of the services that it was made by; nothing where there is none.

    Args:
        catalog: Where the dataset is.
        output: Its name.
        graph: The bound pipeline.
        counts: What the services would be asked now.
    """
    with suppress(DataflowError):
        if not catalog.has(output):
            return {}
        version, reports, called = _reports(catalog, output, counts)
        origin = f"{output}@v{version}"
        seen = {
            name: _reported(reports[name], origin, called=called.get(name, {})) for name in counts if name in reports
        }
        asked = {name: sum(reports[name].get(one, 0) for one in _ASKED) for name in seen}
        return {name: _with_could(one, graph, counts[name], seen, asked) for name, one in seen.items()}
    return {}


def _reports(catalog: Catalog, output: str, names: Iterable[str]) -> tuple[int, _ByService, _ByService]:
    """What there is of services: the newest version and what it says, and what the newest says that has called each.

    A version that is answered by the cache, or takes partitions over, says nothing of what a call costs or takes.
    """
    newest: tuple[int, _ByService] | None = None
    called: dict[str, Mapping[str, Any]] = {}
    for number, report in islice(catalog.reports(output), LOOKED_BACK):
        services = report["services"]
        newest = newest or (number, services)
        called |= {name: services[name] for name in {*names} - called.keys() if services.get(name, {}).get("calls")}
        if called.keys() >= {*names} & newest[1].keys():
            break
    number, services = newest or (0, {})
    return number, services, called


def _reported(report: Mapping[str, Any], origin: str, *, called: Mapping[str, Any]) -> Seen:
    """What a report says of a service, and `called` of its calls, which may have been made for an earlier version."""
    records = sum(report.get(one, 0) for one in _ASKED)
    keys = max(0, records - report.get("deduplicated", 0))
    shares = {name: report.get(name, 0) / records if records else 0.0 for name in _ASKED}
    duration = called.get("duration", {})
    middle = duration.get("p50")
    return Seen(
        origin=origin,
        keys=keys,
        found=round(keys * (shares["succeeded"] + shares["cached"])),
        failed=round(keys * (shares["failed"] + shares["timed_out"])),
        called=max(0, sum(called.get(one, 0) for one in _CALLED) - called.get("deduplicated", 0)),
        calls=called.get("calls", 0),
        retries=called.get("retries", 0),
        cost=called.get("cost", 0.0),
        seconds=Interval.around(0.7 * middle, middle, duration.get("p95") or middle) if middle else None,
    )


def seen_in_sample(trial: Trial, counts: Mapping[str, KeyCount], before: Mapping[str, Seen]) -> dict[str, Seen]:
    """What a sample says of the services, unless it has hardly asked one that is known from before."""
    graph, environment = trial.prepared.graph, trial.environment
    steps = {step.service.name: step for step in graph.steps if step.service.name in counts}
    origin = f"sample of {environment.size}"
    seen = {name: _sampled(environment.effects[step.index], environment.size, origin) for name, step in steps.items()}
    asked = {name: len(_asked(environment.effects[step.index], environment.size)) for name, step in steps.items()}
    inside = {
        member.service.name: member.statistics.report()
        for effect in environment.effects.values()
        for member in effect.members
        if member.service.name in counts
    }
    seen |= {name: _reported(report, origin, called=report) for name, report in inside.items()}
    asked |= {name: sum(report[one] for one in _ASKED) for name, report in inside.items()}
    whole = {name: _with_could(one, graph, counts[name], seen, asked) for name, one in seen.items()}
    return {name: one for name, one in whole.items() if one.keys >= ENOUGH or name not in before}


def _asked(effect: Effect, size: int) -> set[int]:
    skipped = {int(row) for mark in effect.marks if mark.status is Status.SKIPPED for row in mark.rows}
    return set(range(size)) - skipped


def _sampled(effect: Effect, size: int, origin: str) -> Seen:
    keys = _asked(effect, size) - {int(row) for row in effect.shared}
    missed = {int(row) for mark in effect.marks if mark.status is Status.NOT_FOUND for row in mark.rows}
    cached = {int(row) for mark in effect.marks if mark.status is Status.CACHED for row in mark.rows}
    failed = {one.row for one in effect.failures}
    durations = Durations.of(effect.durations)
    middle = durations.percentile(0.5)
    return Seen(
        origin=origin,
        keys=len(keys),
        found=len(keys - missed - failed),
        failed=len(keys & failed),
        called=len(keys - cached),
        calls=effect.calls,
        retries=effect.retries,
        cost=effect.cost,
        seconds=Interval.around(0.7 * middle, middle, durations.percentile(0.95) or middle) if middle else None,
    )


def _with_could(one: Seen, graph: Graph, count: KeyCount, seen: Mapping[str, Seen], asked: Mapping[str, int]) -> Seen:
    """With the keys that it could have been asked for, as far as the services before it tell.

    Args:
        one: What was seen of a service.
        graph: The bound pipeline.
        count: What it would be asked now, and who decides about that.
        seen: What was seen of all.
        asked: Records that asked each of them.
    """
    deciding = [name for name in count.after if name in seen]
    if not deciding:
        return one
    if count.reads in seen and count.reads is not None:
        return replace(one, could=max(one.keys, seen[count.reads].found))
    before = deciding[-1]
    steps: dict[str, Step] = {step.service.name: step for step in graph.every}
    if set(steps[before].inputs) == set(steps[count.service].inputs):
        return replace(one, could=max(one.keys, seen[before].keys))
    share = asked[count.service] / asked[before] if asked[before] else 0.0
    return replace(one, could=round(one.keys / min(1.0, share)) if share else 0)
