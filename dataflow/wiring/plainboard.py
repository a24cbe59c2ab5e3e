"""The board of a run of which nobody has drawn one: made of its statistics, without a graph and without limits."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from dataflow.store.bill import bill_of
from dataflow.store.catalog import Catalog
from dataflow.store.commit import RunFolder
from dataflow.store.dataset import Dataset
from dataflow.telemetry.board import Head, Rejects, Snapshot, make_board
from dataflow.telemetry.statistics import Statistics, called_in
from dataflow.wiring.saying import plain_of

if TYPE_CHECKING:
    from dataflow.wiring.run import Run


def plain_board(
    snapshot: Snapshot, *, run: str, dataset: str, catalog: str, pipeline: str, now: float, page: str | None = None
) -> dict[str, Any]:
    """A board of what was counted, its services in the order of the counts.

    Args:
        snapshot: Where the run is.
        run: Its id.
        dataset: What it publishes.
        catalog: Where.
        pipeline: The name of its pipeline.
        now: Seconds since 1970.
        page: Where its page is, or None.
    """
    services = [
        {
            "name": name,
            "kind": part.kind.value,
            "priority": part.priority.value,
            "api": None,
            "level": 0,
            "member_of": part.member_of,
        }
        for name, part in snapshot.counts.services.items()
    ]
    head = Head(
        run=run,
        dataset=dataset,
        catalog=catalog,
        pipeline=pipeline,
        started=now - snapshot.seconds,
        services=services,
        page=page,
    )
    return make_board(head, snapshot, rejects=Rejects(), apis={}, now=now)


def board_of_run(run: Run, *, now: float) -> dict[str, Any]:
    """The board of a run of this process, also of one that is still being planned, or for which nothing was done."""
    if run._board is not None:
        return run._board()
    unchanged = run.status == "unchanged"
    snapshot = Snapshot(
        status=run.status,
        reason=None if run._error is None else plain_of(run._error),
        error=None if run._error is None else type(run._error).__name__,
        counts=_published(run.dataset) if unchanged and run.dataset is not None else run.counts,
        planned=run.partitions,
        done=run.done,
        seconds=run.duration,
        version=run.version,
        warnings=run.warnings,
        notes=run.notes,
    )
    named = {"run": run.id, "dataset": run.output, "catalog": run.catalog, "pipeline": run.output}
    return plain_board(snapshot, **named, now=now, page=run.page)


def board_of_folder(folder: RunFolder, *, now: float) -> dict[str, Any]:
    """The board of a run in a catalog, of what it has published or committed so far.

    Raises:
        CatalogError: What the run has written about itself is damaged, or its version was pruned.
    """
    head, state = folder.head(), folder.state()
    if state.version is None:
        records = folder.committed()
        counts = bill_of(folder, records.values())
        seconds = (datetime.fromisoformat(state.started) - folder.started_at).total_seconds()
    else:
        published = Catalog(folder.root).open(f"{folder.dataset}@v{state.version}")
        records, seconds = published.records(), published.statistics["total_duration"]
        counts = _published(published)
    snapshot = Snapshot(
        status=state.state.value,
        reason=state.reason,
        counts=counts,
        planned=head["planned"],
        done=len(records) if state.version is None else state.committed,
        seconds=max(seconds, 0.0),
        version=state.version,
    )
    pipeline = folder.plan().get("pipeline", folder.dataset)
    named = {"run": folder.run, "dataset": folder.dataset, "catalog": folder.root, "pipeline": pipeline}
    return plain_board(snapshot, **named, now=now)


def _published(dataset: Dataset) -> Statistics:
    """The counts of a version; what was called for it stands in its statistics only."""
    counts = Statistics.merged(record.counts.statistics for record in dataset.records().values())
    return counts.billed(called_in(dataset.statistics))
