"""The journal: answers of paid calls on the local disk, so that a resumed run does not pay for them again.

One SQLite file per host and catalog, which its processes share. What an answer means must not be known here.

The promise: 250 ms after `put` an answer survives `kill -9` and a power cut. In WAL mode with synchronous=FULL
SQLite syncs its log at each commit; one thread per process commits what has been put during the last 100 ms, which
leaves the rest for the disk, and moves the log into the file (a checkpoint, every 16 MB) after a commit.

A file that SQLite calls damaged is renamed with its log, and a new one begun; other processes see by the inode that
theirs was renamed, or deleted, and open the new one. SQLite leaves the log alone on closing a file that has moved.
Nothing but SQLite may open the file, since closing it would drop the locks that SQLite holds for the process.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import re
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from itertools import count
from pathlib import Path
from typing import NoReturn, TypeVar

from dataflow.errors import StoreError
from dataflow.outcomes import Status
from dataflow.store.files import rooted, translated
from dataflow.store.filesystem import is_remote

T = TypeVar("T")

SCHEMA = 1
"""The form of the file; a newer one is refused by name."""

_GATHERED, _RETRIED, _BUSY = 0.1, 1.0, 10.0
"""Seconds to gather before a commit, between attempts while the disk fails, and to wait for another's commit."""

_ROWS, _ASKED = 5000, 1000
"""Answers per commit at most, a tenth of a second in which other processes wait; keys per query."""

_WAITING, _WAITING_BYTES = 100_000, 256 * 2**20
"""Answers in memory, and their bytes, from which on `put` waits for the disk."""

_PRAGMAS = ("synchronous = FULL", "wal_autocheckpoint = 4096", "journal_size_limit = 67108864", "cache_size = -16384")

_TABLE = """CREATE TABLE answers (key BLOB PRIMARY KEY, service TEXT NOT NULL, status TEXT NOT NULL,
    value BLOB NOT NULL, created REAL NOT NULL, cost REAL NOT NULL)"""

_PUT = """INSERT INTO answers (key, service, status, value, created, cost) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (key) DO UPDATE SET service = excluded.service, status = excluded.status, value = excluded.value,
    created = excluded.created, cost = excluded.cost WHERE excluded.created >= answers.created"""

_GET = "SELECT key, service, status, value, created, cost FROM answers WHERE key IN ({})"

