"""What becomes of the records of a partition before any call: counted while nothing is paid for yet.

Whether that ends a run is not decided here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from dataflow.engine.environment import Environment
from dataflow.engine.fate import count_services, failed_by
from dataflow.plan.partitions import Batch
from dataflow.telemetry.durations import Durations
from dataflow.telemetry.statistics import Statistics


@dataclass(frozen=True, slots=True, kw_only=True)
class Prelude:
    """What comes before the calls of a partition.

    Attributes:
        steps: The places of the steps that run first.
        judge: Told how the partition stands then; what it raises ends the run before a call.
    """

    steps: Collection[int]
    judge: Callable[[Environment], object]


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
    environment: Environment, steps: Collection[int], *, batch: Batch | None = None, path: str = ""
) -> Foreseen:
    """Count the records of a partition after the services that wait for no call.

    Args:
        environment: The partition; at least these services have run.
        steps: Their places.
        batch: What was read, or None where that does not matter.
        path: The source file.
    """
    ran = [step for step in environment.graph.steps if step.index in steps]
    rejected = failed_by(environment, ran, rejected=environment.rejected_by([step.index for step in ran]))
    services = count_services(environment, ran, batch=batch, path=path)
    unreadable = 0 if batch is None else len(batch.unreadable)
    return Foreseen(
        counts=Statistics(
            total_records=environment.size + unreadable,
            failed_records=sum(rejected.values()) + unreadable,
            services={name: replace(part, duration=Durations()) for name, part in services.items()},
        ),
        rejected=rejected,
    )
