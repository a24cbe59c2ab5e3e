"""A stopped run that is published as it is: whether it may be, and how its job is found again.

What is decided before anything is done; the run itself goes through `running`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dataflow.errors import CatalogError, DeclarationError
from dataflow.outcomes import Priority
from dataflow.plan.partitions import PartitionSpec
from dataflow.policies.effects import CHANGED, UNKNOWN
from dataflow.store.catalog import Catalog
from dataflow.store.commit import RunFolder, RunState
from dataflow.store.dataset import Dataset
from dataflow.telemetry.services import ServiceStatistics
from dataflow.wiring.jobs import Found, Reference, find_job, require_source


def find_again(folder: RunFolder) -> Found:
    """The job that a run was started with, found as its command had named it.

    Raises:
        DeclarationError: The run was started from Python, or its job cannot be loaded any more.
    """
    given = folder.plan().get("job")
    if given is None:
        raise DeclarationError(
            f"run {folder.run} was started from Python, so its job is not known here; use run.publish() there (an "
            "error that ends a run has it as `error.run`), or run it again to its end"
        )
    named = Reference(**given)
    try:
        found = find_job(named.job, source=named.source, output=named.output, parameters=named.parameters)
        require_source(found, named.job)
    except DeclarationError as error:
        raise DeclarationError(
            f"the job of run {folder.run} cannot be loaded: {error}; put it back as it was, or run it again"
            f"{_elsewhere(named.folder)}"
        ) from error
    return found


def publishable(catalog: Catalog, run: str) -> RunFolder:
    """The folder of a run that may be published as it is, or that is published already.

    Raises:
        CatalogError: There is no such run, or it was abandoned.
    """
    folder = catalog.run(run)
    state = folder.state()
    if state.state is RunState.ABANDONED:
        raise CatalogError(
            f"run {folder.run} of {folder.dataset} was abandoned ({state.reason}); only a stopped run is published, "
            "run the job again"
        )
    return folder


def published_as(folder: RunFolder) -> Dataset | None:
    """The version that a run was published as, or None; what a kill has left behind is removed. Under the lock."""
    return folder.publish(()) if folder.state().state is RunState.PUBLISHED else None


def require_same_plan(folder: RunFolder, differing: Sequence[str], *, to_be: str = "published") -> None:
    """Refuse to go on with a run whose job or source is not what it was: its partitions would not fit together.

    Args:
        folder: The run.
        differing: What has changed since it was planned.
        to_be: What is to become of it.

    Raises:
        DeclarationError: It names what has changed.
    """
    plan = folder.plan()
    if differing:
        where = (plan.get("job") or {}).get("folder")
        raise DeclarationError(
            f"run {folder.run} cannot be {to_be}, since its plan has changed: {', '.join(differing)}; put that back "
            f"as it was, or run the job again to start anew{_elsewhere(where)}"
        )


def environ_of(folder: RunFolder) -> list[str]:
    """The names of the variables that the job file of a run is given."""
    return list(folder.plan().get("environ", ()))


def planned_specs(folder: RunFolder) -> list[PartitionSpec]:
    """The partitions of a run, as it was planned."""
    return [PartitionSpec.from_dict(spec) for spec in folder.plan()["specs"]]


def shortfalls(service: str, part: ServiceStatistics) -> list[str]:
    """What deserves a look at the end of a run: the records that lack a service."""
    found = []
    failed = part.failed + part.timed_out
    if failed and part.priority is Priority.IMPORTANT:
        found.append(f"`{service}` failed for {failed:,} records, which are marked degraded")
    if doubtful := part.errors.get(UNKNOWN, 0):
        found.append(
            f"`{service}` may have taken effect for {doubtful:,} records whose answers are not known, since the run "
            "was interrupted; they are not sent again: `dataflow failures` lists them, look them up at the provider"
        )
    if changed := part.errors.get(CHANGED, 0):
        found.append(
            f"`{service}` was called with other inputs before for {changed:,} records, which are not sent again; "
            f"--send-again {service} sends all of its records anew"
        )
    if part.not_attempted:
        found.append(f"`{service}` was not attempted for {part.not_attempted:,} records, {_FATES[part.priority]}")
    return found


_FATES = {
    Priority.CRITICAL: "which are rejected",
    Priority.IMPORTANT: "which are marked degraded",
    Priority.OPTIONAL: "which lack it",
}


def _elsewhere(folder: str | None) -> str:
    """Where to give the command, if that is another folder: paths are taken from there."""
    if folder is None or Path(folder) == Path.cwd():
        return ""
    return f"; the run was started in {folder}, publish it there"
