"""The cache of one catalog, as one process holds it: find answers, keep answers, exchange them with the catalog."""

from __future__ import annotations

import atexit
import os
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NoReturn

from dataflow.errors import StoreError
from dataflow.outcomes import Status
from dataflow.policies.leaving import Leaving
from dataflow.store.cache.answers import FOUND, PRIVATE, WAITING, Answer, Origin, Row, split
from dataflow.store.cache.compacting import compact
from dataflow.store.cache.connection import Connection, journal_path
from dataflow.store.cache.exporting import export
from dataflow.store.cache.journal import Journal
from dataflow.store.cache.leaving import Departures
from dataflow.store.cache.own import OwnAnswers
from dataflow.store.cache.segments import Segments
from dataflow.store.cache.warming import take_up
from dataflow.store.files import files_at, rooted, translated

_ASKED = 1000
"""Keys per query."""

_GET = "SELECT key, found, value, created, cost, origin FROM answers WHERE key IN ({})"
_OTHERS = """SELECT count(*) FROM answers WHERE origin IN (SELECT id FROM origins
    WHERE service = :service AND version = :version AND definition = :definition AND code IS NOT :code)"""
_NEWEST = """SELECT max(created) FROM answers WHERE origin IN (SELECT id FROM origins
    WHERE service = :service AND version = :version AND definition = :definition)"""
_OTHER = """SELECT 1 FROM origins
    WHERE service = :service AND version = :version AND definition = :definition AND code IS NOT :code LIMIT 1"""
_KEPT_PRIVATE = 90 * 86_400.0
"""Seconds for which answers are kept that only serve the run that paid for them."""


