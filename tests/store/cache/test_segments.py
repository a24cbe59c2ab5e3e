"""Hosts that share a catalog share their answers, whatever is killed, damaged, merged or purged meanwhile."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from keys import COMPANY, NEWS, answer, fill, kept, key, writer

from dataflow.errors import StoreError
from dataflow.outcomes import Status
from dataflow.store.cache import compacting, warming
from dataflow.store.cache.answers import Origin
from dataflow.store.cache.cache import Cache
from dataflow.store.cache.keeping import holdings, purge
from dataflow.store.files import files_at

Host = Callable[[str], Cache]


@pytest.fixture(params=["local", "memory"])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A catalog, once on a local path and once in an object store."""
    return str(tmp_path / "catalog") if request.param == "local" else f"memory://{uuid4().hex}"


def host(root: str, folder: Path, *origins: Origin) -> Cache:
    """The cache as a host sees it whose index is in a folder."""
    cache = Cache(root, path=folder / "index.sqlite")
    cache.know(origins or [COMPANY])
    return cache


def numbers(cache: Cache, *asked: int) -> list[int]:
    found = cache.get_many([key(number) for number in asked])
    assert all(int(found[key(number)].value) == number for number in asked if key(number) in found)
    return [number for number in asked if key(number) in found]


def names(root: str, folder: str = COMPANY.folder) -> list[str]:
    return sorted(files_at(root).sizes(f"{root}/_cache/{folder}"))


def test_what_one_host_has_paid_for_serves_another_as_it_was(anywhere: str, tmp_path: Path) -> None:
    given = {
        key(1): answer(b'{"name": "\xc3\xa9"}', cost=0.25, created=1_795_000_000.123456),
        key(2): answer(b"", status=Status.NOT_FOUND, created=7.0),
    }
    with host(anywhere, tmp_path / "a") as one:
        for each, value in given.items():
            one.put(each, value, origin=COMPANY)
        assert one.export() == 2
        assert one.export() == 0
    with host(anywhere, tmp_path / "b") as other:
        assert other.get_many([*given, key(3)]) == given
        assert other.export() == 0
    assert len(names(anywhere)) == 1


def test_closing_brings_what_is_left_to_the_catalog_and_private_answers_stay(root: str, tmp_path: Path) -> None:
    with host(root, tmp_path / "a") as one:
        fill(one, 1)
        one.put(key(2), answer(created=time.time()), origin=COMPANY, private=True)
        one.flush()
    assert numbers(host(root, tmp_path / "b"), 1) == [1]
    assert host(root, tmp_path / "b").get_many([key(2)]) == {}
    assert set(host(root, tmp_path / "a").get_many([key(1), key(2)])) == {key(1), key(2)}


def test_only_what_is_asked_for_is_taken_up(root: str, tmp_path: Path) -> None:
    with host(root, tmp_path / "a", COMPANY, NEWS) as one:
        fill(one, 1)
        fill(one, 2, origin=NEWS)
    with host(root, tmp_path / "b", NEWS) as other:
        assert numbers(other, 1, 2) == [2]
        other.know([COMPANY])
        assert numbers(other, 1, 2) == [1, 2]


