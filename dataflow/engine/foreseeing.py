"""What becomes of the records of a partition before any call: counted while nothing is paid for yet.

Whether that ends a run is not decided here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from dataflow.engine.applicability import exclude
from dataflow.engine.environment import Environment
from dataflow.engine.fate import count_services, failed_by
from dataflow.engine.marks import Mask, mask_of
from dataflow.engine.nested import Nested, fitted
from dataflow.engine.partition import run_graph
from dataflow.engine.resources import Resources
from dataflow.outcomes import Priority
from dataflow.plan.foresight import call_free, partly_free
from dataflow.plan.graph import Step
from dataflow.plan.partitions import Batch
from dataflow.telemetry.durations import Durations
from dataflow.telemetry.statistics import ServiceStatistics, Statistics


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """Records as services that wait for no call have left them.

    Attributes:
        counts: Of the records and of these services.
        rejected: Records that each of them was the first to reject, since it failed.
    """

    counts: Statistics = field(default_factory=Statistics)
    rejected: Mapping[str, int] = field(default_factory=dict)

    @property
    def unreadable(self) -> int:
        """Records that could not be read."""
        return self.counts.failed_records - sum(self.rejected.values())

    @classmethod
    def merged(cls, parts: Iterable[Foreseen]) -> Foreseen:
        """Those of all parts."""
        listed = list(parts)
        rejected: dict[str, int] = {}
        for part in listed:
            for name, records in part.rejected.items():
                rejected[name] = rejected.get(name, 0) + records
        return cls(counts=Statistics.merged([part.counts for part in listed]), rejected=rejected)

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain JSON values."""
        return {"counts": self.counts.to_dict(), "rejected": dict(self.rejected)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Foreseen:
        """What `to_dict` wrote."""
        return cls(counts=Statistics.from_dict(values["counts"]), rejected=values["rejected"])


def foresee(
    environment: Environment,
    steps: Collection[int],
    *,
    resources: Resources | None = None,
    batch: Batch | None = None,
    path: str = "",
) -> Foreseen:
    """Count the records of a partition after the services that wait for no call.

    Args:
        environment: The partition; at least these services have run.
        steps: Their places.
        resources: What is needed to run what waits for no call inside a `for_each`; None to leave it out.
        batch: What was read, or None where that does not matter.
        path: The source file.
    """
    graph = environment.graph
    ran = [step for step in graph.steps if step.index in steps]
    gone = environment.rejected_by([step.index for step in ran])
    rejected = failed_by(environment, ran, rejected=gone)
    services = count_services(environment, ran, batch=batch, path=path)
    for step, lost in [] if resources is None else _all_lost_inside(environment, resources):
        services[step.service.name] = _counted(step, lost, size=environment.size)
        fresh = lost & ~gone if step.service.policy.priority is Priority.CRITICAL else np.zeros_like(gone)
        rejected |= {step.service.name: int(fresh.sum())} if fresh.any() else {}
        gone = gone | fresh
    unreadable = 0 if batch is None else len(batch.unreadable)
    return Foreseen(
        counts=Statistics(
            total_records=environment.size + unreadable,
            failed_records=sum(rejected.values()) + unreadable,
            services={name: replace(part, duration=Durations()) for name, part in services.items()},
        ),
        rejected=rejected,
    )


def _all_lost_inside(environment: Environment, resources: Resources) -> list[tuple[Step, Mask]]:
    return [(step, _lost_inside(step, environment, resources)) for step in partly_free(environment.graph)]


def _lost_inside(step: Step, environment: Environment, resources: Resources) -> Mask:
    """The records for which a `for_each` fails, whatever is answered to the calls inside it."""
    assert step.nest is not None
    rows = exclude(step, environment).rows
    nested, inside = Nested(step.nest, environment, rows=rows), fitted(resources, step)
    unknown: set[str] = set()
    if step.nest.record is not None:
        free = call_free(step.nest.record)
        done = run_graph(step.nest.record, nested.given, inside.pop(0), only=free, taints=nested.taints)
        unknown = {column.name for column in step.nest.record.last if not done.has(column)}
        nested.begin(done)
    if step.nest.items is not None:
        free = call_free(step.nest.items, unknown=unknown)
        items = nested.items_table()
        nested.go_on(run_graph(step.nest.items, items, inside.pop(0), only=free, taints=nested.item_taints()))
    lost = nested.lost()
    return mask_of(lost if rows is None else rows[lost], environment.size)


def _counted(step: Step, lost: Mask, *, size: int) -> ServiceStatistics:
    policy, failed = step.service.policy, int(lost.sum())
    return ServiceStatistics(
        kind=step.service.kind, priority=policy.priority, records=size, failed=failed, succeeded=size - failed
    )
