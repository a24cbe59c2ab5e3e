"""Judges the records of a run before anything is paid for them: what is known by then, and what is still to see.

They are looked at by the passes of the run, and which guardrail is reached is decided in `guarding`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Literal

from dataflow.engine.foreseeing import Foreseen
from dataflow.plan.foresight import FIRST, Outlook, call_free, first_of, is_costly, waves
from dataflow.plan.partitions import PartitionSpec
from dataflow.plan.resolve import LookTask, MainTask, Task
from dataflow.telemetry.statistics import Statistics
from dataflow.wiring.guarding import certain
from dataflow.wiring.planning import Planned


class Foresight:
    """What is known of the records of one run, as services have left them that wait for no call.

    Args:
        planned: The job, bound to its source.
        run: The id of the run.
        judges: Whether something may be called, and so be called in vain.
    """

    def __init__(self, planned: Planned, *, run: str, judges: bool) -> None:
        self._planned = planned
        self._run = run
        self._judges = judges and is_costly(planned.graph)
        self._free = call_free(planned.graph)
        self._names = {planned.graph.steps[at].service.name for at in self._free}
        self._first = {spec.identity for spec in first_of(planned.source.specs)}
        self._known: set[str] = set()
        self._sum = Statistics()

    def extent(self, spec: PartitionSpec, needed: Collection[int]) -> Literal["no", "needed", "all"]:
        """How much of a partition is looked at while its keys are collected, which takes the steps named anyway."""
        if not self._judges:
            return "no"
        return "all" if spec.identity in self._first or self._free <= set(needed) else "needed"

    def looks(self, left: Sequence[PartitionSpec], *, threads: int) -> Iterator[list[LookTask]]:
        """What is looked at before the first call where no pass does so anyway, in groups, until it is enough."""
        todo = [spec for spec in left if spec.identity in self._first - self._known] if self._judges else []
        for wave in waves(todo, size=threads):
            if self._sum.total_records < FIRST:
                yield [LookTask(spec=spec) for spec in wave]

    def take(self, spec: PartitionSpec, foreseen: Foreseen | None) -> None:
        """Take in what became of the records of a partition before any call."""
        if foreseen is not None and self._judges:
            self._add(spec.identity, foreseen.counts)

    def commit(self, identity: str, counts: Statistics) -> None:
        """Take in a partition that is done, unless it was looked at before."""
        if self._judges:
            services = {name: part for name, part in counts.services.items() if name in self._names}
            self._add(identity, replace(counts, services=services, columns={}))

    def _add(self, identity: str, counts: Statistics) -> None:
        if identity not in self._known:
            self._known.add(identity)
            self._sum = Statistics.merged([self._sum, counts])

    def reached(self) -> str | None:
        """The guardrail that is certain to be reached by what was looked at, in words."""
        if not self._known:
            return None
        job, graph = self._planned.job, self._planned.graph
        return certain(job.guardrails, graph, run=self._run, counts=self._sum, records=self._records())

    def fit(self, task: Task) -> Task:
        """A partition with what it is judged by before its calls, where it was not looked at."""
        if not self._judges or not isinstance(task, MainTask | PartitionSpec) or task.identity in self._known:
            return task
        others = self._others(task if isinstance(task, PartitionSpec) else task.spec)
        if others is None:
            return task
        main = task if isinstance(task, MainTask) else MainTask(spec=task, answered={})
        return replace(main, outlook=self._outlook(others))

    def _outlook(self, others: int) -> Outlook:
        most = self._planned.job.guardrails.max_failures
        return Outlook(max_failures=most, others=others, before=self._sum.to_dict())

    def _records(self) -> int:
        """Records of the run, as far as known."""
        if self._planned.rows is not None:
            return self._planned.rows
        return self._sum.total_records * len(self._planned.source.specs) // max(1, len(self._known))

    def _others(self, spec: PartitionSpec) -> int | None:
        """Records of all other partitions; None where nothing tells."""
        if len(self._planned.source.specs) == 1:
            return 0
        if self._planned.rows is not None:
            return self._planned.rows - spec.rows
        return (
            max(self._sum.total_records, self._records() - self._records() // len(self._planned.source.specs)) or None
        )
