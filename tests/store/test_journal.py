"""Answers that were put are found again, whatever happens to the process, the file or the disk."""

from __future__ import annotations

import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dataflow.errors import StoreError
from dataflow.outcomes import Status
from dataflow.store import journal as module
from dataflow.store.journal import SCHEMA, Entry, Journal, journal_path


def entry(value: bytes = b"answer", **changes: Any) -> Entry:
    return Entry(**{"service": "company", "status": Status.SUCCEEDED, "value": value, "created": 1.5} | changes)


def key(number: int) -> bytes:
    return number.to_bytes(20, "big")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "journal.sqlite"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    with Journal(path) as opened:
        yield opened


def kept(path: Path, *numbers: int) -> dict[int, bytes]:
    """What a journal that is opened anew finds."""
    with Journal(path) as opened:
        found = opened.get_many([key(number) for number in numbers])
    return {number: found[key(number)].value for number in numbers if key(number) in found}


def test_an_answer_is_found_at_once_and_as_it_was_after_the_file_was_closed(path: Path) -> None:
    put = {
        key(1): entry(b"\0\xff", cost=0.25, created=1_795_000_000.123456),
        key(2): entry(b"", status=Status.NOT_FOUND, service="Straße"),
    }
    with Journal(path) as journal:
        for one, answer in put.items():
            journal.put(one, answer)
        assert journal.get_many([key(1), key(2), key(3)]) == put
        journal.flush()
        assert journal.get_many([key(2), key(1), key(1)]) == put
        assert journal.note is None
    with Journal(path) as journal:
        assert journal.get_many([*put, key(3)]) == put
        assert journal.get_many([]) == {}


@pytest.mark.parametrize("status", [one for one in Status if one not in (Status.SUCCEEDED, Status.NOT_FOUND)])
def test_what_is_no_answer_is_refused(status: Status) -> None:
    with pytest.raises(StoreError, match="is no answer"):
        entry(status=status)


@pytest.mark.parametrize("flushed", [True, False])
def test_a_later_answer_takes_the_place_of_an_earlier_one_and_never_the_other_way(
    journal: Journal, path: Path, flushed: bool
) -> None:
    with Journal(path) as other:
        journal.put(key(1), entry(b"old", created=1.0))
        if flushed:
            journal.flush()
        journal.put(key(1), entry(b"new", created=2.0))
        journal.flush()
        other.put(key(1), entry(b"late", created=1.5))
        other.flush()
    assert kept(path, 1) == {1: b"new"}


