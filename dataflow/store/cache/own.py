"""Answers that serve nobody but the run that has paid for them: in its folder, for whoever goes on from another host.

On one host they are in the index, as all others. In the catalog they are segments of the run and no part of the cache,
and go when it is published.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from operator import itemgetter

import pyarrow as pa

from dataflow.store.cache.answers import FOUND, PRIVATE, Origin, Row
from dataflow.store.cache.compacting import compact
from dataflow.store.cache.connection import Connection
from dataflow.store.cache.exporting import Kept
from dataflow.store.cache.segments import Damaged, Segments, table_of
from dataflow.store.files import files_at

FOLDER = "answers"
"""Where they are in the folder of a run."""


class OwnAnswers:
    """Those of one run, as one process holds them.

    Args:
        root: The catalog.
        runs: The folders of the run, and of those whose answers it goes on with.
        keep: Puts an answer of another host into the index.
    """

    def __init__(self, root: str, runs: Sequence[str], *, keep: Callable[[Origin, Row], object]) -> None:
        files = files_at(root)
        self._homes = [Segments(files, run, home=FOLDER) for run in runs]
        self._keep = keep
        self._lock = threading.Lock()
        self._waiting: list[Kept] = []
        self._known: set[tuple[int, str, str]] = set()

    def put(self, origin: Origin, row: Row) -> None:
        """Be told of an answer that this process was given."""
        key, _, _, found, created, cost, value = row
        with self._lock:
            self._waiting.append((origin, key, found, created, cost, value))

    def write(self) -> None:
        """Bring what waits to the folder of the run.

        Raises:
            OSError: It cannot be written.
        """
        with self._lock:
            kept, self._waiting = self._waiting, []
        folders: dict[str, list[Kept]] = {}
        for one in kept:
            folders.setdefault(one[0].folder, []).append(one)
        try:
            for folder in list(folders):
                name = self._homes[0].write(folder, table_of(sorted(folders[folder], key=itemgetter(1))))
                self._known.add((0, folder, name))
                del folders[folder]
        finally:
            with self._lock:
                self._waiting = [one for left in folders.values() for one in left] + self._waiting

    def take_up(self) -> list[str]:
        """Let the index hold what other processes have left; a sentence about each file that cannot be read.

        Raises:
            OSError: The catalog cannot be read.
        """
        problems = []
        for at, segments in enumerate(self._homes):
            for folder in segments.folders():
                for name in segments.sizes(folder):
                    if (at, folder, name) in self._known:
                        continue
                    self._known.add((at, folder, name))
                    try:
                        self._take(segments, folder, name)
                    except FileNotFoundError:
                        # Merged into another, which is found next time.
                        continue
                    except Damaged as error:
                        problems.append(f"{error}; it is skipped, and its answers are paid again")
        return problems

    def merge(self, connection: Connection) -> None:
        """Merge small segments, where there are many."""
        compact(connection, self._homes[0], self._homes[0].folders())

    def _take(self, segments: Segments, folder: str, name: str) -> None:
        with segments.opened(folder, name) as (file, about):
            table = file.read()
        created = table["created"].cast(pa.int64())
        for row in table.set_column(table.column_names.index("created"), "created", created).to_pylist():
            origin, found = about.origin(row["code"], row["run"]), FOUND.index(row["status"])
            value = (row["value"] or "").encode()
            self._keep(origin, (row["key"], PRIVATE, origin.id, found, row["created"], row["cost"], value))
