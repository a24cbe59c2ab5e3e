"""What a repair is: which version it mends, which of its partitions are done again, and what of them stays failed.

It stands in the plan of the run that repairs, so that whoever goes on with that run keeps to it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dataflow.engine.http.attempts import CallError
from dataflow.outcomes import Status
from dataflow.plan.partitions import Batch, PartitionSpec
from dataflow.policies.effects import NEVER_AGAIN
from dataflow.store.catalog import Catalog
from dataflow.store.commit import CommitRecord, RunFolder
from dataflow.store.dataset import Dataset

Kept = Mapping[str, Mapping[int, Exception]]
"""The failures that stay as they are: by service, and by place in the partition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """A version that is mended; plain JSON values.

    Attributes:
        run: The run that has published it.
        version: Its number.
        service: The only service whose failures are mended, or None for all of them.
    """

    run: str
    version: int
    service: str | None = None

    @classmethod
    def of(cls, folder: RunFolder) -> Repair | None:
        """The repair that a run is, or None."""
        given = folder.plan().get("repairs")
        return None if given is None else cls(**given)

    def plan_values(self) -> dict[str, Any]:
        """What the plan of the run that repairs says of it."""
        return {"repairs": asdict(self)}

    def failed(self, record: CommitRecord) -> int:
        """The outcomes in a partition that are tried again; what may have taken effect is not among them."""
        services = record.counts.statistics.services
        chosen = list(services.values()) if self.service is None else [services[self.service]]
        final = sum(one.errors.get(reason, 0) for one in chosen for reason in NEVER_AGAIN)
        return sum(one.failed + one.timed_out + one.not_attempted for one in chosen) - final

    def dataset(self, catalog: Catalog, name: str) -> Dataset:
        """The version.

        Raises:
            CatalogError: It was pruned.
        """
        return catalog.open(f"{name}@v{self.version}")

    def take_over(self, folder: RunFolder, specs: Sequence[PartitionSpec], *, asked: Collection[str]) -> None:
        """Let the run have all partitions that need no repair.

        Args:
            folder: The run that repairs.
            specs: Its partitions.
            asked: The services that have an API.

        Raises:
            CatalogError: The version was pruned.
        """
        version = self.dataset(Catalog(folder.root), folder.dataset)
        whole = {name for name, record in version.records().items() if not self.failed(record)}
        left = whole - folder.committed().keys()
        good = [spec for spec in specs if spec.identity in left]
        folder.carry_over(good, version, asked=asked, as_it_is=True)


class KeptFailures:
    """What a repair of one service leaves as it was: the failures of the others.

    Args:
        folder: The run that repairs.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._repair = Repair.of(folder)
        self._version: Dataset | None = None
        if self._repair is not None and self._repair.service is not None:
            self._version = self._repair.dataset(Catalog(folder.root), folder.dataset)

    def of(self, spec: PartitionSpec, batch: Batch) -> Kept:
        """Those of one partition; none where the run is no repair of one service."""
        if self._version is None or self._repair is None:
            return {}
        rejects = self._version.side_of("rejects", spec.identity).to_pylist()
        texts = {(row["service"], row["source_row"]): row["error"] for row in rejects}
        places = {row: place for place, row in enumerate(batch.rows.to_pylist())}
        kept: dict[str, dict[int, Exception]] = {}
        for row in self._version.side_of("failures", spec.identity).to_pylist():
            service, number = row["service"], row["source_row"]
            if service != self._repair.service:
                text = f"failed in run {self._repair.run}, and was not tried again"
                whole = row.get("error") or texts.get((service, number)) or ""
                error = CallError(row["reason"], text, status=row["http_status"], whole=whole)
                error.timed_out = row["status"] == Status.TIMED_OUT
                error.not_attempted = row["status"] == Status.NOT_ATTEMPTED
                kept.setdefault(service, {})[places[number]] = error
        return kept
