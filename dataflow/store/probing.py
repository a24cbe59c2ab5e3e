"""Tries out whether a catalog can be written, and what its file system can do; what is tried is removed again."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from dataflow.store.files import files_at, translated
from dataflow.store.filesystem import is_remote


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What the place of a catalog allows.

    Attributes:
        folder: Where it was tried: the catalog itself, or the nearest folder above it that is there.
        locks: Whether a lock that one process has keeps others out.
        links: Whether a file can appear under a second name, but not over another file.
        pointers: Whether `latest` can be a symbolic link; an object store has none and needs none.
        free: Bytes that are free, or None for an object store.
    """

    folder: str
    locks: bool
    links: bool
    pointers: bool
    free: int | None


def probe(root: str) -> Probe:
    """Write a file at the root of a catalog, lock it, link it, and remove it.

    Args:
        root: An absolute path or a URL; it is not made where it is missing.

    Raises:
        StoreError: Nothing can be written there.
    """
    with translated(f"{root}: writing a file to see whether it can be written"):
        return _probe_objects(root) if is_remote(root) else _probe_folder(_nearest(Path(root)))


def _nearest(folder: Path) -> Path:
    return next(one for one in (folder, *folder.parents) if one.exists())


def _probe_folder(folder: Path) -> Probe:
    with tempfile.TemporaryDirectory(prefix=".probe-", suffix=".tmp", dir=folder) as inside:
        path = Path(inside) / "file"
        files_at(inside).write(str(path), b"probe")
        return Probe(
            folder=str(folder),
            locks=_locks(path),
            links=_links(path),
            pointers=_points(path),
            free=shutil.disk_usage(folder).free,
        )


def _locks(path: Path) -> bool:
    with path.open("rb") as one, path.open("rb") as other:
        try:
            fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def _links(path: Path) -> bool:
    try:
        os.link(path, path.with_name("second"))
    except OSError:
        return False
    try:
        os.link(path, path.with_name("second"))
    except FileExistsError:
        return True
    return False


def _points(path: Path) -> bool:
    try:
        path.with_name("pointer").symlink_to(path.name)
    except OSError:
        return False
    return True


def _probe_objects(root: str) -> Probe:
    files, path = files_at(root), f"{root}/.probe-{os.urandom(6).hex()}.tmp"
    try:
        files.create(path, b"one")
        exclusive = not files.create(path, b"two")
        return Probe(folder=root, locks=exclusive, links=exclusive, pointers=True, free=None)
    finally:
        files.remove(path)
