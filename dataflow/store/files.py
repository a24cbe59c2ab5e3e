"""Files that appear whole: the few operations on a catalog's folder that everything else here is built from.

One seam with two homes: a local path, where files are synced, linked and renamed, and an object store. What the
files mean is not known here. Every local operation ends in a plain `os` call, so that a test can break each.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import pyarrow as pa

from dataflow.errors import StoreError
from dataflow.store.filesystem import is_remote
from dataflow.store.inplace import InPlace, LocalPlace
from dataflow.store.objects import ObjectFiles

Data: TypeAlias = "bytes | pa.Buffer"
Pair: TypeAlias = tuple[str, str]

_ADVICE = {
    errno.ENOSPC: "free some space and run again, what is committed stays",
    errno.EDQUOT: "free some space and run again, what is committed stays",
    errno.EACCES: "check who may write to the catalog",
    errno.EPERM: "check who may write to the catalog, and that its file system has hard links",
    errno.EROFS: "choose a catalog on a disk that can be written",
    errno.EOPNOTSUPP: "choose a catalog on a file system with hard links, or a URL",
}
_NO_SYMLINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS}


class Files(Protocol):
    """What a catalog needs from the place where it lives; paths are absolute, with `/`."""

    def make(self, *folders: str) -> None:
        """Make folders with their parents; those that exist stay."""

    def write(self, path: str, data: Data) -> None:
        """Let a file appear or change at once; it is durable on return."""

    def show(self, path: str, data: Data) -> None:
        """Let a file appear or change at once, for whoever looks now; a crash may lose it."""

    def create(self, path: str, data: Data) -> bool:
        """Let a file appear at once unless it exists; False where it did."""

    def change(self, path: str, data: bytes) -> InPlace:
        """Let a new file appear that this process will change in place."""

    def read(self, path: str) -> bytes:
        """All bytes of a file; FileNotFoundError where there is none."""

    def read_all(self, folder: str) -> Iterator[tuple[str, bytes]]:
        """All whole files right in a folder with their names, a few at a time; none where there is no folder."""

    def source(self, path: str) -> Any:
        """What pyarrow reads the file from."""

    def sizes(self, folder: str) -> dict[str, int]:
        """Bytes by name of the files right in a folder; empty where there is no folder."""

    def folders(self, folder: str) -> list[str]:
        """Names of the folders right in a folder; empty where there is none."""

    def copy(self, pairs: Sequence[Pair]) -> None:
        """Let each file appear under a second path too; a target that exists stays."""

    def place(self, pairs: Sequence[Pair], *, folder: str, staging: str, manifest: tuple[str, bytes]) -> None:
        """Let a folder appear with just these files, and its manifest: whichever comes last makes both visible."""

    def point(self, path: str, target: str) -> None:
        """Let a symbolic link appear or change at once, where the place has such links."""

    def remove(self, *paths: str) -> None:
        """Remove files, or folders with all they hold, each at once; what is not there is no error."""


class LocalFiles:
    """Folders of this machine, or shared ones that behave like them."""

    def make(self, *folders: str) -> None:
        for folder in map(Path, folders):
            missing = [path for path in (folder, *folder.parents) if not path.is_dir()]
            for path in reversed(missing):
                path.mkdir(exist_ok=True)
                _sync(path.parent)

    def write(self, path: str, data: Data) -> None:
        temporary = _written(path, data)
        try:
            temporary.replace(path)
        except OSError:
            _discard(temporary)
            raise
        _sync(temporary.parent)

    def show(self, path: str, data: Data) -> None:
        temporary = _temporary(path)
        try:
            temporary.write_bytes(data)
            temporary.replace(path)
        except OSError:
            _discard(temporary)
            raise

    def create(self, path: str, data: Data) -> bool:
        temporary = _written(path, data)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        finally:
            _discard(temporary)
        _sync(temporary.parent)
        return True

    def change(self, path: str, data: bytes) -> InPlace:
        return LocalPlace(path, data)

    def read(self, path: str) -> bytes:
        return Path(path).read_bytes()

    def read_all(self, folder: str) -> Iterator[tuple[str, bytes]]:
        return ((entry.name, self.read(entry.path)) for entry in _entries(folder) if not is_temporary(entry.name))

    def source(self, path: str) -> Any:
        return path

    def sizes(self, folder: str) -> dict[str, int]:
        found = [entry for entry in _entries(folder) if not entry.is_dir(follow_symlinks=False)]
        return {entry.name: entry.stat(follow_symlinks=False).st_size for entry in found}

    def folders(self, folder: str) -> list[str]:
        return [entry.name for entry in _entries(folder) if entry.is_dir(follow_symlinks=False)]

    def copy(self, pairs: Sequence[Pair]) -> None:
        for source, target in pairs:
            _link_or_copy(source, target)
        for folder in {Path(target).parent for _, target in pairs}:
            _sync(folder)

    def place(self, pairs: Sequence[Pair], *, folder: str, staging: str, manifest: tuple[str, bytes]) -> None:
        self.write(*manifest)
        self.remove(staging)
        self.make(staging)
        self.copy([(source, f"{staging}/{name}") for source, name in pairs])
        Path(staging).rename(folder)
        _sync(Path(folder).parent)
        _sync(Path(staging).parent)

    def point(self, path: str, target: str) -> None:
        temporary = _temporary(path)
        try:
            temporary.symlink_to(target)
        except OSError as error:
            if error.errno in _NO_SYMLINKS:
                return
            raise
        temporary.replace(path)
        _sync(temporary.parent)

    def remove(self, *paths: str) -> None:
        for path in map(Path, paths):
            if path.is_dir() and not path.is_symlink():
                doomed = path if is_temporary(path.name) else path.rename(_temporary(str(path)))
                shutil.rmtree(doomed)
            else:
                path.unlink(missing_ok=True)


def _temporary(path: str) -> Path:
    return Path(path).with_name(f".{Path(path).name}.{os.urandom(6).hex()}.tmp")


def is_temporary(name: str) -> bool:
    """Whether a name is that of a file or folder which a killed process left before it was whole or gone."""
    return name.startswith(".") and name.endswith(".tmp")


def _written(path: str, data: Data) -> Path:
    """The data in a new file beside `path`, on disk."""
    temporary = _temporary(path)
    opened = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(opened, rest) :]
        os.fsync(opened)
    except OSError:
        _discard(temporary)
        raise
    finally:
        os.close(opened)
    return temporary


def _discard(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


def _sync(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except FileExistsError:
        return
    except FileNotFoundError:
        raise
    except OSError:
        _written(target, Path(source).read_bytes()).replace(target)


def rooted(root: str | Path) -> str:
    """The root of a catalog as everything here writes it: an absolute path or a URL, without a slash at the end."""
    text = str(root)
    if is_remote(text):
        return text.rstrip("/")
    return str(Path(text.removeprefix("file://")).expanduser().absolute())


def files_at(root: str) -> Files:
    """The operations for a catalog's root; a local one does not import fsspec."""
    return ObjectFiles(root) if is_remote(root) else LocalFiles()


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn an error of the operating system into a StoreError that says what was done and what to try."""
    try:
        yield
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, "run again to go on")
        where = f" at {error.filename}" if error.filename else ""
        raise StoreError(f"{doing}: {error.strerror or type(error).__name__}{where}; {advice}") from error
