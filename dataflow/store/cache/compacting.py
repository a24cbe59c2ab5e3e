"""Merges small segments into larger ones, safely beside other hosts: what is merged appears before the small ones go.

Two hosts that merge the same at the same time leave some answers twice, which does no harm; none is ever lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataflow.store.cache.connection import TURN, Connection, alone
from dataflow.store.cache.segments import SCHEMA, Damaged, Segments
from dataflow.store.cache.warming import rename

SMALL, MANY = 4 * 2**20, 8
"""Bytes below which a segment is small, and how many of them are merged at least."""

_MERGED = 32 * 2**20
"""Bytes of the segments that are merged at once."""


def compact(connection: Connection, segments: Segments, folders: Iterable[str]) -> int:
    """Merge the small segments in some folders, where there are many; how many are gone.

    Raises:
        OSError: The catalog cannot be written.
        StoreError: The index cannot be written.
    """
    gone = 0
    for folder in folders:
        if len(_small(segments, folder)) >= MANY:
            with alone(connection.path, TURN):
                for names in _groups(_small(segments, folder)):
                    gone += _merge(connection, segments, folder, names)
    return gone


def _small(segments: Segments, folder: str) -> dict[str, int]:
    return {name: size for name, size in segments.sizes(folder).items() if size < SMALL}


def _groups(sizes: dict[str, int]) -> Iterator[list[str]]:
    """Segments that are merged together, oldest first."""
    group: list[str] = []
    for name, size in sizes.items():
        if sum(sizes[one] for one in group) + size > _MERGED:
            yield group
            group = []
        group.append(name)
    yield group


def _merge(connection: Connection, segments: Segments, folder: str, names: Sequence[str]) -> int:
    tables, read = [], []
    for name in names:
        try:
            tables.append(segments.read(folder, name))
            read.append(name)
        except (Damaged, FileNotFoundError):
            continue
    if len(read) < 2:
        return 0
    merged = segments.write(folder, newest(_united(tables)), replaces=read)
    if not set(read) <= set(segments.sizes(folder)):
        # Another host has merged or purged some of them meanwhile, and what it did holds.
        segments.remove(folder, [merged])
        return 0
    connection.run(partial(rename, folder=folder, names=read, name=merged))
    segments.remove(folder, read)
    return len(read) - 1


def _united(tables: Sequence[pa.Table]) -> pa.Table:
    """All answers; segments of before have no column for the run."""
    whole = [one if "run" in one.column_names else one.append_column("run", pa.nulls(one.num_rows)) for one in tables]
    return pa.concat_tables([one.select(SCHEMA.names).cast(SCHEMA) for one in whole])


def newest(table: pa.Table) -> pa.Table:
    """The answers sorted by key, each key once: with the answer that was given last."""
    order = pc.sort_indices(table, sort_keys=[("key", "ascending"), ("created", "descending")])
    ordered = table.take(order).combine_chunks()
    keys: Any = np.array(ordered["key"].to_pylist(), dtype=object)
    first = np.append(True, keys[1:] != keys[:-1]) if len(keys) else np.zeros(0, np.bool_)
    return ordered.filter(pa.array(first.astype(np.bool_)))
