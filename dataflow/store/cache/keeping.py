"""What there is in the cache of a catalog, and how it is removed: over the segments, and over this host's index.

An index of another host forgets what was purged when it is next opened, since its segments are gone.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from dataflow.outcomes import Status
from dataflow.policies.money import cleaned
from dataflow.store.cache.compacting import newest
from dataflow.store.cache.connection import TURN, Connection, alone, journal_path
from dataflow.store.cache.segments import Damaged, Segments
from dataflow.store.files import files_at, rooted, translated

_WAITING = """SELECT service, version, definition, count(*), sum(1 - found), sum(length(value)), min(created),
    max(created), sum(cost) FROM answers JOIN origins ON origin = origins.id WHERE source <= 0 GROUP BY 1, 2, 3"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What the cache holds of one service and definition.

    Attributes:
        service: The name of the service.
        version: Its version.
        definition: The name of its folder.
        answers: How many there are.
        not_found: Those among them that say that nothing is known.
        segments: Files in the catalog.
        bytes: Their size, and that of the values that are in none yet.
        oldest: When the first answer was given, as ISO text in UTC.
        newest: When the last one was.
        cost: What they have cost, in the currency of the service.
    """

    service: str
    version: str
    definition: str
    answers: int
    not_found: int
    segments: int
    bytes: int
    oldest: str
    newest: str
    cost: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Purged:
    """What a purge has removed."""

    answers: int
    segments: int


def holdings(root: str | Path, *, warn: Callable[[str], object]) -> list[Holding]:
    """What the cache of a catalog holds, by service and definition, the newest last.

    Args:
        root: The catalog.
        warn: Called with a sentence about each segment that cannot be read.

    Raises:
        StoreError: The catalog or the index cannot be read.
    """
    root = rooted(root)
    segments = Segments(files_at(root), root)
    with translated(f"{segments.path('')}: looking at the cache"):
        found = [one for folder in segments.folders() for one in _of_folder(segments, folder, warn)]
    path = journal_path(root)
    if path.exists():
        connection = Connection(path)
        found += [_waiting(*row) for row in connection.run(lambda one: one.execute(_WAITING).fetchall())]
        connection.close()
    together: dict[tuple[str, str], Holding] = {}
    for one in found:
        place = one.service, one.definition
        together[place] = _added(together[place], one) if place in together else one
    return sorted(together.values(), key=lambda one: (one.service, one.newest))


def _of_folder(segments: Segments, folder: str, warn: Callable[[str], object]) -> Iterator[Holding]:
    """What the segments of a folder hold; of several answers to one key the last one counts."""
    tables, size, about = [], 0, None
    for name, bytes_ in segments.sizes(folder).items():
        try:
            with segments.opened(folder, name) as (file, about):
                tables.append(file.read(columns=["key", "status", "created", "cost"]))
        except FileNotFoundError:
            continue
        except Damaged as error:
            warn(str(error))
            continue
        size += bytes_
    if about is None or not tables:
        return
    table = newest(pa.concat_tables(tables))
    ends = pc.min_max(table["created"]).as_py()
    yield Holding(
        service=about.service,
        version=about.version,
        definition=about.definition,
        answers=table.num_rows,
        not_found=pc.sum(pc.equal(table["status"], str(Status.NOT_FOUND))).as_py() or 0,
        segments=len(tables),
        bytes=size,
        oldest=_text(ends["min"]),
        newest=_text(ends["max"]),
        cost=cleaned(pc.sum(table["cost"]).as_py() or 0.0),
    )


def _waiting(
    service: str,
    version: str,
    definition: str,
    answers: int,
    missed: int,
    size: int,
    oldest: int,
    newest: int,
    cost: float,
) -> Holding:
    return Holding(
        service=service,
        version=version,
        definition=definition,
        answers=answers,
        not_found=missed,
        segments=0,
        bytes=size,
        oldest=_text(datetime.fromtimestamp(oldest / 1e6, UTC)),
        newest=_text(datetime.fromtimestamp(newest / 1e6, UTC)),
        cost=cleaned(cost),
    )


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")


def _added(one: Holding, other: Holding) -> Holding:
    return Holding(
        service=one.service,
        version=one.version,
        definition=one.definition,
        answers=one.answers + other.answers,
        not_found=one.not_found + other.not_found,
        segments=one.segments + other.segments,
        bytes=one.bytes + other.bytes,
        oldest=min(one.oldest, other.oldest),
        newest=max(one.newest, other.newest),
        cost=cleaned(one.cost + other.cost),
    )


def purge(
    root: str | Path, *, service: str | None = None, version: str | None = None, before: float | None = None
) -> Purged:
    """Remove answers from the cache of a catalog: all, or those that fit everything that is given.

    A segment that cannot be read is removed where no version and no age is asked for.

    Args:
        root: The catalog.
        service: Only those of this service.
        version: Only those of this version of a service.
        before: Only those given before this time, in seconds since 1970.

    Raises:
        StoreError: The catalog or the index cannot be written.
    """
    root = rooted(root)
    segments = Segments(files_at(root), root)
    limit = None if before is None else round(before * 1e6)
    path = journal_path(root)
    connection = Connection(path) if path.exists() else None
    with alone(path, TURN), translated(f"{segments.path('')}: purging the cache"):
        done = [
            _purge(segments, folder, name, version=version, before=limit)
            for folder in segments.folders(service)
            for name in segments.sizes(folder)
        ]
        left = 0
        if connection is not None:
            left = connection.run(partial(_forget, service=service, version=version, before=limit))
            connection.close()
    return Purged(answers=sum(one.answers for one in done) + left, segments=sum(one.segments for one in done))


def _purge(segments: Segments, folder: str, name: str, *, version: str | None, before: int | None) -> Purged:
    try:
        with segments.opened(folder, name) as (file, about):
            if version not in (None, about.version):
                return Purged(answers=0, segments=0)
            created = file.read(columns=["created"])["created"].cast(pa.int64())
            old = len(created) if before is None else int(pc.sum(pc.less(created, before)).as_py() or 0)
            if old and old < len(created):
                assert before is not None
                table = file.read()
                # It names nothing that it replaces, so that other hosts look at it anew.
                segments.write(folder, table.filter(pc.greater_equal(table["created"].cast(pa.int64()), before)))
    except FileNotFoundError:
        return Purged(answers=0, segments=0)
    except Damaged:
        if version is not None or before is not None:
            return Purged(answers=0, segments=0)
        old = 0
    else:
        if not old:
            return Purged(answers=0, segments=0)
    segments.remove(folder, [name])
    return Purged(answers=old, segments=1)


def _forget(connection: sqlite3.Connection, *, service: str | None, version: str | None, before: int | None) -> int:
    """Remove answers from the index; how many of them were in no segment."""
    named = "SELECT id FROM origins WHERE service = coalesce(?, service) AND version = coalesce(?, version)"
    where = f"origin IN ({named}) AND created < coalesce(?, created + 1)"
    given: Iterable[object] = (service, version, before)
    connection.execute("BEGIN IMMEDIATE")
    waiting = connection.execute(f"SELECT count(*) FROM answers WHERE source <= 0 AND {where}", tuple(given))
    count = int(waiting.fetchone()[0])
    connection.execute(f"DELETE FROM answers WHERE {where}", tuple(given))
    connection.execute("COMMIT")
    return count
