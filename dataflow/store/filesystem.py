"""A thin ring over local paths and fsspec URLs: find files, describe them, open them, read byte ranges.

Local paths never import fsspec. What is inside a file is not known here. A URL goes into plans and manifests
as it is, so credentials belong into the environment of the process and are refused in a URL.
"""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast
from urllib.parse import urlsplit

from dataflow.errors import SourceError
from dataflow.plan.partitions import SourceFile

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(://|::)")
_WILD = re.compile(r"[*?\[]")
_TIMES = ("mtime", "LastModified", "last_modified", "updated", "created")
_REMOTE_THREADS = 32

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def is_remote(path: str) -> bool:
    """Whether the path is a URL that only fsspec can read; `file://` is local."""
    return bool(_URL.match(path)) and not path.startswith(("file://", "local://"))


def shown(path: str) -> str:
    """The path as messages may name it: without user, password and signed query."""
    if not is_remote(path):
        return path
    text = re.sub(r"://[^/@]*@", "://", path)
    return re.sub(r"\?.*", "?…", text) if text.startswith(("http://", "https://")) else text


def natural(path: str) -> tuple[tuple[tuple[int, int, str], ...], ...]:
    """A sort key under which `part-10` comes after `part-9`, folder by folder."""
    return tuple(
        tuple((0, int(run), run) if run.isdecimal() else (1, 0, run) for run in re.findall(r"[0-9]+|[^0-9]+", part))
        for part in path.split("/")
    )


def find(path: str) -> tuple[SourceFile, ...]:
    """The files behind one file path, folder, glob or URL, in natural order.

    A folder is searched with its sub-folders; names that begin with `.` or `_` are left out.

    Raises:
        SourceError: Nothing is there, it may not be read, or the folder is partitioned by `name=value`.
    """
    with translated(path):
        found = _find_remote(path) if is_remote(path) else _find_local(_local(path))
    if not found:
        raise SourceError(f"{shown(path)}: no file is there; hidden files and names with `_` in front do not count")
    return tuple(sorted(found, key=lambda file: natural(file.path)))


def describe(path: str) -> SourceFile:
    """The file with its size and fingerprint as they are now."""
    with translated(path):
        if not is_remote(path):
            return _describe_local(path)
        system, name = _filesystem(path)
        return _describe_remote(path, system.info(name))


@contextmanager
def unchanged(path: str, fingerprint: str) -> Iterator[None]:
    """A block that reads the file; refused when the file changed before it or while it ran.

    Raises:
        SourceError: The fingerprint is another one than when the run was planned.
    """
    _compare(path, fingerprint)
    yield
    _compare(path, fingerprint)


def open_file(path: str) -> BinaryIO:
    """The file, opened for reading bytes."""
    with translated(path):
        if not is_remote(path):
            return Path(path).open("rb")
        system, name = _filesystem(path)
        return cast(BinaryIO, system.open(name, "rb"))


def read_range(path: str, start: int, *, stop: int) -> bytes:
    """The bytes from `start` to `stop`, -1 meaning the end; one request where the file is remote."""
    with translated(path):
        if is_remote(path):
            system, name = _filesystem(path)
            return cast(bytes, system.cat_file(name, start=start, end=None if stop < 0 else stop))
        with Path(path).open("rb") as file:
            file.seek(start)
            return file.read(-1 if stop < 0 else stop - start)


def each(function: Callable[[Item], Answer], items: Sequence[Item], *, remote: bool) -> list[Answer]:
    """The function's answers in order, several at a time; many where the time goes into waiting for a server."""
    threads = min(len(items), _REMOTE_THREADS if remote else os.cpu_count() or 1)
    if threads <= 1:
        return [function(item) for item in items]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, items))


@contextmanager
def translated(path: str) -> Iterator[None]:
    """A block in which every failure to reach the file becomes a `SourceError` that names it."""
    try:
        yield
    except SourceError:
        raise
    except FileNotFoundError as error:
        raise SourceError(f"{shown(path)}: there is no such file or folder; check the path") from error
    except PermissionError as error:
        raise SourceError(f"{shown(path)}: permission denied; check who may read it") from error
    except OSError as error:
        raise SourceError(f"{shown(path)}: cannot be read ({error.strerror or type(error).__name__})") from error
    except Exception as error:
        if not is_remote(path):
            raise
        raise SourceError(f"{shown(path)}: cannot be read ({type(error).__name__})") from error


