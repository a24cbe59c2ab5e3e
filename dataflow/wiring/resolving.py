"""The passes of a run that ask for distinct keys, before its partitions are run: which, and in what order.

What is worth it is decided in `plan.resolve`; who runs a task, and what may end the run, in `driving`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from dataflow.engine.resolving import KeyRecord
from dataflow.engine.result import Completion
from dataflow.plan.graph import Graph
from dataflow.plan.partitions import PartitionSpec
from dataflow.plan.resolve import (
    Answered,
    BucketTask,
    KeyCounts,
    KeyTask,
    LookTask,
    MainTask,
    Resolved,
    Stage,
    Task,
    bucket_count,
    stages,
    told,
)
from dataflow.store.commit import RunFolder
from dataflow.store.resolve import Done, ResolveFiles, stage_folder
from dataflow.telemetry.sketches import Distinct
from dataflow.wiring.foresight import Foresight

Perform = Callable[[Sequence[Task]], "list[Completion] | None"]
"""Does tasks and gives how they ended; None where some are left, since the run is being stopped."""

STAGES: dict[type, str] = {
    LookTask: "looking at what needs no call",
    KeyTask: "finding distinct inputs",
    BucketTask: "calling distinct inputs",
}
"""What is said to be done while the tasks of a pass are."""


class Resolving:
    """Resolves the services of one run, stage after stage.

    Args:
        graph: The bound pipeline.
        folder: The run.
        specs: The partitions that are left.
        perform: Does tasks.
        threads: Partitions that can run at the same time, as far as known.
        note: Told what was decided about each service.
        foresight: Judges the records before the first call.
    """

    def __init__(
        self,
        graph: Graph,
        folder: RunFolder,
        *,
        specs: Sequence[PartitionSpec],
        perform: Perform,
        threads: Callable[[], int],
        note: Callable[[str], object],
        foresight: Foresight,
    ) -> None:
        self._graph = graph
        self._folder = folder
        self._specs = specs
        self._perform = perform
        self._threads = threads
        self._note = note
        self._foresight = foresight
        self._files = ResolveFiles(folder)
        self._answered: dict[str, Resolved] = {}
        self._without: set[str] = set()
        self.calls: dict[str, int] = {}
        """How many calls each resolved service makes in the run, as far as known."""

    def resolve(self) -> Answered | None:
        """Ask for the distinct keys of all services for which it pays; which these are, None if the run is stopped."""
        number, before = 0, list[Done]()
        while number < len(found := stages(self._graph, without=self._without)):
            folder = stage_folder(number, before)
            services = self._services(found[number])
            known = self._known(folder, services)
            planned = self._files.plan(folder) or self._plan(folder, found[number], known=known)
            if planned is None:
                return None
            chosen, buckets = planned
            self._without |= set(services) - set(chosen)
            self.calls |= {name: _counted([one[name] for one in known.values()]).distinct for name in chosen}
            if chosen:
                self._answered |= dict.fromkeys(chosen, Resolved(folder=folder, buckets=buckets))
                self._files.put_answered(self._answered)
                if not self._call(folder, chosen, buckets=buckets):
                    return None
            before = self._files.done(folder)
            number += 1
        return self._answered

    def _services(self, stage: Stage) -> tuple[str, ...]:
        return tuple(self._graph.steps[at].service.name for at in stage.called)

    def _known(self, folder: str, services: tuple[str, ...]) -> dict[str, dict[str, KeyRecord]]:
        """The keys of a stage that were collected before, and what was seen of their records by then."""
        known = self._files.key_records(folder, services)
        for spec in self._specs:
            for record in list(known.get(spec.identity, {}).values())[:1]:
                self._foresight.take(spec, record.foreseen)
        return known

    def _plan(
        self, folder: str, stage: Stage, *, known: dict[str, dict[str, KeyRecord]]
    ) -> tuple[tuple[str, ...], int] | None:
        """Collect the keys of a stage and decide which of its services are resolved; None if the run is stopped.

        Args:
            folder: Of the stage.
            stage: What is called in it.
            known: The keys of each service by partition, where they are collected; the others are added.
        """
        services = self._services(stage)
        todo = [
            KeyTask(
                spec=spec,
                folder=folder,
                services=services,
                answered=self._answered,
                ahead="no" if self._answered else self._foresight.extent(spec, stage.before),
            )
            for spec in self._specs
            if spec.identity not in known
        ]
        completed = self._perform(todo)
        if completed is None:
            return None
        known |= {one.identity: dict(one.keys) for one in completed}
        records = list(known.values())
        counts = {service: _counted([record[service] for record in records]) for service in services}
        for sentence in told(counts):
            self._note(sentence)
        chosen = tuple(service for service in services if counts[service].is_shared)
        buckets = bucket_count([counts[service] for service in chosen], threads=self._threads())
        self._files.put_plan(folder, chosen, buckets=buckets)
        return chosen, buckets

    def _call(self, folder: str, services: tuple[str, ...], *, buckets: int) -> bool:
        """Call the keys that were not called, or failed before the run was stopped; False if it is stopped again."""
        done: dict[int, Done] = {}
        for one in sorted(self._files.done(folder), key=lambda one: one.epoch):
            done[one.bucket] = one
        again = {at for at, one in done.items() if one.failed and one.epoch < self._folder.epoch}
        todo = [
            BucketTask(index=at, buckets=buckets, folder=folder, services=services, again=at in again)
            for at in range(buckets)
            if at not in done or at in again
        ]
        return self._perform(todo) is not None


def main_tasks(specs: Iterable[PartitionSpec], answered: Answered) -> list[Task]:
    """The partitions of the main pass."""
    return [MainTask(spec=spec, answered=answered) if answered else spec for spec in specs]


def _counted(records: Sequence[KeyRecord]) -> KeyCounts:
    sketch = Distinct.merged([one.sketch for one in records])
    own = sum(one.own for one in records)
    most = max((one.own for one in records), default=0)
    distinct = own if sketch is None else min(own, max(most, sketch.estimate()))
    return KeyCounts(records=sum(one.records for one in records), own=own, distinct=distinct)
