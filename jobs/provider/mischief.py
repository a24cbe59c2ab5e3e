"""Carries out the faults of the connection: silence, resets, and bodies that are slow or too large.

What a fault is called and how it changes a body is in `faults`.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable
from functools import lru_cache

from .counts import Ending
from .faults import GZIP_BOMB, HUGE_BODY, Fault, Kind
from .wire import JSON, Exchange

PIECE = 65536
SETTLE = 0.02
"""Seconds between half a body and the reset, so that the client has read what was sent."""
Act = Callable[[Exchange, Fault, bytes], Awaitable[Ending]]


async def _no_answer(exchange: Exchange, fault: Fault, body: bytes) -> Ending:
    await exchange.connection.pause(None)
    return "left"


async def _trickle(exchange: Exchange, fault: Fault, body: bytes) -> Ending:
    await exchange.begin(200, len(body))
    for place in range(len(body)):
        if not await exchange.connection.pause(fault.number(1.0)):
            return "left"
        await exchange.piece(body[place : place + 1], last=place + 1 == len(body))
    return 200


async def _reset_before_headers(exchange: Exchange, fault: Fault, body: bytes) -> Ending:
    if exchange.connection.lost:
        return "left"
    exchange.connection.reset()
    await exchange.connection.pause(None)
    return "reset"


async def _reset_in_body(exchange: Exchange, fault: Fault, body: bytes) -> Ending:
    await exchange.begin(200, len(body))
    await exchange.piece(body[: len(body) // 2])
    if not await exchange.connection.pause(SETTLE):
        return "left"
    exchange.connection.reset()
    await exchange.connection.pause(None)
    return "reset"


async def _close_keepalive(exchange: Exchange, fault: Fault, body: bytes) -> Ending:
    ending = await exchange.answer(200, body)
    exchange.connection.close()
    return ending


async def _huge_body(exchange: Exchange, fault: Fault, body: bytes) -> Ending:
    size = int(fault.number(HUGE_BODY))
    await exchange.begin(200, size + len(b'{"name": ""}'))
    there = await exchange.piece(b'{"name": "')
    for start in range(0, size, PIECE):
        if not there:
            return "left"
        there = await exchange.piece(b"a" * min(PIECE, size - start))
    return 200 if await exchange.piece(b'"}', last=True) else "left"


async def _gzip_bomb(exchange: Exchange, fault: Fault, body: bytes) -> Ending:
    bomb = await asyncio.to_thread(pack_bomb, int(fault.number(GZIP_BOMB)))
    return await exchange.answer(200, bomb, headers=(JSON, (b"content-encoding", b"gzip")))


async def _redirect(exchange: Exchange, fault: Fault, body: bytes) -> Ending:
    return await exchange.answer(302, b"{}", headers=(JSON, (b"location", fault.text.encode("latin-1", "replace"))))


@lru_cache(maxsize=4)
def pack_bomb(size: int) -> bytes:
    """A gzip stream that unpacks to a JSON string of so many bytes."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    pieces = [packer.compress(b'"')]
    pieces += [packer.compress(b"a" * min(PIECE, size - start)) for start in range(0, size, PIECE)]
    return b"".join([*pieces, packer.compress(b'"'), packer.flush()])


ACTS: dict[Kind, Act] = {
    Kind.NO_ANSWER: _no_answer,
    Kind.TRICKLE: _trickle,
    Kind.RESET_BEFORE_HEADERS: _reset_before_headers,
    Kind.RESET_IN_BODY: _reset_in_body,
    Kind.CLOSE_KEEPALIVE: _close_keepalive,
    Kind.HUGE_BODY: _huge_body,
    Kind.GZIP_BOMB: _gzip_bomb,
    Kind.REDIRECT: _redirect,
}
"""What is done instead of sending the body; kinds that are not here change status, time or body only."""
