"""Tries again what failed in a published run: which run is meant, whether there is anything to do, and with which job.

The run that repairs goes through `running`, as every run.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from dataflow.errors import CatalogError, DeclarationError
from dataflow.policies.effects import NEVER_AGAIN
from dataflow.store.catalog import Catalog
from dataflow.store.commit import RunFolder, RunState
from dataflow.store.dataset import Dataset
from dataflow.wiring.jobs import Found
from dataflow.wiring.preparation import DEFAULT_CATALOG
from dataflow.wiring.repair import Repair
from dataflow.wiring.run import Run
from dataflow.wiring.running import new_id, perform_repair
from dataflow.wiring.settings import moved, read_settings
from dataflow.wiring.stopped import environ_of, find_again


def repair_run(
    run: str,
    *,
    catalog: str = DEFAULT_CATALOG,
    service: str | None = None,
    found: Found | None = None,
    **settings: Any,
) -> Run:
    """Try again what failed in a published run, and publish it with all that was good; see `Run.repair`.

    Args:
        run: The id of the run, `latest` for the newest one, or the name of a dataset or version.
        catalog: Where it is.
        service: The only service whose failures are tried again; None for all of them.
        found: The job; None to find it as the command of the run had named it.
        **settings: Where it is done and who listens; see `Settings`.

    Raises:
        DataflowError: As for `Run.repair`; DeclarationError too where the job cannot be found again.
    """
    where = Catalog(catalog)
    folder = _folder(where, run)
    repair = _repair(folder, service)
    original = where.run(repair.run)
    version = repair.dataset(where, folder.dataset)
    if settings.get("send_again"):
        raise DeclarationError(
            "a repair sends what has failed, and nothing again; give send_again= to a run of the job"
        )
    current = Run(id=new_id(), output=folder.dataset, catalog=str(catalog))
    if not any(map(repair.failed, version.records().values())):
        current.dataset, current.status = version, "unchanged"
        current.notes.append(_nothing(repair, version))
        return current
    newest = where.open(folder.dataset)
    if (newest.version or 0) > (version.version or 0):
        current.notes.append(f"{newest} is newer than {version}, of which the new version is made")
    job = found or find_again(original)

    def again(service: str | None, **others: Any) -> Run:
        return repair_run(current.id, catalog=catalog, service=service, found=job, **moved(settings, **others))

    current._repair = again
    given = {"catalog": catalog, "parameters": job.parameters, "limit": original.plan()["limit"]}
    given["environ"] = environ_of(original)
    perform_repair(repair, job, settings=read_settings({**settings, **given}), run=current)
    return current


def _folder(catalog: Catalog, name: str) -> RunFolder:
    """The run that is meant."""
    if name != "latest" and catalog.has(name):
        return catalog.run(catalog.open(name).manifest["run"])
    return catalog.run(name)


def _repair(folder: RunFolder, service: str | None) -> Repair:
    """What is to be mended; a repair that was interrupted goes on.

    Raises:
        CatalogError: The run is not published.
        DeclarationError: It has no such service.
    """
    services = folder.plan()["services"]
    if service is not None and service not in services:
        near = get_close_matches(service, services, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(services)}"
        raise DeclarationError(f"run {folder.run} has no service {service!r}; {hint}")
    state, begun = folder.state(), Repair.of(folder)
    if state.state is RunState.PUBLISHED and state.version is not None:
        return Repair(run=folder.run, version=state.version, service=service)
    if begun is not None and begun.service == service and state.state is not RunState.ABANDONED:
        return begun
    advice = (
        "run the job again"
        if state.state is RunState.ABANDONED
        else (
            f"run its job again to go on, or publish it as it is with `dataflow publish {folder.run}`; then repair it"
        )
    )
    raise CatalogError(
        f"run {folder.run} of {folder.dataset} is {state.state}, and only a version is repaired; {advice}"
    )


def _nothing(repair: Repair, version: Dataset) -> str:
    """Why there is nothing to do."""
    services = version.statistics["services"]
    chosen = services if repair.service is None else {repair.service: services[repair.service]}
    final = sum(one["errors"].get(reason, 0) for one in chosen.values() for reason in NEVER_AGAIN)
    of = "" if repair.service is None else f" of `{repair.service}`"
    if final:
        return (
            f"nothing to repair in {version}: the {final:,} failures{of} may have taken effect, so they are not "
            "tried again; look them up at the provider"
        )
    return f"nothing to repair in {version}: no outcome{of} has failed"
