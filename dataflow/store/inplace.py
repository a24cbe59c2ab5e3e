"""Small files that change in place, many times a second: on a local path at once, on an object store every second.

What is written reaches whoever looks later also where its process is killed; a power cut may lose what was not synced.
An object cannot change in place, so it is put whole: a kill loses what was written since the last time.
"""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

EVERY = 1.0
"""Seconds between two times that an object is put."""


class InPlace(Protocol):
    """One such file, for one process."""

    def write(self, at: int, data: bytes) -> None:
        """Replace the bytes from a place on."""

    def sync(self) -> None:
        """Return when what was written is seen by other hosts."""

    def close(self) -> None:
        """Sync, and let go of the file."""


class LocalPlace:
    """A file of this machine, or of a shared file system, where others see it after `sync` at the latest.

    It is mapped into memory, where a write costs no call of the system and lets no other thread in between.

    Args:
        path: Of the file; its folder exists.
        data: What it holds at first.
    """

    def __init__(self, path: str, data: bytes) -> None:
        self._opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        os.pwrite(self._opened, data, 0)
        self._mapped: mmap.mmap | None = None
        with suppress(OSError):
            # Some file systems cannot; there each write is a call.
            self._mapped = mmap.mmap(self._opened, len(data))

    def write(self, at: int, data: bytes) -> None:
        if self._mapped is None:
            os.pwrite(self._opened, data, at)
        else:
            self._mapped[at : at + len(data)] = data

    def sync(self) -> None:
        if self._mapped is not None:
            self._mapped.flush()
        os.fsync(self._opened)

    def close(self) -> None:
        if self._opened < 0:
            return
        try:
            self.sync()
        finally:
            if self._mapped is not None:
                self._mapped.close()
            os.close(self._opened)
            self._opened = -1


class ObjectPlace:
    """An object that is put whole by a thread of its own.

    Args:
        put: Lets the object hold these bytes.
        data: What it holds at first.
    """

    def __init__(self, put: Callable[[bytes], None], data: bytes) -> None:
        self._put = put
        self._data = bytearray(data)
        self._lock = threading.Lock()
        self._putting = threading.Lock()
        self._changed = True
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep_putting, name="dataflow-in-place", daemon=True)
        self._thread.start()

    def write(self, at: int, data: bytes) -> None:
        with self._lock:
            self._data[at : at + len(data)] = data
            self._changed = True

    def sync(self) -> None:
        with self._putting:
            with self._lock:
                data, changed = bytes(self._data), self._changed
                self._changed = False
            if not changed:
                return
            try:
                self._put(data)
            except BaseException:
                self._changed = True
                raise

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        self.sync()

    def _keep_putting(self) -> None:
        while not self._ended.wait(EVERY):
            # Who syncs at the end of a task is told when the store cannot be written.
            with suppress(Exception):
                self.sync()
