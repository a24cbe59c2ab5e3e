"""What was called for partitions that were given back and never committed: a file for each stretch of a run's life."""

from __future__ import annotations

import msgspec

from dataflow.store.commit import RunFolder
from dataflow.store.files import files_at, translated
from dataflow.telemetry.statistics import Statistics

_FOLDER = "given_back"


def keep_given_back(folder: RunFolder, statistics: Statistics) -> None:
    """Keep the counts of one stretch, under the epoch of whoever holds the folder."""
    if statistics == Statistics():
        return
    files, home = files_at(folder.root), folder.path(_FOLDER)
    with translated(f"run {folder.run}: noting what was called for partitions that are not done"):
        files.make(home)
        files.write(f"{home}/{folder.epoch:05d}.json", msgspec.json.encode(statistics.to_dict()))


def given_back(folder: RunFolder) -> Statistics:
    """The counts of all stretches before; zero where there were none."""
    with translated(f"run {folder.run}: reading what was called for partitions that are not done"):
        found = [data for _, data in files_at(folder.root).read_all(folder.path(_FOLDER))]
    return Statistics.merged([Statistics.from_dict(msgspec.json.decode(data)) for data in found])
