"""Files on web servers, of which some send a whole file where a part of it was asked for.

Such an answer is never taken for the part. Everything else that is remote is read by fsspec as it is.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any, BinaryIO, TypeVar, cast

from dataflow.errors import SourceError

_BLOCK = 1 << 20
_PART, _NOTHING_THERE = 206, 416

Answer = TypeVar("Answer")


def read_part(system: Any, url: str, *, start: int, stop: int) -> bytes:
    """The bytes from `start` to `stop`, -1 meaning the end, also where the server sends the whole file.

    Raises:
        SourceError: The server sends another part than was asked for.
    """
    return b"" if start == stop else _wait(system, _read_part(system, url, start=start, stop=stop))


@lru_cache(maxsize=4096)
def sends_parts(system: Any, url: str) -> bool:
    """Whether the server sends a part of the file where a part is asked for; asked once in a process."""
    return _wait(system, _sends_parts(system, url))


def fetched(system: Any, url: str) -> BinaryIO:
    """The whole file, fetched into a temporary one that is gone when it is closed."""
    file = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 - whoever reads it closes it
    try:
        _wait(system, _fetch(system, url, file=file))
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


def _wait(system: Any, work: Coroutine[Any, Any, Answer]) -> Answer:
    """The answer of work that is done on the loop of the file system."""
    import fsspec.asyn

    async def done() -> Answer:
        return await work

    return cast(Answer, fsspec.asyn.sync(system.loop, done))


@asynccontextmanager
async def _answer(system: Any, url: str, *, wanted: str | None) -> AsyncIterator[Any]:
    options = dict(system.kwargs)
    headers = {**options.pop("headers", {}), "Accept-Encoding": "identity"}
    if wanted is not None:
        headers["Range"] = f"bytes={wanted}"
    session = await system.set_session()
    async with session.get(system.encode_url(url), headers=headers, **options) as answer:
        if wanted is None or answer.status != _NOTHING_THERE:
            system._raise_not_found_for_status(answer, url)
        yield answer


async def _read_part(system: Any, url: str, *, start: int, stop: int) -> bytes:
    async with _answer(system, url, wanted=f"{start}-{'' if stop < 0 else stop - 1}") as answer:
        if answer.status == _NOTHING_THERE:
            return b""
        if answer.status == _PART:
            data = cast(bytes, await answer.read())
            _check_part(url, answer.headers.get("Content-Range", ""), start=start, stop=stop, size=len(data))
            return data
        return await _cut_out(answer.content, start, stop=stop)


async def _cut_out(content: Any, start: int, *, stop: int) -> bytes:
    """The part of a whole file that is being sent; what comes before it is not kept, what comes behind not fetched."""
    kept, position = [], 0
    async for block in content.iter_chunked(_BLOCK):
        kept.append(block[max(start - position, 0) : None if stop < 0 else max(stop - position, 0)])
        position += len(block)
        if 0 <= stop <= position:
            break
    return b"".join(kept)


def _check_part(url: str, said: str, *, start: int, stop: int, size: int) -> None:
    """Refuse a part that begins or ends elsewhere than it was asked to."""
    found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", said.strip())
    whole = int(found[3]) if found and found[3] != "*" else None
    end = whole if stop < 0 or (whole is not None and whole < stop) else stop
    if found is None or int(found[1]) != start or (end is not None and size != end - start):
        raise SourceError(
            f"{re.sub(r'[?].*', '?…', url)}: the server sent another part of the file than was asked for "
            f"({said or 'it does not say which'}); download the file first"
        )


async def _sends_parts(system: Any, url: str) -> bool:
    async with _answer(system, url, wanted="0-0") as answer:
        return cast(int, answer.status) in (_PART, _NOTHING_THERE)


async def _fetch(system: Any, url: str, *, file: BinaryIO) -> None:
    async with _answer(system, url, wanted=None) as answer:
        async for block in answer.content.iter_chunked(_BLOCK):
            file.write(block)