def test_an_answer_reaches_the_disk_without_being_asked_for(journal: Journal, path: Path) -> None:
    journal.put(key(1), entry())
    deadline = time.monotonic() + 20
    with Journal(path) as other:
        while key(1) not in other.get_many([key(1)]):
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_threads_put_and_get_at_once_and_nothing_is_lost(journal: Journal, path: Path) -> None:
    problems: list[object] = []

    def work(start: int) -> None:
        numbers = range(start, start + 500)
        for number in numbers:
            journal.put(key(number), entry(str(number).encode()))
            if number % 100 == 0:
                seen = journal.get_many([key(one) for one in range(start, number + 1)])
                problems.extend([number] if len(seen) != number - start + 1 else [])
            if number % 250 == 0:
                journal.flush()

    threads = [threading.Thread(target=work, args=(at * 1000,)) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    journal.flush()
    numbers = [at * 1000 + number for at in range(4) for number in range(500)]
    assert kept(path, *numbers) == {number: str(number).encode() for number in numbers}


def test_ten_thousand_keys_are_answered_from_the_file(journal: Journal) -> None:
    for number in range(10_000):
        journal.put(key(number), entry())
    journal.flush()
    assert len(journal.get_many([key(number) for number in range(20_000)])) == 10_000


def test_put_waits_for_a_disk_that_is_far_behind(journal: Journal, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WAITING", 5)
    for number in range(100):
        journal.put(key(number), entry())
        assert len(journal._pending) <= 5
    journal.flush()
    assert len(kept(path, *range(100))) == 100


WRITER = """
import sys, time
from pathlib import Path
from dataflow.outcomes import Status
from dataflow.store.journal import Entry, Journal
start, stop, pause = int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
journal = Journal(Path(sys.argv[1]))
for number in range(start, stop):
    answer = Entry(service="company", status=Status.SUCCEEDED, value=b"x" * 100, created=float(number))
    journal.put(number.to_bytes(20, "big"), answer)
    if pause:
        print(number, time.monotonic(), flush=True)
        time.sleep(pause)
"""


def writer(path: Path, start: int, stop: int, *, pause: float = 0.0) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), str(start), str(stop), str(pause)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_processes_write_at_once_while_a_third_reads_and_an_end_without_close_loses_nothing(path: Path) -> None:
    processes = [writer(path, 0, 8000), writer(path, 8000, 16_000)]
    with Journal(path) as journal:
        while any(process.poll() is None for process in processes):
            found = journal.get_many([key(number) for number in range(0, 16_000, 10)])
            assert all(answer.created == int.from_bytes(one, "big") for one, answer in found.items())
    for process in processes:
        assert process.communicate(timeout=30) == ("", "")
        assert process.returncode == 0
    assert len(kept(path, *range(16_000))) == 16_000


def test_what_was_put_a_second_before_its_process_was_killed_is_there(path: Path) -> None:
    process = writer(path, 0, 10**6, pause=0.002)
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
    assert list(kept(path, *safe)) == safe


def spoil(path: Path, start: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(data)


def test_a_damaged_file_is_set_aside_when_it_is_opened(path: Path) -> None:
    with Journal(path) as journal:
        journal.put(key(1), entry())
    spoil(path, 0, b"no database at all" * 100)
    with Journal(path) as journal:
        assert "was damaged" in str(journal.note)
        assert "journal.sqlite.damaged-1" in str(journal.note)
        assert journal.get_many([key(1)]) == {}
        journal.put(key(2), entry(b"second"))
    assert kept(path, 1, 2) == {2: b"second"}
    assert path.with_name("journal.sqlite.damaged-1").read_bytes().startswith(b"no database")


@pytest.mark.parametrize("found_by", ["put", "get"])
def test_damage_that_is_found_later_costs_what_was_there_and_nothing_that_is_put(path: Path, found_by: str) -> None:
    with Journal(path) as journal:
        for number in range(5000):
            journal.put(key(number), entry(b"x" * 50))
    for page in range(1, path.stat().st_size // 4096):
        spoil(path, page * 4096, b"\xaa" * 200)
    with Journal(path) as other, Journal(path) as journal:
        assert journal.note is None
        if found_by == "get":
            assert journal.get_many([key(7)]) == {}
        journal.put(key(7), entry(b"again"))
        journal.flush()
        assert "was damaged" in str(journal.note)
        other.put(key(8), entry(b"other"))
        other.flush()
        assert other.note is None
        assert len(other.get_many([key(7), key(8)])) == 2
    assert kept(path, 6, 7, 8) == {7: b"again", 8: b"other"}
    assert not path.with_name("journal.sqlite.damaged-2").exists()


def test_a_folder_that_is_deleted_meanwhile_is_made_again(journal: Journal, path: Path) -> None:
    journal.put(key(1), entry())
    journal.flush()
    for file in path.parent.iterdir():
        file.unlink()
    path.parent.rmdir()
    journal.put(key(2), entry(b"second"))
    journal.flush()
    assert set(journal.get_many([key(1), key(2)])) == {key(2)}
    assert kept(path, 2) == {2: b"second"}


def test_a_full_disk_keeps_answers_in_memory_and_flush_tells_until_there_is_space(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_WAITING", 50)
    with Journal(path) as journal:
        journal._writing.run(lambda connection: connection.execute("PRAGMA max_page_count = 8").fetchone())
        for number in range(200):
            journal.put(key(number), entry(b"x" * 1000))
        for _ in range(2):
            with pytest.raises(StoreError, match="full; free some space"):
                journal.flush()
        assert len(journal.get_many([key(number) for number in range(200)])) == 200
        journal.put(key(200), entry())
        journal._writing.run(lambda connection: connection.execute("PRAGMA max_page_count = 100000").fetchone())
        journal.flush()
        journal.flush()
    assert len(kept(path, *range(201))) == 201


def test_closing_tells_what_could_not_be_kept(path: Path) -> None:
    journal = Journal(path)
    journal._writing.run(lambda connection: connection.execute("PRAGMA max_page_count = 8").fetchone())
    for number in range(200):
        journal.put(key(number), entry(b"x" * 1000))
    with pytest.raises(StoreError, match="200 answers were not kept"):
        journal.close()
    journal.close()
    assert kept(path, *range(200)) == {}


def test_a_file_that_another_process_holds_for_long_is_told_and_written_later(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BUSY", 0.05)
    with Journal(path) as journal:
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        journal.put(key(1), entry())
        with pytest.raises(StoreError, match="locked; another process has held it"):
            journal.flush()
        assert journal.get_many([key(1)]) == {key(1): entry()}
        holder.execute("ROLLBACK")
        holder.close()
        journal.flush()
    assert kept(path, 1) == {1: b"answer"}


def test_a_place_that_cannot_hold_a_file_is_refused_with_what_to_try(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match="the journal"):
        Journal(tmp_path / "taken" / "journal.sqlite")
    with pytest.raises(StoreError, match=r"unable to open database file.*DATAFLOW_JOURNAL"):
        Journal(tmp_path / "folder")


def test_a_file_of_a_newer_dataflow_is_refused_and_left_alone(path: Path) -> None:
    with Journal(path) as journal:
        journal.put(key(1), entry())
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="written by a newer dataflow"):
        Journal(path)
    assert path.read_bytes() == before


def test_it_neither_travels_nor_works_in_a_forked_process_nor_after_close(path: Path) -> None:
    journal = Journal(path)
    with pytest.raises(StoreError, match="does not travel"):
        pickle.dumps(journal)
    journal._process += 1
    for call in (lambda: journal.put(key(1), entry()), lambda: journal.get_many([key(1)]), journal.flush):
        with pytest.raises(StoreError, match="before a fork"):
            call()
    journal._process -= 1
    journal.close()
    for call in (lambda: journal.put(key(1), entry()), lambda: journal.get_many([key(1)]), journal.flush):
        with pytest.raises(StoreError, match="is closed"):
            call()


def test_every_commit_is_synced_and_the_file_is_for_its_user_only(journal: Journal, path: Path) -> None:
    ask = [f"PRAGMA {name}" for name in ("synchronous", "journal_mode")]
    assert journal._writing.run(lambda connection: [connection.execute(one).fetchone()[0] for one in ask]) == [2, "wal"]
    journal.put(key(1), entry())
    journal.flush()
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
    with pytest.raises(StoreError, match="the journal's folder"):
        journal_path("datasets")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_that_is_read_only_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match="the journal"):
        Journal(tmp_path / "journal.sqlite")
