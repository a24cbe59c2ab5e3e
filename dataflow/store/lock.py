"""One run per dataset: a lock of the kernel on a local path, a lease on an object store.

A kernel lock ends with its process, so nothing is ever left to be removed by hand. A lease ends by time. What a
run may do under its lock is not known here.
"""

from __future__ import annotations

import fcntl
import os
import time
import weakref
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from dataflow.errors import CatalogError, OutputLocked
from dataflow.store.files import files_at, translated
from dataflow.store.filesystem import is_remote
from dataflow.store.lease import LeaseLock
from dataflow.store.owner import Owner, refusal

_PATIENCE = 1.0
_PAUSE = 0.01


class KernelLock:
    """A lock of the kernel on the file `_lock` of a dataset; it ends when the process ends, however it ends.

    Args:
        folder: The folder of the dataset; made where it is missing.
        run: The id of the run that wants it.

    Raises:
        OutputLocked: On entering, while another run holds it.
        CatalogError: On entering, when the file system has no locks.
    """

    def __init__(self, folder: str, *, run: str) -> None:
        self._folder = folder
        self._path = Path(folder) / "_lock"
        self._run = run
        self._opened: int | None = None
        self.owner: Owner | None = None

    def __enter__(self) -> KernelLock:
        with translated(f"{self._folder}: locking"):
            files_at(self._folder).make(self._folder)
            self._take()
        return self

    def _take(self) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not self._taken():
            # A winner needs a moment to write its name, and a killed process to disappear.
            owner = self.holder()
            if (owner is not None and owner.is_alive) or time.monotonic() > deadline:
                raise refusal(self._folder, owner)
            time.sleep(_PAUSE)

    def _taken(self) -> bool:
        opened = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        if not (self._is_locked(opened) and self._is_still_there(opened)):
            os.close(opened)
            return False
        self._opened = opened
        _held.add(self)
        before = self.holder()
        self.owner = Owner.here(self._run, epoch=1 + (before.epoch if before else 0))
        try:
            _rewrite(opened, self.owner)
        except OSError:
            self.close()
            raise
        return True

    def _is_locked(self, opened: int) -> bool:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            os.close(opened)
            raise CatalogError(f"{self._path}: its file system has no locks; choose another catalog") from error
        return True

    def _is_still_there(self, opened: int) -> bool:
        """Whether the locked file is the one that others will open: somebody may have removed it by hand."""
        with suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(opened), self._path.stat())
        return False

    def rename(self, run: str) -> None:
        """Hold the dataset for another run, which turned out to be the one that is worked on."""
        if self._opened is not None and self.owner is not None and run != self._run:
            self._run, self.owner = run, replace(self.owner, run=run)
            _rewrite(self._opened, self.owner)

    def holder(self) -> Owner | None:
        """Who holds the dataset, or has held it last."""
        with suppress(FileNotFoundError):
            return Owner.from_bytes(self._path.read_bytes())
        return None

    def check(self) -> None:
        """Raise OutputLocked where the dataset is no longer held."""
        if self._opened is None or not self._is_still_there(self._opened):
            raise OutputLocked(f"{self._path}: the lock of run {self._run} is gone; run again to go on")

    def __exit__(self, *_: object) -> None:
        if self._opened is not None and self.owner is not None:
            with suppress(OSError):
                _rewrite(self._opened, replace(self.owner, expires=0.0))
        self.close()

    def close(self) -> None:
        """Let go of the file; in a forked process this leaves the lock with the process that took it."""
        if self._opened is not None:
            os.close(self._opened)
            self._opened = None


def _rewrite(opened: int, owner: Owner) -> None:
    data = owner.to_bytes()
    os.pwrite(opened, data, 0)
    os.ftruncate(opened, len(data))
    os.fsync(opened)


_held: weakref.WeakSet[KernelLock] = weakref.WeakSet()


def _close_inherited() -> None:
    for lock in list(_held):
        lock.close()


os.register_at_fork(after_in_child=_close_inherited)

DatasetLock: TypeAlias = KernelLock | LeaseLock


def dataset_lock(folder: str, *, run: str) -> DatasetLock:
    """The lock that fits the place of a dataset; entering it with `with` takes the dataset for the run."""
    return LeaseLock(folder, run=run) if is_remote(folder) else KernelLock(folder, run=run)