class Cache:
    """Answers for several threads of one process, beside other processes and hosts with caches of theirs.

    It holds connections and a thread, so each process makes its own: it does not travel by pickle, and one that
    came through a fork refuses to work. An answer replaces an older one under its key, never a newer one, and what is
    put here also one that is dated in the future.

    Args:
        root: The catalog.
        path: The file of the index; by default the one that `journal_path` gives.

    Attributes:
        path: The file of the index.
        warnings: What the user should be told, such as a segment that cannot be read.
        closed: Whether it has been closed.

    Raises:
        StoreError: The file cannot be opened, or a newer dataflow wrote it.
    """

    def __init__(self, root: str | Path, *, path: Path | None = None) -> None:
        self.root = rooted(root)
        self.path = path or journal_path(root)
        self.warnings: list[str] = []
        self._told: set[str] = set()
        self._process = os.getpid()
        self._segments = Segments(files_at(self.root), self.root)
        self._writing, self._reading = Connection(self.path), Connection(self.path)
        self._folders: set[str] = set()
        self._known_to = 0
        self.closed = False
        self._writing.run(_forget_private)
        self._journal = Journal(self._writing)
        self._own: OwnAnswers | None = None
        self._looked = 0.0
        self._departures = Departures(write=self._depart, merge=self._merge, warn=self.warnings.append)
        atexit.register(self._close_quietly)  # runs while daemon threads still do

    def __reduce__(self) -> NoReturn:
        raise StoreError("a cache does not travel between processes; open one where it is used")

    def __enter__(self) -> Cache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def note(self) -> str | None:
        """That a damaged index was set aside; None while all is well."""
        return self._writing.note or self._reading.note

    def news(self) -> list[str]:
        """What the user should be told, each once: a damaged index, segments that cannot be read."""
        found = list(dict.fromkeys([*self.warnings, *([self.note] if self.note else [])]))
        told = [sentence for sentence in found if sentence not in self._told]
        self._told.update(told)
        return told

    def know(self, origins: Iterable[Origin]) -> None:
        """Take up the answers of some services that other hosts have left in the catalog, before they are asked for.

        Raises:
            StoreError: The catalog or the index cannot be read.
        """
        for origin in origins:
            self._journal.know(origin)
            self._folders.add(origin.folder)
        self._take_up()

    def serve(self, terms: Mapping[int, Leaving], *, runs: Sequence[str]) -> None:
        """Let answers leave this host soon after they are given, and take up those that serve only a run.

        Args:
            terms: When the answers of each origin leave, by its number.
            runs: The folders of the run, and of those whose answers it goes on with.

        Raises:
            StoreError: The catalog or the index cannot be read.
        """
        self._own = OwnAnswers(self.root, runs, keep=self._keep_own)
        self._take_up_own()
        self._departures.begin(terms)

    def refresh(self, *, after: float) -> None:
        """Take up what other hosts have left meanwhile, unless that was done less than so many seconds ago.

        Raises:
            StoreError: The catalog or the index cannot be read.
        """
        if time.monotonic() >= self._looked + after:
            self._take_up()
            self._take_up_own()

    def put(self, key: bytes, answer: Answer, *, origin: Origin, private: bool = False) -> None:
        """Remember an answer; it is on disk within 250 ms, and found by `get_many` at once.

        It waits only where 100,000 answers or 256 MB are ahead of the disk. While the disk fails it neither waits
        nor raises: answers stay in memory, and `flush` tells. Above some 10,000 a second the disk may need longer.

        Args:
            key: The key.
            answer: The answer; errors are none.
            origin: Whose it is.
            private: Whether it stays on this host and never reaches a segment.

        Raises:
            StoreError: The cache is closed or of another process, or the status is that of no answer.
        """
        self._require_open()
        found = answer.status is Status.SUCCEEDED
        if not found and answer.status is not Status.NOT_FOUND:
            raise StoreError(f"{origin.service}: an outcome that is {answer.status} is no answer; keep only answers")
        self._journal.know(origin)
        source, created = (PRIVATE if private else WAITING), round(answer.created * 1e6)
        row = (key, source, origin.id, int(found), created, answer.cost, answer.value)
        self._journal.put(row)
        if private and self._own is not None:
            self._own.put(origin, row)
        self._departures.note(origin.id)

    def get_many(self, keys: Sequence[bytes], *, asker: Origin | None = None) -> dict[bytes, Answer]:
        """The answers there are to these keys, also those that are not yet on disk; missing keys are left out.

        Args:
            keys: The keys.
            asker: As whose new answers would be kept, so that those of the same run are told from others.

        Raises:
            StoreError: The index cannot be read, or the cache is of another process.
        """
        self._require_open()
        own = 0 if asker is None or asker.run is None else asker.id
        pending = self._journal.pending(keys)
        # Memory first: what leaves it in between is in the file by then.
        rest = [key for key in dict.fromkeys(keys) if key not in pending] if pending else keys
        found = self._reading.run(partial(_read, keys=rest, own=own))
        if self._folders and self._reading.identity != self._known_to:
            # The index was damaged, or deleted, and a new one begun.
            self._take_up()
            found = self._reading.run(partial(_read, keys=rest, own=own))
        for key, row in pending.items():
            found[key] = Answer(FOUND[row[3]], row[6], row[4] / 1e6, row[5], row[2] == own)
        return found

    def others(self, origin: Origin) -> int:
        """How many answers of a service and definition another code has given than that of its origin now."""
        named = {name: getattr(origin, name) for name in ("service", "version", "definition", "code")}

        def count(connection: sqlite3.Connection) -> int:
            if connection.execute(_OTHER, named).fetchone() is None:
                return 0
            return int(connection.execute(_OTHERS, named).fetchone()[0])

        return self._reading.run(count)

    def newest(self, origin: Origin) -> float | None:
        """When the last answer of a service and definition was given, by whatever clock; None where there is none.

        Raises:
            StoreError: The index cannot be read, or what was put before cannot be written.
        """
        self.flush()
        named = {name: getattr(origin, name) for name in ("service", "version", "definition")}
        found = self._reading.run(lambda connection: connection.execute(_NEWEST, named).fetchone()[0])
        return None if found is None else int(found) / 1e6

    def flush(self) -> None:
        """Return when all that was put before is on disk.

        Raises:
            StoreError: It could not be written, in an attempt made just now; it stays in memory and is tried again.
        """
        self._require_open()
        self._journal.flush()

    def export(self) -> int:
        """Bring what is in no segment yet to the catalog; how many answers that were.

        Raises:
            StoreError: The index or the catalog cannot be written.
        """
        self.flush()
        with translated(f"{self._segments.path('')}: writing answers"):
            return export(self._writing, self._segments)

    def compact(self) -> int:
        """Merge small segments of the services that are known, where there are many; how many are gone.

        Raises:
            StoreError: The index or the catalog cannot be written.
        """
        self._require_open()
        with translated(f"{self._segments.path('')}: merging segments"):
            return compact(self._writing, self._segments, sorted(self._folders))

    def _depart(self) -> None:
        self.export()
        if self._own is not None:
            with translated(f"{self.root}: writing answers of a run"):
                self._own.write()

    def _merge(self) -> None:
        self.compact()
        if self._own is not None:
            with translated(f"{self.root}: merging answers of a run"):
                self._own.merge(self._writing)

    def _keep_own(self, origin: Origin, row: Row) -> None:
        self._journal.know(origin)
        self._journal.put(row)

    def _take_up_own(self) -> None:
        if self._own is not None:
            with translated(f"{self.root}: reading answers of a run"):
                self.warnings += self._own.take_up()

    def _take_up(self) -> None:
        self._looked = time.monotonic()
        if not self._folders:
            return
        with translated(f"{self._segments.path('')}: reading answers"):
            self.warnings += take_up(self._writing, self._segments, sorted(self._folders))
        self._known_to = self._writing.identity

    def close(self) -> None:
        """Write what is left, bring it to the catalog and let go of the file; a second time it does nothing.

        Raises:
            StoreError: Something could not be written, and is lost with this object.
        """
        if self.closed or self._process != os.getpid():
            return
        atexit.unregister(self._close_quietly)
        self._departures.close()
        self.closed = True
        try:
            self._journal.close()
            # What does not get there now does so with the next run on this host.
            with suppress(StoreError, OSError):
                export(self._writing, self._segments)
                if self._own is not None:
                    self._own.write()
        finally:
            self._reading.close()
            self._writing.close()

    def _close_quietly(self) -> None:
        with suppress(StoreError):
            self.close()

    def _require_open(self) -> None:
        if self._process != os.getpid():
            raise StoreError("this cache was opened before a fork; open one in the process that uses it")
        if self.closed:
            raise StoreError(f"the cache {self.path} is closed; open it again")


