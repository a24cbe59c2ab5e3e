"""Removes what nobody reads any more: old versions, runs of no use, what killed processes have left."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from itertools import chain

import msgspec

from dataflow.store.dataset import complete_versions, latest_of, numbers
from dataflow.store.files import Files, is_temporary


def sweep(files: Files, *folders: str) -> None:
    """Remove what killed processes left half done right in the folders; only for who holds the dataset."""
    for folder in folders:
        names = chain(files.sizes(folder), files.folders(folder))
        files.remove(*(f"{folder}/{name}" for name in names if is_temporary(name)))


WORK = ("parts", "rejects", "failures", "commits", "resolve", "calls", "answers", "version", "intent.json")
"""What a run needs until it is published."""


def tidy(files: Files, run: str) -> None:
    """Remove from the folder of a published run what only the run needed."""
    files.remove(*(f"{run}/{name}" for name in WORK))
    sweep(files, run, f"{run}/epochs")


def prune(files: Files, home: str, *, keep: int, runs: Mapping[str, int | None]) -> list[str]:
    """Remove all but the newest versions of a dataset, and the runs that are of no use to anybody.

    Args:
        files: The operations of the catalog.
        home: The folder of the dataset, which the caller holds.
        keep: How many of the newest versions stay; what the name of the dataset stands for stays too.
        runs: The runs that may stay: those that can be resumed with None, the others with their version.

    Returns:
        What was removed, such as `v1` or `run 20260101-120000`.
    """
    versions = complete_versions(files, home)
    kept = {*versions[-keep:], *([latest_of(files, home, versions=versions)] if versions else [])}
    old = [number for number in versions if number not in kept]
    staying = {run for run, version in runs.items() if version is None or version in kept}
    for number in old:
        # Without its manifest no reader finds the version while its files go.
        files.remove(f"{home}/_meta/v{number}/dataset.json", f"{home}/v{number}")
    for number in numbers(files.folders(f"{home}/_meta")):
        if number not in kept and _claimant(files, f"{home}/_meta/v{number}") not in staying:
            files.remove(f"{home}/_meta/v{number}", f"{home}/v{number}")
    gone = [
        run for run in files.folders(f"{home}/_runs") if run not in staying and _is_run(files, f"{home}/_runs/{run}")
    ]
    files.remove(*(f"{home}/_runs/{run}" for run in gone))
    for run in (run for run, version in runs.items() if version in kept):
        tidy(files, f"{home}/_runs/{run}")
    sweep(files, home, f"{home}/_meta", f"{home}/_runs")
    return [*(f"v{number}" for number in old), *(f"run {run}" for run in gone)]


def _claimant(files: Files, meta: str) -> str | None:
    """The run that has claimed the number of a version."""
    with suppress(FileNotFoundError):
        return str(msgspec.json.decode(files.read(f"{meta}/run.json"))["run"])
    return None


def _is_run(files: Files, folder: str) -> bool:
    """Whether the folder is that of a run; sources may be kept beside them."""
    return "run.json" in files.sizes(folder)
