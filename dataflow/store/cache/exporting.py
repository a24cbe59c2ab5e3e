"""From the index to the catalog: answers that are in no segment yet are written into new ones, and noted.

One process of a host does so at a time, so that none is written twice. A crash between writing and noting is harmless:
whoever opens the cache next finds a segment that the index does not know, and takes it up.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import TypeAlias

from dataflow.store.cache.answers import Origin, split
from dataflow.store.cache.connection import TURN, Connection, alone
from dataflow.store.cache.segments import Segments, table_of

_ROWS, _BYTES = 50_000, 32 * 2**20
"""Answers that are written at once, and their bytes."""

_ASKED = 1000
"""Keys per query."""

_WAITING = "SELECT id, keys FROM waiting WHERE source = 0 ORDER BY id"
_ANSWERS = """SELECT key, found, created, cost, value, service, version, definition, code, run
    FROM answers JOIN origins ON origins.id = origin WHERE source = 0 AND key IN ({})"""

_NOTE = "UPDATE answers SET source = ? WHERE key = ? AND source = 0 AND created = ?"
_SOURCE = "INSERT INTO sources (folder, name, whole) VALUES (?, ?, 0)"

Kept: TypeAlias = "tuple[Origin, bytes, int, int, float, bytes]"


def export(connection: Connection, segments: Segments) -> int:
    """Write what no segment holds yet; how many answers that were.

    Raises:
        OSError: The catalog cannot be written.
        StoreError: The index cannot be read or written.
    """
    if not connection.run(_any):
        return 0
    written = 0
    with alone(connection.path, TURN):
        while (found := connection.run(_waiting)).last:
            for folder, kept in _by_folder(found.rows.values()).items():
                name = segments.write(folder, table_of(kept))
                connection.run(partial(_note, folder=folder, name=name, kept=kept))
            connection.run(partial(_done, last=found.last))
            written += len(found.rows)
    return written


def _any(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute("SELECT 1 FROM waiting WHERE source = 0 LIMIT 1").fetchone())


@dataclass(frozen=True, slots=True)
class _Waiting:
    """Answers by key, and the place in line of the last one that was looked at; 0 where nobody waits."""

    rows: dict[bytes, Kept]
    last: int


def _waiting(connection: sqlite3.Connection) -> _Waiting:
    """The next answers, as many as may be in memory; their origins are the same objects."""
    rows: dict[bytes, Kept] = {}
    last, size, origins = 0, 0, dict[tuple[str | None, ...], Origin]()
    for number, joined in connection.execute(_WAITING):
        last, keys = number, split(joined)
        # What is missing is in a segment by now, or purged.
        for start in range(0, len(keys), _ASKED):
            asked = keys[start : start + _ASKED]
            answers = connection.execute(_ANSWERS.format(",".join("?" * len(asked))), asked)
            for key, found, created, cost, value, *named in answers:
                origin = origins.setdefault(tuple(named), _origin(*named))
                rows[key] = (origin, key, found, created, cost, value)
                size += len(value)
        if len(rows) >= _ROWS or size >= _BYTES:
            break
    return _Waiting(rows, last)


def _origin(service: str, version: str, definition: str, code: str | None, run: str | None) -> Origin:
    return Origin(service=service, version=version, definition=definition, code=code, run=run)


def _done(connection: sqlite3.Connection, *, last: int) -> None:
    connection.execute("DELETE FROM waiting WHERE source = 0 AND id <= ?", (last,))


def _by_folder(rows: Iterable[Kept]) -> dict[str, list[Kept]]:
    folders: dict[str, list[Kept]] = {}
    for row in rows:
        folders.setdefault(row[0].folder, []).append(row)
    for kept in folders.values():
        kept.sort(key=itemgetter(1))
    return folders


def _note(connection: sqlite3.Connection, *, folder: str, name: str, kept: list[Kept]) -> None:
    """Say in which segment the answers are; one that was replaced meanwhile still waits for the next."""
    connection.execute("BEGIN IMMEDIATE")
    number = connection.execute(_SOURCE, (folder, name)).lastrowid
    noted = connection.executemany(_NOTE, [(number, row[1], row[3]) for row in kept]).rowcount
    # Where rows are missing, perhaps since the index is another by now, the segment is read when it is next opened.
    connection.execute("UPDATE sources SET whole = ? WHERE id = ?", (noted == len(kept), number))
    connection.execute("COMMIT")
