"""From the catalog to the index: segments that this host does not know are taken up, those that are gone are forgotten.

Keys are hashes, so they are taken up range by range over all segments at once: each range is sorted in memory, and the
tree of the index only grows at its end. Other processes may put answers meanwhile.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataflow.store.cache.answers import FOUND, Origin, Row
from dataflow.store.cache.connection import LOADING, TURN, Connection, alone
from dataflow.store.cache.journal import PUT, note_origins
from dataflow.store.cache.segments import About, Damaged, Segments

_BATCH = 10_000
"""Answers per commit."""

_RANGE, _RANGE_BYTES = 400_000, 64 * 2**20
"""Answers that are sorted in memory at once, and their bytes."""

_KEY = 20
"""Bytes of a key."""

_COLUMNS = ["key", "status", "value", "created", "cost", "code", "run"]
_SPACE = 2**32
"""Ranges are cut by the first four bytes of a key."""


@dataclass(slots=True, kw_only=True)
class _New:
    """A segment that is being taken up."""

    folder: str
    name: str
    about: About
    source: int = 0
    left: bool = True
    origins: set[Origin] = field(default_factory=set)


def take_up(connection: Connection, segments: Segments, folders: Iterable[str]) -> list[str]:
    """Let the index hold just what the segments of some folders hold, beside what is in none.

    Args:
        connection: The index.
        segments: Those of the catalog.
        folders: `service/definition` of all that is needed.

    Returns:
        A sentence about each segment that cannot be read; its answers are paid again.

    Raises:
        OSError: The catalog cannot be read.
        StoreError: The index cannot be read or written.
    """
    with alone(connection.path, TURN):
        listed = {folder: set(segments.sizes(folder)) for folder in folders}
        new: list[_New] = []
        problems: list[str] = []
        for folder, names in listed.items():
            known = connection.run(partial(_known, folder=folder))
            for one in _describe(segments, folder, sorted(names - known), problems):
                replaces = one.about.replaces
                if replaces != () and connection.run(partial(rename, folder=folder, names=replaces, name=one.name)):
                    continue
                new.append(one)
        _load(connection, segments, new, problems)
        for folder, names in listed.items():
            connection.run(partial(forget, folder=folder, keep=names))
        return [f"{problem}; it is skipped, and its answers are paid again" for problem in problems]


def _known(connection: sqlite3.Connection, *, folder: str) -> set[str]:
    rows = connection.execute("SELECT name FROM sources WHERE folder = ? AND whole = 1", (folder,))
    return {name for (name,) in rows}


def _describe(segments: Segments, folder: str, names: Sequence[str], problems: list[str]) -> Iterator[_New]:
    for name in names:
        try:
            with segments.opened(folder, name) as (_, about):
                found = _New(folder=folder, name=name, about=about)
        except FileNotFoundError:
            # Somebody has just merged it into another, which is taken up next time.
            continue
        except Damaged as error:
            problems.append(str(error))
        else:
            yield found


def _load(connection: Connection, segments: Segments, new: Sequence[_New], problems: list[str]) -> None:
    """Put the answers of new segments into the index."""
    if not new:
        return
    connection = Connection(connection.path, pragmas=LOADING)
    try:
        _load_all(connection, segments, new, problems)
    finally:
        connection.close()


def _load_all(connection: Connection, segments: Segments, new: Sequence[_New], problems: list[str]) -> None:
    connection.run(partial(_begin, new=new))
    rows, size = sum(one.about.rows for one in new), sum(one.about.bytes for one in new)
    parts = max(1, -(-rows // _RANGE), -(-size // _RANGE_BYTES))
    for part in range(parts):
        bounds = part * _SPACE // parts, (part + 1) * _SPACE // parts
        tables = [table for one in new if one.left for table in _slices(segments, one, bounds, problems)]
        connection.run(partial(note_origins, origins={origin for one in new for origin in one.origins}))
        for batch in _batches(_sorted(tables)) if tables else ():
            connection.run(partial(_insert, batch=batch))
    connection.run(partial(_end, new=[one for one in new if one.left]))


def _slices(segments: Segments, one: _New, bounds: tuple[int, int], problems: list[str]) -> list[pa.Table]:
    """What a segment has of a range of keys; none, once it turns out to be damaged or gone."""
    try:
        with segments.opened(one.folder, one.name) as (file, _):
            groups = [at for at in range(file.num_row_groups) if _overlaps(file, at, bounds)]
            return [_prepared(_within(file.read_row_group(at, columns=_COLUMNS), bounds), one) for at in groups]
    except FileNotFoundError:
        one.left = False
    except Damaged as error:
        one.left = False
        problems.append(str(error))
    return []


def _overlaps(file: Any, group: int, bounds: tuple[int, int]) -> bool:
    """Whether a row group has keys of a range, as far as its footer tells."""
    place = file.schema_arrow.get_field_index("key")
    known = file.metadata.row_group(group).column(place).statistics
    if known is None or not known.has_min_max:
        return True
    return _prefix(known.max) >= bounds[0] and _prefix(known.min) < bounds[1]


def _prefix(key: bytes) -> int:
    return int.from_bytes(key[:4].ljust(4, b"\0"), "big")


def _prefixes(keys: pa.Array, *, width: int) -> np.ndarray[Any, Any]:
    """The first bytes of each key as a number."""
    _, _, data = keys.buffers()
    if len(keys) * _KEY > (0 if data is None else data.size) - keys.offset * _KEY:
        raise ValueError(f"it holds keys that have not {_KEY} bytes")
    whole = np.frombuffer(data, np.uint8, len(keys) * _KEY, keys.offset * _KEY).reshape(-1, _KEY)
    return np.ascontiguousarray(whole[:, :width]).view(f">u{width}").ravel().astype(np.uint64)


def _within(table: pa.Table, bounds: tuple[int, int]) -> pa.Table:
    if bounds == (0, _SPACE):
        return table
    # Sorted, as every segment is; a foreign one that is not is only taken up more slowly and in part.
    places = _prefixes(table["key"].combine_chunks(), width=4)
    low, high = np.searchsorted(places, bounds)
    return table.slice(int(low), int(high - low))


def _prepared(table: pa.Table, one: _New) -> pa.Table:
    """The columns of the index but for the key's place in it, in the form that is inserted."""
    size = table.num_rows
    numbers = _numbers_of_origins(table, one)
    found = np.asarray(pc.equal(table["status"], str(FOUND[1])))
    return pa.table(
        {
            "key": table["key"],
            "source": np.full(size, one.source, np.int64),
            "origin": numbers,
            "found": found.astype(np.int64),
            "created": table["created"].cast(pa.int64()),
            "cost": table["cost"],
            "value": table["value"].cast(pa.binary()).fill_null(b""),
        }
    )


