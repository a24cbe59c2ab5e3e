"""The index's file: opened, prepared, set aside when it is damaged, and locked among the processes of a host.

A file that SQLite calls damaged is renamed with its log, and a new one begun; other processes see by the inode that
theirs was renamed, or deleted, and open the new one. SQLite leaves the log alone on closing a file that has moved.
Nothing but SQLite may open the file, since closing it would drop the locks that SQLite holds for the process.
"""

from __future__ import annotations

import fcntl
import os
import re
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import blake2b
from itertools import count
from pathlib import Path
from secrets import randbelow
from typing import TypeVar

from dataflow.errors import StoreError
from dataflow.store.files import rooted, translated
from dataflow.store.filesystem import is_remote

T = TypeVar("T")

SCHEMA = 5
"""The form of the file; a newer one is refused by name."""

TURN = ".segments"
"""The ending of the lock under which one process of a host at a time works on segments."""

_BUSY = 10.0
"""Seconds to wait for another process's commit."""

LOADING = ("synchronous = NORMAL", "wal_autocheckpoint = 16384")
"""For what can be read again from the catalog: synced with the next answer of a call, or when the log is full."""

PRAGMAS = ("synchronous = FULL", "wal_autocheckpoint = 4096", "journal_size_limit = 67108864", "cache_size = -16384")

_TABLES = (
    # What the forms before the fourth hold is in the catalog, or does not say whose its answers are.
    *(f"DROP TABLE IF EXISTS {name}" for name in ("answers", "origins", "sources", "waiting", "private")),
    """CREATE TABLE answers (key BLOB PRIMARY KEY, source INTEGER NOT NULL, origin INTEGER NOT NULL,
    found INTEGER NOT NULL, created INTEGER NOT NULL, cost REAL NOT NULL, value BLOB NOT NULL) WITHOUT ROWID""",
    # The keys of each commit in one row, which costs next to nothing; `created` is that of the youngest.
    "CREATE TABLE waiting (id INTEGER PRIMARY KEY, keys BLOB NOT NULL, source INTEGER NOT NULL,"
    " created INTEGER NOT NULL)",
    "CREATE TABLE origins (id INTEGER PRIMARY KEY, service TEXT NOT NULL, version TEXT NOT NULL,"
    " definition TEXT NOT NULL, code TEXT, run TEXT)",
    "CREATE TABLE sources (id INTEGER PRIMARY KEY, folder TEXT NOT NULL, name TEXT NOT NULL, whole INTEGER NOT NULL)",
)
_FROM_FOURTH = ("ALTER TABLE origins ADD COLUMN run TEXT",)

_ELSEWHERE = "set DATAFLOW_JOURNAL to a folder on a local disk"
_ADVICE = {
    sqlite3.SQLITE_FULL: f"free some space, or {_ELSEWHERE}",
    sqlite3.SQLITE_READONLY: f"make the file and its folder writable, or {_ELSEWHERE}",
    sqlite3.SQLITE_CANTOPEN: f"make its folder writable, or {_ELSEWHERE}",
    sqlite3.SQLITE_BUSY: f"another process has held it for {_BUSY:g} s; find out which (fuser), or try again",
    sqlite3.SQLITE_IOERR: f"look after the disk, or {_ELSEWHERE}",
}


def journal_path(catalog_root: str | Path) -> Path:
    """Where the index of a catalog's cache is on this host; its folder is made, for this user only.

    It is in the folder that DATAFLOW_JOURNAL names, else in `dataflow` under XDG_CACHE_HOME or `~/.cache`. The name
    holds the host, since a home folder may be shared by hosts and SQLite's log may not.

    Raises:
        StoreError: The folder cannot be made.
    """
    path = _path(catalog_root)
    with translated("the folder of the cache's index, which DATAFLOW_JOURNAL can name"):
        _make_home(path)
    return path


def _path(catalog_root: str | Path) -> Path:
    root = rooted(catalog_root)
    root = root if is_remote(root) else os.path.realpath(root)
    digest = blake2b(root.encode(errors="surrogateescape"), digest_size=8).hexdigest()
    host = re.sub(r"[^A-Za-z0-9.-]", "_", socket.gethostname())[:64]
    cache = os.environ.get("XDG_CACHE_HOME", "")  # a relative path counts for nothing, says its specification
    home = cache if os.path.isabs(cache) else os.path.expanduser("~/.cache")  # noqa: PTH111, PTH117
    folder = Path(os.environ.get("DATAFLOW_JOURNAL") or Path(home, "dataflow")).absolute()
    return folder / f"{digest}-{host}.sqlite"


def _make_home(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)


