"""Answers that were put are found again, whatever happens to the process, the file or the disk."""

from __future__ import annotations

import os
import pickle
import signal
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from keys import COMPANY, NEWS, answer, fill, kept, key, writer

from dataflow.errors import StoreError
from dataflow.outcomes import Status
from dataflow.store.cache import connection as connecting
from dataflow.store.cache import journal as writing
from dataflow.store.cache.cache import Cache
from dataflow.store.cache.connection import SCHEMA, journal_path


def test_an_answer_is_found_at_once_and_as_it_was_after_the_file_was_closed(root: str, path: Path) -> None:
    found = answer(b'{"name": "\xc3\xa9"}', cost=0.25, created=1_795_000_000.123456)
    nothing = answer(b"", status=Status.NOT_FOUND)
    with Cache(root, path=path) as cache:
        cache.put(key(1), found, origin=COMPANY)
        cache.put(key(2), nothing, origin=NEWS)
        assert cache.get_many([key(1), key(2), key(3)]) == {key(1): found, key(2): nothing}
        cache.flush()
        assert cache.get_many([key(2), key(1), key(1)]) == {key(1): found, key(2): nothing}
        assert cache.note is None
    with Cache(root, path=path) as cache:
        assert cache.get_many([key(1), key(2), key(3)]) == {key(1): found, key(2): nothing}
        assert cache.get_many([]) == {}


@pytest.mark.parametrize("status", [one for one in Status if one not in (Status.SUCCEEDED, Status.NOT_FOUND)])
def test_what_is_no_answer_is_refused(cache: Cache, status: Status) -> None:
    with pytest.raises(StoreError, match="is no answer"):
        cache.put(key(1), answer(status=status), origin=COMPANY)


@pytest.mark.parametrize("flushed", [True, False])
def test_a_later_answer_takes_the_place_of_an_earlier_one_and_never_the_other_way(
    cache: Cache, root: str, path: Path, flushed: bool
) -> None:
    with Cache(root, path=path) as other:
        fill(cache, 1, created=1.0)
        if flushed:
            cache.flush()
        cache.put(key(1), answer(b'"new"', created=2.0), origin=COMPANY)
        cache.flush()
        other.put(key(1), answer(b'"late"', created=1.5), origin=COMPANY)
        other.flush()
    assert kept(root, path, 1) == {1: b'"new"'}


def test_an_answer_from_the_future_gives_way_to_one_that_is_given_now(cache: Cache, root: str, path: Path) -> None:
    assert cache.newest(COMPANY) is None
    cache.put(key(1), answer(b'"ahead"', created=time.time() + 3600), origin=COMPANY)
    cache.flush()
    newest = cache.newest(COMPANY)
    assert newest is not None
    assert newest > time.time() + 3000
    with Cache(root, path=path) as other:
        other.put(key(1), answer(b'"now"', created=time.time()), origin=COMPANY)
        other.flush()
    assert kept(root, path, 1) == {1: b'"now"'}


