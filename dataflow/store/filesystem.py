"""A thin ring over local paths and fsspec URLs: describe files, open them, read byte ranges.

Local paths never import fsspec. What is inside a file is not known here. A URL goes into plans and manifests
as it is, so credentials belong into the environment of the process and are refused in a URL.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast
from urllib.parse import urlsplit

from dataflow.errors import SourceError
from dataflow.plan.partitions import SourceFile

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(://|::)")
_TIMES = ("mtime", "LastModified", "last_modified", "updated", "created")
_TAGS = ("ETag", "etag", "Content-MD5", "Digest")
_CONTENT = "content-"
_SETTLED = 60.0
"""Seconds behind which a file does not change any more within the second that Last-Modified names (RFC 9110)."""
_BLOCK = 1 << 20
_REMOTE_THREADS = 32

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def is_remote(path: str) -> bool:
    """Whether the path is a URL that only fsspec can read; `file://` is local."""
    return bool(_URL.match(path)) and not path.startswith(("file://", "local://"))


def _is_web(path: str) -> bool:
    return path.startswith(("http://", "https://"))


def shown(path: str) -> str:
    """The path as messages may name it: without user, password and signed query."""
    if not is_remote(path):
        return path
    text = re.sub(r"://[^/@]*@", "://", path)
    return re.sub(r"\?.*", "?…", text) if _is_web(text) else text


def plain_name(path: str) -> str:
    """What the name of the file is, whose end tells format and compression: without the query of a web address.

    Elsewhere `?` and `#` are characters of the name. Of a chained URL the first address names the file.
    """
    address = next((part for part in path.split("::") if "://" in part), path) if is_remote(path) else path
    if _is_web(address):
        address = re.split(r"[?#]", address, maxsplit=1)[0]
    return address.rsplit("/", 1)[-1]


def natural(path: str) -> tuple[tuple[tuple[int, int, str], ...], ...]:
    """A sort key under which `part-10` comes after `part-9`, folder by folder."""
    return tuple(
        tuple((0, int(run), run) if run.isdecimal() else (1, 0, run) for run in re.findall(r"[0-9]+|[^0-9]+", part))
        for part in path.split("/")
    )


def local_path(path: str) -> str:
    """The absolute path that a local path or `file://` URL means."""
    plain = re.sub(r"^(file|local)://", "", path)
    return str(Path(plain).expanduser().absolute())


def filesystem(path: str) -> tuple[Any, str]:
    """The fsspec file system of a URL, and the name of the file in it."""
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


def describe(path: str) -> SourceFile:
    """The file with its size and fingerprint as they are now."""
    with translated(path):
        if not is_remote(path):
            return _describe_local(path)
        system, name = filesystem(path)
        return describe_found(path, system.info(name))


def describe_found(path: str, info: Mapping[str, Any]) -> SourceFile:
    """The remote file by what its file system says about it."""
    if info.get("type") == "directory":
        raise SourceError(f"{shown(path)}: is a folder, not a file")
    if info.get("size") is None:
        raise SourceError(f"{shown(path)}: the server does not tell its size; download the file first")
    return SourceFile(path=path, size=int(info["size"]), fingerprint=_fingerprint(path, info))


@contextmanager
def unchanged(path: str, fingerprint: str) -> Iterator[None]:
    """A block that reads the file; refused when the file changed before it or while it ran.

    Raises:
        SourceError: The fingerprint is another one than when the run was planned.
    """
    # A look at the content costs as much as reading, and afterwards it tells of both.
    if not fingerprint.startswith(_CONTENT):
        _compare(path, fingerprint)
    yield
    _compare(path, fingerprint)


def open_file(path: str) -> BinaryIO:
    """The file, opened for reading bytes."""
    with translated(path):
        if not is_remote(path):
            return Path(path).open("rb")
        system, name = filesystem(path)
        if not is_enterable(path):
            from dataflow.store.web import fetched

            return fetched(system, name)
        file = cast(BinaryIO, system.open(name, "rb"))
        # An archive closes when its file system is forgotten; so the file remembers it.
        weakref.finalize(file, id, system)
        return file


def is_enterable(path: str) -> bool:
    """Whether the file can be read from its middle: all but those of a web server that only sends them whole."""
    if not _is_web(path):
        return True
    from dataflow.store.web import sends_parts

    with translated(path):
        return sends_parts(*filesystem(path))


def read_range(path: str, start: int, *, stop: int) -> bytes:
    """The bytes from `start` to `stop`, -1 meaning the end; one request where the file is remote."""
    with translated(path):
        if is_remote(path):
            system, name = filesystem(path)
            if _is_web(path):
                from dataflow.store.web import read_part

                return read_part(system, name, start=start, stop=stop)
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
        raise SourceError(f"{_culprit(path, error)}: there is no such file or folder; check the path") from error
    except PermissionError as error:
        raise SourceError(f"{_culprit(path, error)}: permission denied; check who may read it") from error
    except OSError as error:
        raise SourceError(
            f"{_culprit(path, error)}: cannot be read ({error.strerror or type(error).__name__})"
        ) from error
    except Exception as error:
        if not is_remote(path):
            raise
        raise SourceError(f"{shown(path)}: cannot be read ({type(error).__name__})") from error


def _culprit(path: str, error: OSError) -> str:
    """The file that the error is about: one of many behind a folder or a glob."""
    named = error.filename
    return named if isinstance(named, str) and not is_remote(path) else shown(path)


def _compare(path: str, fingerprint: str) -> None:
    with translated(path):
        now = _content(path) if fingerprint.startswith(_CONTENT) else describe(path).fingerprint
    if now != fingerprint:
        raise SourceError(f"{shown(path)}: the file has changed since the run was planned; run again to plan anew")


def _describe_local(path: str) -> SourceFile:
    # A Path would keep the name of every file for good.
    status = os.stat(path)  # noqa: PTH116
    if not stat.S_ISREG(status.st_mode):
        raise SourceError(f"{path}: is not a regular file; copy it into one first")
    return SourceFile(path=path, size=status.st_size, fingerprint=f"{status.st_size}-{status.st_mtime_ns}")


def _fingerprint(path: str, info: Mapping[str, Any]) -> str:
    for key in _TAGS:
        if info.get(key):
            return str(info[key]).removeprefix("W/").strip('"')
    moment = next((info[key] for key in _TIMES if info.get(key) is not None), None)
    if moment is not None:
        return f"{info['size']}-{moment.timestamp() if isinstance(moment, datetime) else moment}"
    header = info.get("Last-Modified")
    if header and _is_settled(header):
        return f"{info['size']}-{header}"
    return _content(path)


def _is_settled(header: str) -> bool:
    """Whether a time of change is so long ago that the file has not changed twice in that second."""
    try:
        return time.time() - parsedate_to_datetime(header).timestamp() > _SETTLED
    except ValueError:
        return False


def _content(path: str) -> str:
    """What the file holds, in place of what its server does not tell."""
    digest = hashlib.blake2b(digest_size=16)
    with open_file(path) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return _CONTENT + digest.hexdigest()
