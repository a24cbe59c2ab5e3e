"""The journal: answers reach the local disk within 250 ms, so that whatever happens they are not paid for again.

250 ms after `put` an answer survives `kill -9` and a power cut. In WAL mode with synchronous=FULL SQLite syncs its log
at each commit; one thread per process commits what has been put during the last 100 ms, which leaves the rest for the
disk, and moves the log into the file (a checkpoint, every 16 MB) after a commit.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from dataflow.errors import StoreError
from dataflow.store.cache.answers import PRIVATE, WAITING, Origin, Row
from dataflow.store.cache.connection import Connection

_GATHERED, _RETRIED = 0.1, 1.0
"""Seconds to gather before a commit, and between attempts while the disk fails."""

_ROWS = 5000
"""Answers per commit at most, a tenth of a second in which other processes wait."""

_WAITING, _WAITING_BYTES = 100_000, 256 * 2**20
"""Answers in memory, and their bytes, from which on `put` waits for the disk."""

PUT = """INSERT INTO answers (key, source, origin, found, created, cost, value) VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (key) DO UPDATE SET source = excluded.source, origin = excluded.origin, found = excluded.found,
    created = excluded.created, cost = excluded.cost, value = excluded.value
    WHERE excluded.created >= answers.created"""

_PUT_NOW = PUT + " OR answers.created > {now}"
"""The same for an answer that was given just now: one that a wrong clock has dated ahead gives way to it."""

_WAITS = "INSERT INTO waiting (keys, source, created) VALUES (?, ?, ?)"
_ORIGIN = "INSERT OR IGNORE INTO origins (id, service, version, definition, code, run) VALUES (?, ?, ?, ?, ?, ?)"


class Journal:
    """Puts answers into the index, from any thread, by one thread of its own.

    Args:
        connection: The file, for this object alone.
        clock: Seconds since 1970.
    """

    def __init__(self, connection: Connection, *, clock: Callable[[], float] = time.time) -> None:
        self._connection = connection
        self._clock = clock
        self._origins: dict[int, Origin] = {}
        self._pending: dict[bytes, Row] = {}
        self._underway: dict[bytes, Row] = {}
        self._bytes = self._rounds = 0
        self._asked = self._closed = False
        self._failure: StoreError | None = None
        lock = threading.Lock()
        self._work, self._done = threading.Condition(lock), threading.Condition(lock)
        self._writer = threading.Thread(target=self._keep_writing, name="dataflow-journal", daemon=True)
        self._writer.start()

    def know(self, origin: Origin) -> None:
        """Be told whose answers will come, before the first one does."""
        self._origins[origin.id] = origin

    def put(self, row: Row) -> None:
        """Keep an answer; see `Cache.put`."""
        with self._work:
            if self._is_full():
                self._ask()
                self._done.wait_for(lambda: not self._is_full())
            self._pending[row[0]] = row
            self._bytes += len(row[6])
            if len(self._pending) == 1:
                self._work.notify()

    def pending(self, keys: Iterable[bytes]) -> dict[bytes, Row]:
        """The answers to these keys that are not on disk yet."""
        if not self._pending and not self._underway:
            return {}
        with self._work:
            return {key: row for key in keys if (row := self._pending.get(key) or self._underway.get(key))}

    def flush(self) -> None:
        """Return when all that was put before is on disk.

        Raises:
            StoreError: It could not be written, in an attempt made just now; it stays in memory and is tried again.
        """
        with self._work:
            last = self._rounds + bool(self._underway) + bool(self._pending)
            self._ask()
            self._done.wait_for(lambda: self._rounds >= last)
            if self._failure is not None:
                raise StoreError(str(self._failure)) from self._failure

    def close(self) -> None:
        """Write what is left and end the thread.

        Raises:
            StoreError: Something could not be written, and is lost with this object.
        """
        with self._work:
            self._closed = True
            self._work.notify()
        self._writer.join()
        if self._failure is not None:
            raise StoreError(f"{self._failure}; {len(self._pending):,} answers were not kept") from self._failure

    def _is_full(self) -> bool:
        return not (self._failure or self._closed) and (len(self._pending) >= _WAITING or self._bytes >= _WAITING_BYTES)

    def _ask(self) -> None:
        """Let the writer begin without gathering; the lock is held."""
        if self._pending:
            self._asked = True
            self._work.notify()

    def _keep_writing(self) -> None:
        while True:
            with self._work:
                self._work.wait_for(lambda: self._pending or self._closed)
                self._work.wait_for(lambda: self._asked or self._closed, _RETRIED if self._failure else _GATHERED)
                self._asked = False
                # Assigned in this order, so that who looks without the lock misses nothing.
                self._underway = self._pending
                self._pending, self._bytes = {}, 0
                ended = self._closed
            self._write_round()
            if ended:
                return

    def _write_round(self) -> None:
        """Write what is underway; what does not get through waits for the next round."""
        failure, rest = None, list(self._underway.values())
        try:
            while rest:
                self._connection.run(partial(self._write, batch=rest[:_ROWS]))
                del rest[:_ROWS]
        except StoreError as error:
            failure = error
        except Exception as error:  # the thread must live on, or nobody would learn of it
            failure = StoreError(
                f"the cache's index {self._connection.path}: {type(error).__name__}: {error}; please report this"
            )
        with self._work:
            self._pending = {row[0]: row for row in rest} | self._pending
            self._bytes = sum(len(row[6]) for row in self._pending.values())
            self._underway = {}
            self._failure = failure
            self._rounds += 1
            self._done.notify_all()

    def _write(self, connection: sqlite3.Connection, batch: Sequence[Row]) -> None:
        connection.execute("BEGIN IMMEDIATE")
        note_origins(connection, [self._origins[number] for number in {row[2] for row in batch}])
        # In the order of the tree, whose pages are then touched once each.
        connection.executemany(_PUT_NOW.format(now=round(self._clock() * 1e6)), sorted(batch))
        for source in (WAITING, PRIVATE):
            rows = [row for row in batch if row[1] == source]
            if rows:
                keys = b"".join(row[0] for row in rows)
                connection.execute(_WAITS, (keys, source, max(row[4] for row in rows)))
        connection.execute("COMMIT")


def note_origins(connection: sqlite3.Connection, origins: Iterable[Origin]) -> None:
    """Let the index know whose answers it holds."""
    rows = [(one.id, one.service, one.version, one.definition, one.code, one.run) for one in origins]
    connection.executemany(_ORIGIN, rows)