def test_anybody_may_query_segments(root: str, tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    with host(root, tmp_path / "a", COMPANY, NEWS) as one:
        fill(one, 3, 1, 2, cost=0.5, created=1_795_000_000.5)
        one.put(key(4), answer(b"", status=Status.NOT_FOUND), origin=NEWS)
    found = duckdb.sql(
        f"select service, version, status, value, epoch(created), cost, code from '{root}/_cache/*/*/*.parquet'"
        " order by service, value"
    ).fetchall()
    company = [("company", "1", "succeeded", str(number), 1_795_000_000.5, 0.5, None) for number in (1, 2, 3)]
    assert found == [*company, ("news", "2", "not_found", None, 1.5, 0.0, "abc")]


def test_a_segment_is_sorted_by_key_and_holds_no_more_than_answers(root: str, tmp_path: Path) -> None:
    with host(root, tmp_path / "a") as one:
        fill(one, *range(100))
    table = pq.read_table(f"{root}/_cache/{COMPANY.folder}/{names(root)[0]}")
    assert table["key"].to_pylist() == sorted(key(number) for number in range(100))
    assert table.column_names == ["service", "version", "key", "status", "value", "created", "cost", "code", "run"]


def test_many_segments_are_taken_up_range_by_range(root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with host(root, tmp_path / "a") as one:
        for at in range(5):
            fill(one, *range(at * 700, at * 700 + 1000), created=float(at))
            one.export()
    monkeypatch.setattr(warming, "_RANGE", 300)
    monkeypatch.setattr(warming, "_BATCH", 100)
    with host(root, tmp_path / "b") as other:
        assert numbers(other, *range(4000)) == list(range(3800))
        assert other.get_many([key(750)])[key(750)].created == 1.0


def test_a_newer_answer_of_this_host_stays_when_an_older_one_is_taken_up(root: str, tmp_path: Path) -> None:
    other = host(root, tmp_path / "b")
    with host(root, tmp_path / "a") as one:
        fill(one, 1, created=1.0)
    other.put(key(1), answer(b'"new"', created=2.0), origin=COMPANY)
    other.flush()
    other.know([COMPANY])
    assert other.get_many([key(1)])[key(1)].value == b'"new"'
    assert other.export() == 1


CRASH = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {here!r})
from keys import COMPANY, fill
from dataflow.store.cache import exporting
from dataflow.store.cache.cache import Cache
exporting._note = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
cache = Cache(sys.argv[1], path=Path(sys.argv[2]))
fill(cache, 1, 2)
cache.export()
"""


def test_a_kill_between_writing_and_noting_costs_nothing(root: str, tmp_path: Path) -> None:
    script = CRASH.format(here=str(Path(__file__).parent))
    command = [sys.executable, "-c", script, root, str(tmp_path / "a" / "index.sqlite")]
    assert subprocess.run(command, check=False, timeout=60).returncode == -signal.SIGKILL
    assert len(names(root)) == 1
    with host(root, tmp_path / "a") as again:
        assert numbers(again, 1, 2) == [1, 2]
        assert again.export() == 0
    assert len(names(root)) == 1


def test_killed_while_it_writes_segments_a_process_loses_nothing_that_was_on_disk(root: str, tmp_path: Path) -> None:
    path = tmp_path / "a" / "index.sqlite"
    process = writer(root, path, 0, 10**6, export=True)
    while not list(Path(root).glob("_cache/*/*/*.parquet")):
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(0.5)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = sqlite3.connect(path)
    there = [int(value) for (value,) in before.execute("SELECT value FROM answers")]
    before.close()
    assert len(there) > 500
    with host(root, tmp_path / "a") as again:
        assert set(numbers(again, *there)) == set(there)
        again.export()
    with host(root, tmp_path / "b") as other:
        assert set(numbers(other, *there)) == set(there)


def test_two_processes_of_a_host_write_no_answer_twice(root: str, tmp_path: Path) -> None:
    path = tmp_path / "a" / "index.sqlite"
    processes = [writer(root, path, start, start + 4000, export=True) for start in (0, 4000)]
    assert [process.communicate(timeout=60) for process in processes] == [("", "")] * 2
    host(root, tmp_path / "a").close()
    files = sorted(Path(root).glob("_cache/*/*/*.parquet"))
    keys = [one for file in files for one in pq.read_table(file)["key"].to_pylist()]
    assert len(keys) == len(set(keys)) == 8000


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "no parquet"])
def test_a_damaged_segment_is_named_and_skipped_and_costs_only_itself(root: str, tmp_path: Path, damage: str) -> None:
    with host(root, tmp_path / "a") as one:
        for number in (1, 2, 3):
            fill(one, number)
            one.export()
    spoiled = Path(root, "_cache", COMPANY.folder, names(root)[0])
    lost = int(pq.read_table(spoiled)["value"][0].as_py())
    data = spoiled.read_bytes()
    footer = pq.ParquetFile(spoiled).metadata.row_group(0)
    inside = footer.column(2).data_page_offset + footer.column(2).total_compressed_size - 2
    spoiled.write_bytes(
        {
            "truncated": data[: len(data) // 2],
            "flipped": data[:inside] + bytes([data[inside] ^ 0xFF]) + data[inside + 1 :],
            "empty": b"",
            "no parquet": b"no parquet at all" * 10,
        }[damage]
    )
    with host(root, tmp_path / "b") as other:
        rest = [number for number in (1, 2, 3) if number != lost]
        assert numbers(other, 1, 2, 3) == rest
        assert [spoiled.name in warning for warning in other.warnings] == [True]
        fill(other, lost)
    assert set(kept(root, tmp_path / "c" / "index.sqlite", 1, 2, 3)) == {1, 2, 3}


def test_small_segments_are_merged_and_every_host_goes_on_with_the_merged_one(anywhere: str, tmp_path: Path) -> None:
    one, other = host(anywhere, tmp_path / "a"), host(anywhere, tmp_path / "b")
    for number in range(compacting.MANY):
        fill(one if number % 2 else other, number)
        (one if number % 2 else other).export()
    other.know([COMPANY])
    assert one.compact() == compacting.MANY - 1
    assert len(names(anywhere)) == 1
    for cache in (one, other, host(anywhere, tmp_path / "c")):
        cache.know([COMPANY])
        assert numbers(cache, *range(compacting.MANY)) == list(range(compacting.MANY))
        assert cache.warnings == []


def test_merging_keeps_the_last_answer_to_a_key(root: str, tmp_path: Path) -> None:
    one = host(root, tmp_path / "a")
    for at in range(compacting.MANY):
        one.put(key(1), answer(b"%d" % at, created=float(at)), origin=COMPANY)
        one.export()
    one.compact()
    table = pq.read_table(f"{root}/_cache/{COMPANY.folder}/{names(root)[0]}")
    assert table["value"].to_pylist() == [str(compacting.MANY - 1)]


def test_a_merge_gives_way_to_whoever_has_removed_a_segment_meanwhile(
    root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = host(root, tmp_path / "a")
    for number in range(compacting.MANY):
        fill(one, number)
        one.export()
    before = names(root)

    def newest(table: pa.Table) -> pa.Table:
        Path(root, "_cache", COMPANY.folder, before[0]).unlink()
        return table

    monkeypatch.setattr(compacting, "newest", newest)
    assert one.compact() == 0
    assert names(root) == before[1:]


def test_a_damaged_segment_is_not_merged_and_stays(root: str, tmp_path: Path) -> None:
    one = host(root, tmp_path / "a")
    for number in range(compacting.MANY + 1):
        fill(one, number)
        one.export()
    spoiled = Path(root, "_cache", COMPANY.folder, names(root)[0])
    spoiled.write_bytes(b"no parquet")
    assert one.compact() == compacting.MANY - 1
    assert spoiled.name in names(root)
    assert len(names(root)) == 2


def test_what_is_purged_is_forgotten_here_at_once_and_elsewhere_when_it_is_next_opened(
    anywhere: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATAFLOW_JOURNAL", str(tmp_path / "here"))
    here, there = Cache(anywhere), host(anywhere, tmp_path / "there", COMPANY, NEWS)
    here.know([COMPANY, NEWS])
    fill(here, 1)
    fill(here, 2, origin=NEWS)
    here.export()
    fill(here, 3)
    here.flush()
    there.know([])
    purged = purge(anywhere, service="company")
    assert (purged.answers, purged.segments) == (2, 1)
    assert numbers(here, 1, 2, 3) == [2]
    there.know([])
    assert numbers(there, 1, 2, 3) == [2]
    assert here.export() == 0


def test_a_purge_by_age_keeps_what_is_younger_also_for_a_host_that_knew_the_segment(
    anywhere: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATAFLOW_JOURNAL", str(tmp_path / "here"))
    there = host(anywhere, tmp_path / "there")
    fill(there, 1, created=10.0)
    fill(there, 2, created=20.0)
    there.export()
    purged = purge(anywhere, before=15.0)
    assert (purged.answers, purged.segments) == (1, 1)
    there.know([])
    assert numbers(there, 1, 2) == [2]
    assert purge(anywhere, before=15.0).answers == 0
    assert purge(anywhere, version="2").answers == 0
    assert purge(anywhere, version="1").answers == 1
    assert names(anywhere) == []


def test_what_there_is_counts_segments_and_what_is_in_none_yet(
    anywhere: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATAFLOW_JOURNAL", str(tmp_path / "here"))
    here = Cache(anywhere)
    fill(here, 1, 2, created=86_400.0, cost=0.25)
    here.put(key(3), answer(b"", status=Status.NOT_FOUND, created=0.0), origin=COMPANY)
    here.export()
    fill(here, 4, created=172_800.0)
    fill(here, 5, origin=NEWS)
    here.flush()
    problems: list[str] = []
    company, news = holdings(anywhere, warn=problems.append)
    assert (company.service, company.version, company.answers, company.not_found) == ("company", "1", 4, 1)
    assert (company.segments, company.cost) == (1, 0.5)
    assert (company.oldest, company.newest) == ("1970-01-01T00:00:00+00:00", "1970-01-03T00:00:00+00:00")
    assert (news.service, news.answers, news.segments, news.bytes) == ("news", 1, 0, 1)
    assert problems == []


def test_a_catalog_that_cannot_be_written_is_told_and_answers_wait_on_this_host(root: str, tmp_path: Path) -> None:
    one = host(root, tmp_path / "a")
    fill(one, 1)
    Path(root).mkdir()
    Path(root, "_cache").write_text("in the way")
    with pytest.raises(StoreError, match="writing answers"):
        one.export()
    Path(root, "_cache").unlink()
    assert one.export() == 1


def test_how_many_answers_another_code_gave_is_counted(root: str, tmp_path: Path) -> None:
    changed = Origin(service="news", version="2", definition=NEWS.definition, code="changed")
    with host(root, tmp_path / "a", NEWS) as one:
        fill(one, 1, 2, origin=NEWS)
        one.flush()
        assert one.others(NEWS) == 0
        assert one.others(changed) == 2
        fill(one, 3, origin=changed)
    with host(root, tmp_path / "b", NEWS) as other:
        assert (other.others(NEWS), other.others(changed)) == (1, 2)


def test_hosts_that_write_and_merge_at_the_same_time_lose_nothing(
    root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes = [
        writer(root, tmp_path / name / "index.sqlite", start, start + 8000, export=True)
        for name, start in (("a", 0), ("b", 8000), ("b", 16_000))
    ]
    assert [process.communicate(timeout=120) for process in processes] == [("", "")] * 3
    for name in ("a", "b"):
        with host(root, tmp_path / name) as one:
            one.export()
            one.compact()
    for name in ("a", "b", "c"):
        with host(root, tmp_path / name) as one:
            assert len(numbers(one, *range(24_000))) == 24_000
            assert one.warnings == []


def test_killed_while_it_is_warmed_a_host_goes_on_where_it_was(root: str, tmp_path: Path) -> None:
    with host(root, tmp_path / "a") as one:
        for at in range(4):
            fill(one, *range(at * 1000, at * 1000 + 1000))
            one.export()
    warmer = host(root, tmp_path / "b")
    warmer._writing.run(lambda connection: connection.execute("UPDATE sources SET whole = 0").fetchall())
    warmer._writing.run(lambda connection: connection.execute("DELETE FROM answers WHERE source > 2").fetchall())
    warmer.close()
    with host(root, tmp_path / "b") as again:
        assert numbers(again, *range(4000)) == list(range(4000))


def test_polars_reads_segments_too(root: str, tmp_path: Path) -> None:
    polars = pytest.importorskip("polars")
    with host(root, tmp_path / "a") as one:
        fill(one, 1, 2, cost=0.5)
    frame = polars.read_parquet(f"{root}/_cache/*/*/*.parquet")
    assert frame.select(polars.sum("cost")).item() == 1.0
    assert sorted(frame["value"].to_list()) == ["1", "2"]