def test_an_answer_reaches_the_disk_without_being_asked_for(cache: Cache, root: str, path: Path) -> None:
    fill(cache, 1)
    deadline = time.monotonic() + 20
    with Cache(root, path=path) as other:
        while key(1) not in other.get_many([key(1)]):
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_threads_put_and_get_at_once_and_nothing_is_lost(cache: Cache, root: str, path: Path) -> None:
    problems: list[object] = []

    def work(start: int) -> None:
        for number in range(start, start + 500):
            fill(cache, number)
            if number % 100 == 0:
                seen = cache.get_many([key(one) for one in range(start, number + 1)])
                problems.extend([number] if len(seen) != number - start + 1 else [])
            if number % 250 == 0:
                cache.export()

    threads = [threading.Thread(target=work, args=(at * 1000,)) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    cache.flush()
    numbers = [at * 1000 + number for at in range(4) for number in range(500)]
    assert kept(root, path, *numbers) == {number: b"%d" % number for number in numbers}


def test_put_waits_for_a_disk_that_is_far_behind(
    cache: Cache, root: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "_WAITING", 5)
    for number in range(100):
        fill(cache, number)
        assert len(cache._journal._pending) <= 5
    cache.flush()
    assert len(kept(root, path, *range(100))) == 100


def test_two_processes_write_at_once_while_a_third_reads_and_an_end_without_close_loses_nothing(
    root: str, path: Path
) -> None:
    processes = [writer(root, path, 0, 8000), writer(root, path, 8000, 16_000)]
    with Cache(root, path=path) as cache:
        while any(process.poll() is None for process in processes):
            found = cache.get_many([key(number) for number in range(0, 16_000, 10)])
            assert all(one.created == int(one.value) for one in found.values())
    for process in processes:
        assert process.communicate(timeout=30) == ("", "")
        assert process.returncode == 0
    assert len(kept(root, path, *range(16_000))) == 16_000


def test_what_was_put_a_second_before_its_process_was_killed_is_there(root: str, path: Path) -> None:
    process = writer(root, path, 0, 10**6, pause=0.002)
    assert process.stdout is not None
    lines = [process.stdout.readline()]
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        lines.append(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    killed = time.monotonic()
    process.communicate()
    safe = [int(number) for number, at in map(str.split, lines) if float(at) < killed - 1]
    assert len(safe) > 10
    assert list(kept(root, path, *safe)) == safe


def spoil(path: Path, start: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(data)


def test_a_damaged_file_is_set_aside_when_it_is_opened_and_rebuilt_from_the_segments(root: str, path: Path) -> None:
    with Cache(root, path=path) as cache:
        fill(cache, 1)
    spoil(path, 0, b"no database at all" * 100)
    with Cache(root, path=path) as cache:
        cache.know([COMPANY])
        assert "was damaged" in str(cache.note)
        assert "cache.sqlite.damaged-1 and rebuilt from" in str(cache.note)
        assert cache.get_many([key(1)]) == {key(1): answer(b"1")}
    assert path.with_name("cache.sqlite.damaged-1").read_bytes().startswith(b"no database")


@pytest.mark.parametrize("found_by", ["put", "get"])
def test_damage_that_is_found_later_costs_only_what_was_in_no_segment(root: str, path: Path, found_by: str) -> None:
    with Cache(root, path=path) as cache:
        fill(cache, *range(5000))
        cache.export()
        cache.put(key(9000), answer(), origin=COMPANY, private=True)
    for page in range(1, path.stat().st_size // 4096):
        spoil(path, page * 4096, b"\xaa" * 200)
    with Cache(root, path=path) as other, Cache(root, path=path) as cache:
        cache._folders.add(COMPANY.folder)
        other._folders.add(COMPANY.folder)
        if found_by == "get":
            assert set(cache.get_many([key(7), key(9000)])) == {key(7)}
        fill(cache, 6000)
        cache.flush()
        fill(other, 6001)
        other.flush()
        assert "was damaged" in f"{cache.note} {other.note}"
        assert set(other.get_many([key(7), key(6000), key(6001)])) == {key(7), key(6000), key(6001)}
    numbers = (*range(5000), 6000, 6001)
    assert kept(root, path, *numbers) == {number: b"%d" % number for number in numbers}
    assert not path.with_name("cache.sqlite.damaged-2").exists()


def test_a_folder_that_is_deleted_meanwhile_is_made_again_from_the_segments(
    cache: Cache, root: str, path: Path
) -> None:
    fill(cache, 1)
    cache.export()
    for file in path.parent.iterdir():
        file.unlink()
    path.parent.rmdir()
    fill(cache, 2)
    cache.flush()
    assert set(cache.get_many([key(1), key(2)])) == {key(1), key(2)}
    assert kept(root, path, 1, 2) == {1: b"1", 2: b"2"}


def test_a_full_disk_keeps_answers_in_memory_and_flush_tells_until_there_is_space(
    root: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "_WAITING", 50)
    with Cache(root, path=path) as cache:
        cache._writing.run(lambda connection: connection.execute("PRAGMA max_page_count = 12").fetchone())
        for number in range(200):
            cache.put(key(number), answer(b"x" * 1000), origin=COMPANY)
        for _ in range(2):
            with pytest.raises(StoreError, match="full; free some space"):
                cache.flush()
        assert len(cache.get_many([key(number) for number in range(200)])) == 200
        cache._writing.run(lambda connection: connection.execute("PRAGMA max_page_count = 100000").fetchone())
        cache.flush()
    assert len(kept(root, path, *range(200))) == 200


def test_closing_tells_what_could_not_be_kept(root: str, path: Path) -> None:
    cache = Cache(root, path=path)
    cache._writing.run(lambda connection: connection.execute("PRAGMA max_page_count = 12").fetchone())
    for number in range(200):
        cache.put(key(number), answer(b"x" * 1000), origin=COMPANY)
    with pytest.raises(StoreError, match="200 answers were not kept"):
        cache.close()
    cache.close()


def test_a_file_that_another_process_holds_for_long_is_told_and_written_later(
    root: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connecting, "_BUSY", 0.05)
    with Cache(root, path=path) as cache:
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        fill(cache, 1)
        with pytest.raises(StoreError, match="locked; another process has held it"):
            cache.flush()
        assert cache.get_many([key(1)]) == {key(1): answer(b"1")}
        holder.execute("ROLLBACK")
        holder.close()
        cache.flush()
    assert kept(root, path, 1) == {1: b"1"}


def test_a_place_that_cannot_hold_a_file_is_refused_with_what_to_try(root: str, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match="the cache's index"):
        Cache(root, path=tmp_path / "taken" / "cache.sqlite")
    with pytest.raises(StoreError, match=r"unable to open database file.*DATAFLOW_JOURNAL"):
        Cache(root, path=tmp_path / "folder")


def test_a_file_of_a_newer_dataflow_is_refused_and_left_alone(root: str, path: Path) -> None:
    with Cache(root, path=path) as cache:
        fill(cache, 1)
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="written by a newer dataflow"):
        Cache(root, path=path)
    assert path.read_bytes() == before


def test_it_neither_travels_nor_works_in_a_forked_process_nor_after_close(root: str, path: Path) -> None:
    cache = Cache(root, path=path)
    with pytest.raises(StoreError, match="does not travel"):
        pickle.dumps(cache)
    calls = (lambda: fill(cache, 1), lambda: cache.get_many([key(1)]), cache.flush, cache.export)
    cache._process += 1
    for call in calls:
        with pytest.raises(StoreError, match="before a fork"):
            call()
    cache._process -= 1
    cache.close()
    for call in calls:
        with pytest.raises(StoreError, match="is closed"):
            call()


def test_every_commit_is_synced_and_the_file_is_for_its_user_only(cache: Cache, path: Path) -> None:
    ask = [f"PRAGMA {name}" for name in ("synchronous", "journal_mode")]
    assert cache._writing.run(lambda connection: [connection.execute(one).fetchone()[0] for one in ask]) == [2, "wal"]
    fill(cache, 1)
    cache.flush()
    assert {file.stat().st_mode & 0o077 for file in path.parent.iterdir()} == {0}
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_the_path_is_one_per_catalog_in_the_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATAFLOW_JOURNAL", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "datasets")
    path = journal_path("datasets")
    assert path.parent == tmp_path / "cache" / "dataflow"
    assert path.parent.stat().st_mode & 0o777 == 0o700
    same = ("datasets/", str(tmp_path / "datasets"), f"file://{tmp_path}/datasets", "link", Path("datasets"))
    assert {journal_path(root) for root in same} == {path}
    others = {journal_path(root) for root in ("other", "s3://bucket/datasets", "s3://bucket/datasets/")}
    assert len(others | {path}) == 3
    monkeypatch.setenv("DATAFLOW_JOURNAL", str(tmp_path / "own"))
    assert journal_path("datasets") == tmp_path / "own" / path.name
    monkeypatch.delenv("DATAFLOW_JOURNAL")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert journal_path("datasets").parent == tmp_path / "home" / ".cache" / "dataflow"
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DATAFLOW_JOURNAL", str(tmp_path / "file" / "x"))
    with pytest.raises(StoreError, match="the folder of the cache's index"):
        journal_path("datasets")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_that_is_read_only_is_refused(tmp_path: Path, root: str) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match="the cache's index"):
        Cache(root, path=tmp_path / "cache.sqlite")


def test_what_served_one_run_alone_is_forgotten_after_90_days(root: str, path: Path) -> None:
    with Cache(root, path=path) as cache:
        for number, age in ((1, 91), (2, 89)):
            made = answer(created=time.time() - age * 86_400)
            cache.put(key(number), made, origin=COMPANY, private=True)
            cache.flush()
        fill(cache, 3)
        assert len(cache.get_many([key(1), key(2), key(3)])) == 3
    with Cache(root, path=path) as cache:
        assert set(cache.get_many([key(1), key(2), key(3)])) == {key(2), key(3)}