_ELSEWHERE = "set DATAFLOW_JOURNAL to a folder on a local disk"
_ADVICE = {
    sqlite3.SQLITE_FULL: f"free some space, or {_ELSEWHERE}",
    sqlite3.SQLITE_READONLY: f"make the file and its folder writable, or {_ELSEWHERE}",
    sqlite3.SQLITE_CANTOPEN: f"make its folder writable, or {_ELSEWHERE}",
    sqlite3.SQLITE_BUSY: f"another process has held it for {_BUSY:g} s; find out which (fuser), or try again",
    sqlite3.SQLITE_IOERR: f"look after the disk, or {_ELSEWHERE}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One answer.

    Attributes:
        service: The name of the service that gave it.
        status: `succeeded` or `not_found`; errors are no answers.
        value: What it said, as the caller has encoded it.
        created: When it was given, in seconds since 1970.
        cost: What it cost, in the currency of the service.

    Raises:
        StoreError: The status is another.
    """

    service: str
    status: Status
    value: bytes
    created: float
    cost: float = 0.0

    def __post_init__(self) -> None:
        if self.status not in (Status.SUCCEEDED, Status.NOT_FOUND):
            raise StoreError(f"{self.service}: an outcome that is {self.status} is no answer; keep only answers")


def journal_path(catalog_root: str | Path) -> Path:
    """Where the journal of a catalog is on this host; its folder is made, for this user only.

    It is in the folder that DATAFLOW_JOURNAL names, else in `dataflow` under XDG_CACHE_HOME or `~/.cache`. The name
    holds the host, since a home folder may be shared by hosts and SQLite's log may not.

    Raises:
        StoreError: The folder cannot be made.
    """
    root = rooted(catalog_root)
    root = root if is_remote(root) else os.path.realpath(root)
    digest = blake2b(root.encode(errors="surrogateescape"), digest_size=8).hexdigest()
    host = re.sub(r"[^A-Za-z0-9.-]", "_", socket.gethostname())[:64]
    cache = os.environ.get("XDG_CACHE_HOME", "")  # a relative path counts for nothing, says its specification
    home = cache if os.path.isabs(cache) else os.path.expanduser("~/.cache")  # noqa: PTH111, PTH117
    folder = Path(os.environ.get("DATAFLOW_JOURNAL") or Path(home, "dataflow")).absolute()
    with translated("the journal's folder, which DATAFLOW_JOURNAL can name"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder / f"{digest}-{host}.sqlite"


class _Connection:
    """One connection to the file at a path, opened anew when that file is damaged, renamed or deleted."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.note: str | None = None
        self._lock = threading.RLock()
        self._inode = -1
        self._opened: sqlite3.Connection | None = None

    def run(self, action: Callable[[sqlite3.Connection], T]) -> T:
        """What the action gives; a damaged file is set aside and the action tried once more on a new one."""
        attempts = 0
        with self._lock, translated(f"the journal {self.path}"):
            while True:
                attempts += 1
                try:
                    return self._attempted(action)
                except sqlite3.DatabaseError as error:
                    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
                    if attempts == 2 or code not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                        advice = _ADVICE.get(code, "try again, or move the file away and pay for its answers")
                        raise StoreError(f"the journal {self.path}: {error}; {advice}") from error
                    self._set_aside(error)

    def _attempted(self, action: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._current()
        try:
            return action(connection)
        finally:
            if connection.in_transaction:  # the action raised
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")

    def _current(self) -> sqlite3.Connection:
        if self._opened is None or _inode(self.path) != self._inode:
            self.close()
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._alone():
                if not _inode(self.path):
                    self.path.touch(mode=0o600)
                self._inode = _inode(self.path)
                self._opened = sqlite3.connect(self.path, timeout=_BUSY, isolation_level=None, check_same_thread=False)
                try:
                    _prepare(self._opened, self.path)
                except BaseException:
                    self.close()
                    raise
        return self._opened

    def _set_aside(self, error: sqlite3.DatabaseError) -> None:
        """Rename the damaged file, unless another process has already begun a new one."""
        with self._alone():
            if _inode(self.path) == self._inode:
                name = next(name for at in count(1) if not (name := self._beside(f".damaged-{at}")).exists())
                for ending in ("", "-wal", "-shm"):
                    with suppress(FileNotFoundError):
                        self._beside(ending).rename(f"{name}{ending}")
                self.note = (
                    f"the journal {self.path} was damaged ({error}); it is kept as {name.name}, a new one is begun,"
                    " and answers that were only there are paid again"
                )
        # Only now, since SQLite moves the log of a closed file into it, but not once it was renamed.
        self.close()

    def _beside(self, ending: str) -> Path:
        return self.path.with_name(self.path.name + ending)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Alone among all who open the file or set it aside."""
        lock = os.open(self._beside(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def close(self) -> None:
        """Close the file; the last one to do so moves the log into it."""
        with self._lock, suppress(sqlite3.Error):
            opened, self._opened = self._opened, None
            if opened is not None:
                opened.close()


def _inode(path: Path) -> int:
    """What tells a file from one that has taken its name; 0 where there is none."""
    with suppress(FileNotFoundError):
        return path.stat().st_ino
    return 0


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Set a new connection up, and the table where the file is new."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA:
        raise StoreError(f"the journal {path} was written by a newer dataflow (form {version}); update this one")
    if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
        raise StoreError(f"the journal {path}: its file system does not support SQLite's log; {_ELSEWHERE}")
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    if version == 0:
        for statement in ("BEGIN IMMEDIATE", _TABLE, f"PRAGMA user_version = {SCHEMA}", "COMMIT"):
            connection.execute(statement)


class Journal:
    """Answers on the local disk, for several threads of one process, beside other processes with journals of theirs.

    It holds connections and a thread, so each process makes its own: it does not travel by pickle, and one that
    came through a fork refuses to work. An answer replaces an older one under its key, never a newer one.

    Args:
        path: The file, as `journal_path` gives it; made where it is missing.

    Raises:
        StoreError: The file cannot be opened, or a newer dataflow wrote it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._process = os.getpid()
        self._writing, self._reading = _Connection(path), _Connection(path)
        self._pending: dict[bytes, Entry] = {}
        self._underway: dict[bytes, Entry] = {}
        self._bytes = self._rounds = 0
        self._asked = self._closed = False
        self._failure: StoreError | None = None
        lock = threading.Lock()
        self._work, self._done = threading.Condition(lock), threading.Condition(lock)
        self._writing.run(lambda _: None)
        self._writer = threading.Thread(target=self._keep_writing, name="dataflow-journal", daemon=True)
        self._writer.start()
        atexit.register(self._close_quietly)  # runs while daemon threads still do

    def __reduce__(self) -> NoReturn:
        raise StoreError("a journal does not travel between processes; open one where it is used")

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def note(self) -> str | None:
        """What the user should be told, such as that a damaged file was set aside; None while all is well."""
        return self._writing.note or self._reading.note

    def put(self, key: bytes, entry: Entry) -> None:
        """Remember an answer; it is on disk within 250 ms, and found by `get_many` at once.

        It waits only where 100,000 answers or 256 MB are ahead of the disk. While the disk fails it neither waits
        nor raises: answers stay in memory, and `flush` tells. Above some 10,000 a second the disk may need longer.

        Raises:
            StoreError: The journal is closed, or of another process.
        """
        self._require_open()
        with self._work:
            if self._is_full():
                self._ask()
                self._done.wait_for(lambda: not self._is_full())
            self._require_open()
            self._pending[key] = entry
            self._bytes += len(entry.value)
            if len(self._pending) == 1:
                self._work.notify()

    def get_many(self, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        """The answers there are to these keys, also those that are not yet on disk; missing keys are left out.

        Raises:
            StoreError: The file cannot be read, or the journal is of another process.
        """
        self._require_open()
        with self._work:
            found = {key: entry for key in keys if (entry := self._pending.get(key) or self._underway.get(key))}
        # Memory first: what leaves it in between is in the file by then.
        rest = [key for key in dict.fromkeys(keys) if key not in found]
        return found | self._reading.run(lambda connection: _read(connection, rest)) if rest else found

    def flush(self) -> None:
        """Return when all that was put before is on disk.

        Raises:
            StoreError: It could not be written, in an attempt made just now; it stays in memory and is tried again.
        """
        self._require_open()
        with self._work:
            last = self._rounds + bool(self._underway) + bool(self._pending)
            self._ask()
            self._done.wait_for(lambda: self._rounds >= last)
            if self._failure is not None:
                raise StoreError(str(self._failure)) from self._failure

    def close(self) -> None:
        """Write what is left and let go of the file; a second time it does nothing.

        Raises:
            StoreError: Something could not be written, and is lost with this object.
        """
        if self._closed or self._process != os.getpid():
            return
        atexit.unregister(self._close_quietly)
        with self._work:
            self._closed = True
            self._work.notify()
        self._writer.join()
        self._reading.close()
        self._writing.close()
        if self._failure is not None:
            raise StoreError(f"{self._failure}; {len(self._pending):,} answers were not kept") from self._failure

    def _close_quietly(self) -> None:
        with suppress(StoreError):
            self.close()

    def _require_open(self) -> None:
        if self._process != os.getpid():
            raise StoreError("this journal was opened before a fork; open one in the process that uses it")
        if self._closed:
            raise StoreError(f"the journal {self.path} is closed; open it again")

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
                self._underway, self._pending, self._bytes = self._pending, {}, 0
                ended = self._closed
            self._write_round()
            if ended:
                return

    def _write_round(self) -> None:
        """Write what is underway; what does not get through waits for the next round."""
        failure, rest = None, list(self._underway.items())
        try:
            while rest:
                self._writing.run(partial(_write, batch=rest[:_ROWS]))
                del rest[:_ROWS]
        except StoreError as error:
            failure = error
        except Exception as error:  # the thread must live on, or nobody would learn of it
            failure = StoreError(f"the journal {self.path}: {type(error).__name__}: {error}; please report this")
        with self._work:
            self._pending = dict(rest) | self._pending
            self._bytes = sum(len(entry.value) for entry in self._pending.values())
            self._underway = {}
            self._failure = failure
            self._rounds += 1
            self._done.notify_all()


def _write(connection: sqlite3.Connection, batch: Sequence[tuple[bytes, Entry]]) -> None:
    rows = ((key, one.service, str(one.status), one.value, one.created, one.cost) for key, one in batch)
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(_PUT, rows)
    connection.execute("COMMIT")


def _read(connection: sqlite3.Connection, keys: Sequence[bytes]) -> dict[bytes, Entry]:
    found = {}
    for start in range(0, len(keys), _ASKED):
        asked = keys[start : start + _ASKED]
        query = _GET.format(",".join("?" * len(asked)))
        for key, service, status, value, created, cost in connection.execute(query, asked):
            found[key] = Entry(service=service, status=Status(status), value=value, created=created, cost=cost)
    return found