def _numbers_of_origins(table: pa.Table, one: _New) -> np.ndarray[Any, Any]:
    """For each answer the number of whose it is; the origins are noted."""
    runs = table["run"] if "run" in table.column_names else pa.nulls(table.num_rows, pa.string())
    codes, code_at = _encoded(table["code"])
    names, run_at = _encoded(runs)
    pairs, chosen = np.unique(code_at * len(names) + run_at, return_inverse=True)
    origins = [one.about.origin(codes[at // len(names)], names[at % len(names)]) for at in pairs.tolist()]
    one.origins.update(origins)
    return np.array([origin.id for origin in origins], np.int64)[chosen]


def _encoded(column: Any) -> tuple[list[Any], np.ndarray[Any, Any]]:
    """The values of a column, with None as the last one, and for each row the place of its own."""
    joined = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    found = joined.dictionary_encode()
    places = found.indices.fill_null(len(found.dictionary)).to_numpy(zero_copy_only=False).astype(np.int64)
    return [*found.dictionary.to_pylist(), None], places


def _sorted(tables: Sequence[pa.Table]) -> pa.Table:
    joined = pa.concat_tables(tables).combine_chunks()
    if len(tables) == 1 or not joined.num_rows:
        return joined
    # By eight bytes of a hash: enough to be beside each other in the tree.
    return joined.take(pa.array(np.argsort(_prefixes(joined["key"].chunk(0), width=8))))


def _batches(table: pa.Table) -> Iterator[list[Row]]:
    for batch in table.to_batches(max_chunksize=_BATCH):
        columns = [batch.column(at) for at in range(batch.num_columns)]
        keys, *numbers, values = columns
        plain = [one.to_numpy(zero_copy_only=False).tolist() for one in numbers]
        yield list(zip(keys.to_pylist(), *plain, values.to_pylist(), strict=True))


def _begin(connection: sqlite3.Connection, *, new: Sequence[_New]) -> None:
    """Give each segment its number; one that was begun before, by a process that ended, keeps the number it has."""
    connection.execute("BEGIN IMMEDIATE")
    for one in new:
        place = one.folder, one.name
        before = connection.execute("SELECT id FROM sources WHERE folder = ? AND name = ?", place).fetchone()
        added = "INSERT INTO sources (folder, name, whole) VALUES (?, ?, 0)"
        one.source = before[0] if before else int(connection.execute(added, place).lastrowid or 0)
    connection.execute("COMMIT")


def _insert(connection: sqlite3.Connection, *, batch: Sequence[Row]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(PUT, batch)
    connection.execute("COMMIT")


def _end(connection: sqlite3.Connection, *, new: Sequence[_New]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany("UPDATE sources SET whole = 1 WHERE id = ?", [(one.source,) for one in new])
    connection.execute("COMMIT")


def rename(connection: sqlite3.Connection, *, folder: str, names: Sequence[str], name: str) -> bool:
    """Let the answers of some segments be those of the one that has replaced them; False where not all are known."""
    if not set(names) <= _known(connection, folder=folder):
        return False
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(
        "UPDATE sources SET name = ? WHERE folder = ? AND name = ?", [(name, folder, one) for one in names]
    )
    connection.execute("COMMIT")
    return True


def forget(connection: sqlite3.Connection, *, folder: str, keep: Iterable[str]) -> None:
    """Remove the answers of segments that are gone: somebody has purged them, or merged them into others."""
    rows = connection.execute("SELECT id, name FROM sources WHERE folder = ?", (folder,)).fetchall()
    kept = set(keep)
    gone = [(number,) for number, name in rows if name not in kept]
    if not gone:
        return
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("CREATE TEMP TABLE IF NOT EXISTS gone (id INTEGER PRIMARY KEY)")
    connection.execute("DELETE FROM gone")
    connection.executemany("INSERT INTO gone VALUES (?)", gone)
    connection.execute("DELETE FROM answers WHERE source > 0 AND source IN (SELECT id FROM gone)")
    connection.execute("DELETE FROM sources WHERE id IN (SELECT id FROM gone)")
    connection.execute("COMMIT")
