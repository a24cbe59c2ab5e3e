"""The counts of a run: values that merge over partitions, their JSON state and their public form.

Standard library only, since every process that touches a run imports it. Nothing here counts: the engine
does, and gives the numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from operator import attrgetter
from typing import Any

from dataflow.outcomes import Kind
from dataflow.policies.money import cleaned
from dataflow.telemetry.columns import ColumnStatistics
from dataflow.telemetry.durations import Durations
from dataflow.telemetry.report import Report
from dataflow.telemetry.services import STATUSES, ServiceStatistics, Streak, Waited, added

__all__ = ["ColumnStatistics", "Durations", "ServiceStatistics", "Statistics", "Streak", "Waited", "unbalanced"]

_COUNTS = (
    "total_records",
    "valid_records",
    "invalid_records",
    "rejected_records",
    "not_attempted_records",
    "degraded_records",
    "batches_processed",
    "completeness_count",
    "failed_records",
)
_MERGED_AT_ONCE = 256

_counts = attrgetter(*_COUNTS)
_statuses: Callable[[ServiceStatistics], tuple[int, ...]] = attrgetter(*STATUSES)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Statistics:
    """The counts of a partition or of a run; `Statistics()` is zero.

    Attributes:
        total_records: Records read, unreadable ones too; output and rejects together.
        valid_records: Records of the output that no validation judged invalid.
        invalid_records: The other records of the output.
        rejected_records: Records in the rejects.
        not_attempted_records: Records that lack a service because the run was stopped before; in output or rejects.
        degraded_records: Records of the output that lack an important service.
        batches_processed: Partitions.
        completeness_sum: Sum of the completeness of the records that have one.
        completeness_count: How many records have one.
        failed_records: Rejected records that a failure has rejected or that could not be read, and no verdict;
            no part of the public form.
        cost: Money over all services.
        currency: Of the cost; empty where no service has a price.
        services: By name, in listed order; read only.
        columns: By name, in the order of the output; read only.
    """

    total_records: int = 0
    valid_records: int = 0
    invalid_records: int = 0
    rejected_records: int = 0
    not_attempted_records: int = 0
    degraded_records: int = 0
    batches_processed: int = 0
    completeness_sum: float = 0.0
    completeness_count: int = 0
    failed_records: int = 0
    cost: float = 0.0
    currency: str = ""
    services: Mapping[str, ServiceStatistics] = field(default_factory=dict)
    columns: Mapping[str, ColumnStatistics] = field(default_factory=dict)

    @property
    def output_records(self) -> int:
        """Records in the output."""
        return self.valid_records + self.invalid_records

    @property
    def completeness(self) -> float | None:
        """Mean completeness of the records that have one, or None."""
        return self.completeness_sum / self.completeness_count if self.completeness_count else None

    @property
    def transformations_applied(self) -> int:
        """Records that a transformation succeeded for, once for each transformation."""
        return self._answered(Kind.TRANSFORMATION)

    @property
    def validations_run(self) -> int:
        """Records that a validation has judged, once for each validation."""
        return self._answered(Kind.VALIDATION)

    @property
    def enrichments_added(self) -> int:
        """Records that an enrichment found something for, fresh or cached, once for each enrichment."""
        return self._answered(Kind.ENRICHMENT)

    def _answered(self, kind: Kind) -> int:
        counted = [part for part in self.services.values() if part.kind == kind and not part.member_of]
        return sum(part.succeeded + part.cached for part in counted)

    def merge(self, other: Statistics) -> Statistics:
        """The counts of both; the order does not matter and nothing is estimated.

        Raises:
            StoreError: They come from different plans.
        """
        return _merged((self, other))

    @property
    def lost_cost(self) -> float:
        """Money that went into lost or repeated work, over all services."""
        return cleaned(math.fsum(part.lost_cost for part in self.services.values()))

    def billed(self, called: Mapping[str, ServiceStatistics], *, currency: str = "") -> Statistics:
        """The same records with what was really called, by service; see `ServiceStatistics.billed`.

        Args:
            called: The calls of all processes by service; a service that is missing keeps its own.
            currency: Of the money, where no record says it.
        """
        none = Statistics(services=called).unpaid().services
        known = {**self.services, **{name: one for name, one in none.items() if name not in self.services}}
        services = {name: one.billed(called[name]) if name in called else one for name, one in known.items()}
        more = math.fsum(services[name].cost - known[name].cost for name in called)
        return replace(self, services=services, cost=cleaned(self.cost + more), currency=self.currency or currency)

    def unpaid(self) -> Statistics:
        """The same without calls and money: durations and waiting of calls that are counted elsewhere."""
        return replace(self, cost=0.0, services={name: one.unpaid() for name, one in self.services.items()})

    @classmethod
    def merged(cls, parts: Iterable[Statistics]) -> Statistics:
        """The counts of all parts, faster than merging them one by one; holds at most 256 at a time.

        Raises:
            StoreError: They come from different plans.
        """
        rest = iter(parts)
        total = cls()
        while chunk := list(islice(rest, _MERGED_AT_ONCE)):
            total = _merged((total, *chunk))
        return total

    def as_taken_over(self, asked: Collection[str]) -> Statistics:
        """The counts of a partition for a run that takes it over as it was: its records, and nothing that was paid.

        Args:
            asked: The services that have an API.
        """
        services = {name: part.as_taken_over(asked=name in asked) for name, part in self.services.items()}
        return replace(self, cost=0.0, services=services)

    def to_dict(self) -> dict[str, Any]:
        """The mergeable state as plain JSON values; what is 0 or empty is left out."""
        state: dict[str, Any] = dict(zip(_COUNTS, _counts(self), strict=True))
        state["completeness_sum"] = self.completeness_sum
        state["cost"], state["currency"] = self.cost, self.currency
        state["services"] = {name: part.to_dict() for name, part in self.services.items()}
        state["columns"] = {name: part.to_dict() for name, part in self.columns.items()}
        return {name: value for name, value in state.items() if value}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Statistics:
        """The statistics that `to_dict` wrote."""
        services = values.get("services", {}).items()
        columns = values.get("columns", {}).items()
        parts = {
            "services": {name: ServiceStatistics.from_dict(part) for name, part in services},
            "columns": {name: ColumnStatistics.from_dict(part) for name, part in columns},
        }
        return cls(**{**values, **parts})

    def report(self, duration: float) -> Report:
        """The public form, as `statistics.json` and `run.statistics` show it.

        Counts are exact; percentiles and distinct values are estimates and carry their `relative_error`.

        Args:
            duration: Seconds of the whole run.
        """
        values: dict[str, Any] = {
            **{name: getattr(self, name) for name in _COUNTS[:6]},
            "transformations_applied": self.transformations_applied,
            "validations_run": self.validations_run,
            "enrichments_added": self.enrichments_added,
            "batches_processed": self.batches_processed,
            "total_duration": round(duration, 3),
            "records_per_second": round(self.total_records / duration, 1) if duration > 0 else None,
            "completeness": None if self.completeness is None else round(self.completeness, 6),
            "cost": cleaned(self.cost),
            **({"currency": self.currency} if self.currency else {}),
            **({"lost_cost": self.lost_cost} if self.lost_cost else {}),
            "services": {name: part.report() for name, part in self.services.items()},
            "columns": {name: part.report() for name, part in self.columns.items()},
        }
        return Report(values)

    def __repr__(self) -> str:
        return (
            f"Statistics({self.total_records:,} records: {self.valid_records:,} valid, "
            f"{self.invalid_records:,} invalid, {self.rejected_records:,} rejected; "
            f"{len(self.services)} services, {len(self.columns)} columns)"
        )


def called_in(report: Mapping[str, Any]) -> dict[str, ServiceStatistics]:
    """What was called by service, as the public form of statistics tells it."""
    names = ("kind", "priority", "member_of", "calls", "retries", "cost", "tokens")
    services: Mapping[str, Mapping[str, Any]] = report["services"]
    return {
        name: ServiceStatistics.from_dict({one: part[one] for one in names if one in part})
        for name, part in services.items()
    }


def _by_name(parts: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
    groups: dict[str, list[Any]] = {}
    for part in parts:
        for name, value in part.items():
            groups.setdefault(name, []).append(value)
    return groups


def _merged(parts: Sequence[Statistics]) -> Statistics:
    counts = dict(zip(_COUNTS, added(map(_counts, parts)), strict=True))
    services = _by_name(part.services for part in parts)
    columns = _by_name(part.columns for part in parts)
    return Statistics(
        **counts,
        completeness_sum=math.fsum(part.completeness_sum for part in parts),
        cost=cleaned(math.fsum(part.cost for part in parts)),
        currency=next((part.currency for part in parts if part.currency), ""),
        services={name: ServiceStatistics.merged(name, group) for name, group in services.items()},
        columns={name: ColumnStatistics.merged(name, group) for name, group in columns.items()},
    )


def unbalanced(statistics: Statistics, *, output: int | None = None, rejects: int | None = None) -> list[str]:
    """Every sum that does not add up, in words; empty where all do.

    Args:
        statistics: What was counted, of a partition or of a run.
        output: Rows of the output table, where known: an independent count.
        rejects: Rows of the rejects table, where known.
    """
    found = statistics
    kept = found.output_records
    sums: list[tuple[str, int, str, int]] = [
        ("valid + invalid + rejected", kept + found.rejected_records, "total records", found.total_records)
    ]
    if output is not None:
        sums.append(("valid + invalid", kept, "rows of the output", output))
    if rejects is not None:
        sums.append(("rejected", found.rejected_records, "rows of the rejects", rejects))
    for name, part in found.services.items():
        sums.append((f"service {name}: its statuses", sum(_statuses(part)), "its records", part.records))
    return [f"{left} = {a:,}, but {right} = {b:,}" for left, a, right, b in sums if a != b]