def _read(connection: sqlite3.Connection, *, keys: Sequence[bytes], own: int) -> dict[bytes, Answer]:
    answers: dict[bytes, Answer] = {}
    # In the order of the tree, whose pages are then looked at once each.
    keys = sorted(keys) if len(keys) > _ASKED else keys
    for start in range(0, len(keys), _ASKED):
        asked = keys[start : start + _ASKED]
        rows = connection.execute(_GET.format(",".join("?" * len(asked))), asked)
        answers.update(
            # Half the time of calling the class.
            {
                key: _new(Answer, (FOUND[found], value, created / 1e6, cost, origin == own))
                for key, found, value, created, cost, origin in rows
            }
        )
    return answers


_new = tuple.__new__


def _forget_private(connection: sqlite3.Connection) -> None:
    before = round((time.time() - _KEPT_PRIVATE) * 1e6)
    old = connection.execute("SELECT id, keys FROM waiting WHERE source = ? AND created < ?", (PRIVATE, before))
    rows = old.fetchall()
    if not rows:
        return
    connection.execute("BEGIN IMMEDIATE")
    keys = [(key, PRIVATE) for _, joined in rows for key in split(joined)]
    connection.executemany("DELETE FROM answers WHERE key = ? AND source = ?", keys)
    connection.executemany("DELETE FROM waiting WHERE id = ?", [row[:1] for row in rows])
    connection.execute("COMMIT")