def _compare(path: str, fingerprint: str) -> None:
    if describe(path).fingerprint != fingerprint:
        raise SourceError(f"{shown(path)}: the file has changed since the run was planned; run again to plan anew")


def _local(path: str) -> str:
    plain = re.sub(r"^(file|local)://", "", path)
    return str(Path(plain).expanduser().absolute())


def _find_local(path: str) -> list[SourceFile]:
    if Path(path).is_dir():
        return [_describe_local(file) for file in _walk(path)]
    if os.path.lexists(path) or not _WILD.search(path):
        return [_describe_local(path)]
    matches = glob.glob(path, recursive=True)  # noqa: PTH207 - Path.glob takes hidden files and differs by version
    files = [match for match in matches if not Path(match).is_dir()]
    if not files:
        files = [file for folder in matches for file in _walk(folder)]
    return [_describe_local(file) for file in files]


def _walk(folder: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith((".", "_")):
                continue
            if not entry.is_dir():
                yield entry.path
                continue
            _refuse_partitioned(entry.path)
            yield from _walk(entry.path)


def _refuse_partitioned(folder: str) -> None:
    if "=" in folder.rsplit("/", 1)[-1]:
        raise SourceError(
            f"{shown(folder)}: folders named `column=value` hold a column in their name, which is not read; "
            "name the files by a glob such as `folder/*/*.parquet` if that column is not needed"
        )


def _describe_local(path: str) -> SourceFile:
    # A Path would keep the name of every file for good.
    status = os.stat(path)  # noqa: PTH116
    if not stat.S_ISREG(status.st_mode):
        raise SourceError(f"{path}: is not a regular file; copy it into one first")
    return SourceFile(path=path, size=status.st_size, fingerprint=f"{status.st_size}-{status.st_mtime_ns}")


def _filesystem(path: str) -> tuple[Any, str]:
    if urlsplit(path).password:
        raise SourceError(f"{shown(path)}: a password in a URL would be written into the plan; use the environment")
    import fsspec.core

    scheme = path.partition("::")[0].partition("://")[0]
    try:
        return cast(tuple[Any, str], fsspec.core.url_to_fs(path))
    except ImportError as error:
        raise SourceError(f"{shown(path)}: reading {scheme} needs another package: {error}") from error
    except ValueError as error:
        raise SourceError(f"{shown(path)}: fsspec knows no protocol {scheme!r}; check the URL") from error


def _find_remote(path: str) -> list[SourceFile]:
    system, name = _filesystem(path)
    if "::" in path:
        return [_describe_remote(path, system.info(name))]
    if _WILD.search(name) and not system.exists(name):
        found = system.glob(name, detail=True)
    elif system.isdir(name):
        found = _visible(name, system.find(name, detail=True))
    else:
        return [_describe_remote(path, system.info(name))]
    files = {key: info for key, info in found.items() if info.get("type") != "directory"}
    return [_describe_remote(system.unstrip_protocol(key), info) for key, info in files.items()]


def _visible(folder: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """The files of a folder without the hidden ones and without the empty markers that object stores keep."""
    visible = {}
    for name, info in found.items():
        parts = name[len(folder) :].strip("/").split("/")
        if name.endswith("/") or any(part.startswith((".", "_")) for part in parts):
            continue
        for part in parts[:-1]:
            _refuse_partitioned(part)
        visible[name] = info
    return visible


def _describe_remote(path: str, info: Mapping[str, Any]) -> SourceFile:
    if info.get("type") == "directory":
        raise SourceError(f"{shown(path)}: is a folder, not a file")
    if info.get("size") is None:
        raise SourceError(f"{shown(path)}: the server does not tell its size; download the file first")
    return SourceFile(path=path, size=int(info["size"]), fingerprint=_fingerprint(info))


def _fingerprint(info: Mapping[str, Any]) -> str:
    for key in ("ETag", "etag"):
        if info.get(key):
            return str(info[key]).removeprefix("W/").strip('"')
    times = [info[key] for key in _TIMES if info.get(key) is not None]
    moment = times[0] if times else ""
    return f"{info['size']}-{moment.timestamp() if isinstance(moment, datetime) else moment}"