def limits_prefix(catalog_root: str | Path) -> str | None:
    """Where the processes of this host that use a catalog share the limits of its APIs: a path without its ending.

    None for a catalog in the memory of one process.
    """
    root = rooted(catalog_root)
    if root.startswith("memory:"):
        return None
    path = _path(root)
    with suppress(OSError):
        # Whoever opens a file there says what keeps it from being opened.
        _make_home(path)
    return str(path.with_suffix(""))


@contextmanager
def alone(path: Path, ending: str) -> Iterator[None]:
    """Alone among the processes of this host that do the same with a file: a lock that ends with its holder."""
    lock = os.open(path.with_name(path.name + ending), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


class Connection:
    """One connection to the file at a path, opened anew when that file is damaged, renamed or deleted.

    Args:
        path: The file.
        pragmas: What is set beside `PRAGMAS`.

    Attributes:
        path: The file.
        identity: The number that the file was given when it was made; 0 before it is opened.
        note: What the user should be told, such as that a damaged file was set aside; None while all is well.
    """

    def __init__(self, path: Path, *, pragmas: Sequence[str] = ()) -> None:
        self.path = path
        self._pragmas = (*PRAGMAS, *pragmas)
        self.identity = 0
        self._inode = -1
        self.note: str | None = None
        self._lock = threading.RLock()
        self._opened: sqlite3.Connection | None = None

    def run(self, action: Callable[[sqlite3.Connection], T]) -> T:
        """What the action gives; a damaged file is set aside and the action tried once more on a new one."""
        attempts = 0
        with self._lock, translated(f"the cache's index {self.path}"):
            while True:
                attempts += 1
                try:
                    return self._attempted(action)
                except sqlite3.DatabaseError as error:
                    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
                    if attempts == 2 or code not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                        advice = _ADVICE.get(code, "try again, or move the file away: it is rebuilt from the catalog")
                        raise StoreError(f"the cache's index {self.path}: {error}; {advice}") from error
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
        if self._opened is None or inode_of(self.path) != self._inode:
            self.close()
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with alone(self.path, ".lock"):
                if not inode_of(self.path):
                    self.path.touch(mode=0o600)
                self._inode = inode_of(self.path)
                self._opened = sqlite3.connect(self.path, timeout=_BUSY, isolation_level=None, check_same_thread=False)
                try:
                    self.identity = _prepare(self._opened, self.path, self._pragmas)
                except BaseException:
                    self.close()
                    raise
        return self._opened

    def _set_aside(self, error: sqlite3.DatabaseError) -> None:
        """Rename the damaged file, unless another process has already begun a new one."""
        with alone(self.path, ".lock"):
            if inode_of(self.path) == self._inode:
                name = next(name for at in count(1) if not (name := self._beside(f".damaged-{at}")).exists())
                for ending in ("", "-wal", "-shm"):
                    with suppress(FileNotFoundError):
                        self._beside(ending).rename(f"{name}{ending}")
                self.note = (
                    f"the cache's index {self.path} was damaged ({error}); it is kept as {name.name} and rebuilt from"
                    " the segments in the catalog; answers that were in none of them are paid again"
                )
        # Only now, since SQLite moves the log of a closed file into it, but not once it was renamed.
        self.close()

    def _beside(self, ending: str) -> Path:
        return self.path.with_name(self.path.name + ending)

    def close(self) -> None:
        """Close the file; the last one to do so moves the log into it."""
        with self._lock, suppress(sqlite3.Error):
            opened, self._opened = self._opened, None
            if opened is not None:
                opened.close()


def inode_of(path: Path) -> int:
    """What tells a file from one that has taken its name; 0 where there is none."""
    with suppress(FileNotFoundError):
        return path.stat().st_ino
    return 0


def _prepare(connection: sqlite3.Connection, path: Path, pragmas: Sequence[str]) -> int:
    """Set a new connection up, and the tables where the file is new; its identity."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA:
        raise StoreError(f"the cache's index {path} was written by a newer dataflow (form {version}); update this one")
    if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
        raise StoreError(f"the cache's index {path}: its file system does not support SQLite's log; {_ELSEWHERE}")
    for pragma in pragmas:
        connection.execute(f"PRAGMA {pragma}")
    if version < SCHEMA:
        # An inode may be given again, once nobody has its file open any more.
        marks = f"PRAGMA user_version = {SCHEMA}", f"PRAGMA application_id = {1 + randbelow(2**31 - 1)}"
        changes = _FROM_FOURTH if version == 4 else _TABLES
        for statement in ("BEGIN IMMEDIATE", *changes, *marks, "COMMIT"):
            connection.execute(statement)
    return int(connection.execute("PRAGMA application_id").fetchone()[0])
