"""What of an earlier version a run would give again: its plan, the records that nothing failed for, answers that serve.

The run that finds out has the lock of the output. What is taken over is moved by the store.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dataflow.engine.keys import is_unlike
from dataflow.plan.fingerprint import changes
from dataflow.plan.graph import Graph, Step
from dataflow.plan.partitions import PartitionSpec
from dataflow.store.commit import CommitRecord, RunFolder
from dataflow.store.dataset import Dataset
from dataflow.store.writing import totals
from dataflow.telemetry.services import ServiceStatistics
from dataflow.telemetry.statistics import Statistics
from dataflow.wiring.memory import reads_context, recalled
from dataflow.wiring.planning import Planned
from dataflow.wiring.sending import sending_again


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenOver:
    """Partitions that a run has taken over as they were.

    Attributes:
        records: Their commit records, by identity.
        note: What is said of it, in one line.
    """

    records: Mapping[str, CommitRecord]
    note: str


def is_attempted(version: Dataset) -> bool:
    """Whether every service was attempted for every record of a version."""
    return not version.statistics["not_attempted_records"]


def is_planned_alike(version: Dataset, planned: Planned) -> bool:
    """Whether a version was made under the same plan but for its source."""
    return set(changes(version.manifest["fingerprints"], planned.fingerprints)) <= {"source"}


def asked(graph: Graph) -> frozenset[str]:
    """The services that have an API."""
    return frozenset(step.service.name for step in graph.every if step.service.api is not None)


def changed_since(version: Dataset, planned: Planned, *, recall: Sequence[str], now: float) -> str | None:
    """Why a run of a plan may give something else than a version holds, in words; None where it cannot.

    What failed in a service that calls nothing would fail again.

    Args:
        version: The version.
        planned: The plan.
        recall: The services that shall be called again.
        now: In seconds since 1970.
    """
    if recall:
        return f"`{recall[0]}` is recalled"
    if version.limit != planned.limit and version.limit is not None:
        return f"it is limited to the first {version.limit:,} records"
    if parts := changes(version.manifest["fingerprints"], planned.fingerprints):
        return f"changed: {', '.join(parts)}"
    counts = totals(version.records().values())
    calling = [step.service.name for step in planned.graph.every if step.service.calls_out]
    return _varying(planned.graph) or _failed(counts, calling) or _expired(counts, planned.graph, now=now)


def take_over(
    folder: RunFolder, planned: Planned, specs: Sequence[PartitionSpec], *, version: Dataset, now: float
) -> TakenOver:
    """Let a run have the partitions of a version that it would give again.

    Args:
        folder: The run.
        planned: Its plan.
        specs: The partitions that are not committed yet.
        version: Where they are taken from.
        now: In seconds since 1970.
    """
    whole = _refusal(folder, planned, version)
    before = {} if whole is not None else version.records()
    refused: dict[str, str] = {}
    for spec in specs:
        record = before.get(spec.identity)
        reason = None if record is None else _refused(record.counts.statistics, planned.graph, now=now)
        if reason is not None:
            refused[spec.identity] = reason
    good = [spec for spec in specs if spec.identity in before and spec.identity not in refused]
    taken = folder.carry_over(good, version, asked=asked(planned.graph)) if good else {}
    reasons = [whole] if whole is not None else list(refused.values())
    note = f"{len(taken)} of {len(planned.source.specs)} partitions taken over from v{version.version}"
    return TakenOver(records=taken, note=f"{note}; not the others: {reasons[0]}" if reasons else note)


def _refusal(folder: RunFolder, planned: Planned, version: Dataset) -> str | None:
    """Why nothing at all of a version is taken over."""
    if not is_planned_alike(version, planned):
        return f"changed: {', '.join(changes(version.manifest['fingerprints'], planned.fingerprints))}"
    if late := recalled(folder):
        return f"`{next(iter(late))}` is recalled"
    if again := sending_again(folder):
        return f"what `{next(iter(again))}` has sent is sent again"
    return _varying(planned.graph)


def _varying(graph: Graph) -> str | None:
    """Why the same records may get something else in every run."""
    for step in graph.every:
        if reads_context(step):
            return f"`{step.service.name}` is given what differs from run to run (flow.Context)"
    for step in _answering(graph):
        if step.service.policy.cache is None:
            return f"`{step.service.name}` keeps no answers for other runs (cache=False)"
        if is_unlike(step):
            return f"`{step.service.name}` is called for every record"
    return None


def _refused(counts: Statistics, graph: Graph, *, now: float) -> str | None:
    """Why a partition is done again."""
    if counts.failed_records:
        return f"{counts.failed_records:,} records were rejected for a failure"
    return _failed(counts, counts.services) or _expired(counts, graph, now=now)


def _failed(counts: Statistics, services: Sequence[str] | Mapping[str, ServiceStatistics]) -> str | None:
    """Which of some services would be asked again."""
    for name in services:
        part = counts.services.get(name)
        lacking = 0 if part is None else part.failed + part.timed_out + part.not_attempted
        if lacking:
            return f"`{name}` failed for {lacking:,} records"
    return None


def _expired(counts: Statistics, graph: Graph, *, now: float) -> str | None:
    """Which answers do not serve any more."""
    for step in _answering(graph):
        part, policy = counts.services.get(step.service.name), step.service.policy.cache
        if part is None or policy is None or not (have := part.succeeded + part.cached + part.not_found):
            continue
        if have != part.given.records:
            return f"not all answers of `{step.service.name}` are kept"
        for moment, found in ((part.given.found, True), (part.given.missed, False)):
            if moment is not None and moment < policy.serves_since(now, found=found):
                return f"answers of `{step.service.name}` have expired"
    return None


def _answering(graph: Graph) -> Iterator[Step]:
    """The services that are answered by the cache; what may be sent only once is not sent again anyway."""
    return (step for step in graph.every if step.service.api is not None and step.service.repeatable)
