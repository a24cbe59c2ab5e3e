"""The cache in bulk against bare sqlite3 over the same keys and values, with its batch sizes and pragmas.

    python tests/bench/cache.py [ANSWERS] [WARMED]

Reads and writes: bare time over ours, at least 0.5 and 0.7 are promised. Warming a fresh host: our time over that of a
bare executemany in batches of 10,000, at most 1.5. Medians of three, in turns.
"""

from __future__ import annotations

import os
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from dataflow.engine.arrow import keep_pandas_out
from dataflow.outcomes import Status
from dataflow.store.cache.answers import Answer, Origin
from dataflow.store.cache.cache import _ASKED, Cache
from dataflow.store.cache.connection import PRAGMAS
from dataflow.store.cache.journal import _ROWS
from dataflow.store.cache.segments import Segments, table_of
from dataflow.store.cache.warming import _BATCH
from dataflow.store.files import files_at

ORIGIN = Origin(service="company", version="1", definition="0123456789ab")
SEGMENTS, ROUNDS = 20, 3
PARTITION = 10_000
"""Keys that are asked for at once, as a partition does, in queries of a thousand on both sides."""


def pairs(count: int) -> list[tuple[bytes, bytes]]:
    """Keys and values as a provider's answers are: some hundred bytes of JSON."""
    draw = random.Random(1)
    numbers = (draw.getrandbits(160) for _ in range(count))
    return [
        (
            number.to_bytes(20, "big"),
            b'{"company_name": "Company %d", "employees": %d, "city": "Springfield"}' % (at, at),
        )
        for at, number in enumerate(numbers)
    ]


def batches(rows: Sequence[tuple[bytes, bytes]], size: int) -> Iterator[Sequence[tuple[bytes, bytes]]]:
    return (rows[start : start + size] for start in range(0, len(rows), size))


class Bare:
    """A table of keys and values, and nothing else."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode = WAL")
        for pragma in PRAGMAS:
            self.connection.execute(f"PRAGMA {pragma}")
        self.connection.execute("CREATE TABLE kept (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID")

    def write(self, rows: Sequence[tuple[bytes, bytes]], size: int) -> None:
        for batch in batches(rows, size):
            self.connection.execute("BEGIN IMMEDIATE")
            self.connection.executemany("INSERT OR REPLACE INTO kept VALUES (?, ?)", batch)
            self.connection.execute("COMMIT")

    def read(self, keys: Sequence[bytes]) -> int:
        found: dict[bytes, bytes] = {}
        for start in range(0, len(keys), _ASKED):
            asked = keys[start : start + _ASKED]
            marks = ",".join("?" * len(asked))
            found.update(self.connection.execute(f"SELECT key, value FROM kept WHERE key IN ({marks})", asked))
        return len(found)


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def reads_and_writes(folder: Path, rows: list[tuple[bytes, bytes]]) -> tuple[float, float, float, float]:
    """Seconds of bare writes, ours, bare reads, ours."""
    bare, cache = Bare(folder / "bare.sqlite"), Cache(str(folder / "catalog"), path=folder / "ours.sqlite")
    answers = [(key, Answer(Status.SUCCEEDED, value, 1.5, 0.01)) for key, value in rows]
    asked = [key for key, _ in rows]
    random.Random(2).shuffle(asked)

    def each(read: Callable[[Sequence[bytes]], object]) -> None:
        for start in range(0, len(asked), PARTITION):
            read(asked[start : start + PARTITION])

    def put() -> None:
        for key, answer in answers:
            cache.put(key, answer, origin=ORIGIN)
        cache.flush()

    written = seconds(lambda: bare.write(rows, _ROWS)), seconds(put)
    read = seconds(lambda: each(bare.read)), seconds(lambda: each(cache.get_many))
    assert bare.read(asked) == len(cache.get_many(asked)) == len(rows)
    cache.close()
    return *written, *read


def warming(folder: Path, catalog: str, rows: list[tuple[bytes, bytes]]) -> tuple[float, float]:
    """Seconds of a bare executemany in the order of the keys, which is the fastest there is, and of a fresh host."""
    ordered = sorted(rows)
    bare = seconds(lambda: Bare(folder / "sorted.sqlite").write(ordered, _BATCH))
    cache = Cache(catalog, path=folder / "fresh.sqlite")
    ours = seconds(lambda: cache.know([ORIGIN]))
    assert len(cache.get_many([key for key, _ in rows[:1000]])) == 1000
    cache.close()
    return bare, ours


def segments_of(catalog: str, rows: list[tuple[bytes, bytes]]) -> None:
    """Segments as a long run leaves them."""
    segments = Segments(files_at(catalog), catalog)
    for batch in batches(rows, -(-len(rows) // SEGMENTS)):
        kept = [(ORIGIN, key, 1, 1_500_000, 0.01, value) for key, value in sorted(batch)]
        segments.write(ORIGIN.folder, table_of(kept))


def main() -> None:
    """Measure and print."""
    keep_pandas_out()
    count, warmed = (int(one) for one in [*sys.argv[1:], *("500000", "2000000")[len(sys.argv) - 1 :]])
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as name:
        rows, found = pairs(count), []
        for at in range(ROUNDS):
            folder = Path(name, f"small-{at}")
            folder.mkdir()
            found.append(reads_and_writes(folder, rows))
        bare_put, put, bare_get, get = (statistics.median(one) for one in zip(*found, strict=True))
        print(f"{count:,} answers")
        print(f"writes: bare {bare_put:.2f} s, ours {put:.2f} s, {bare_put / put:.2f} times as fast (at least 0.7)")
        print(f"reads: bare {bare_get:.2f} s, ours {get:.2f} s, {bare_get / get:.2f} times as fast (at least 0.5)")
        rows, took = pairs(warmed), []
        segments_of(f"{name}/catalog", rows)
        for at in range(ROUNDS):
            folder = Path(name, f"large-{at}")
            folder.mkdir()
            took.append(warming(folder, f"{name}/catalog", rows))
        ordered, ours = (statistics.median(one) for one in zip(*took, strict=True))
        shuffled = seconds(lambda: Bare(Path(name, "random.sqlite")).write(rows, _BATCH))
        print(f"warming with {warmed:,} answers from {SEGMENTS} segments: {ours:.2f} s")
        print(f"  bare, sorted: {ordered:.2f} s, {ours / ordered:.2f} times as long (at most 1.5)")
        print(f"  bare, as they came: {shuffled:.2f} s, {ours / shuffled:.2f} times as long")


if __name__ == "__main__":
    main()
