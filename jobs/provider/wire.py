"""The ring to uvicorn: connections that can be waited on and broken, and whole answers.

uvicorn gives an application no way to its sockets. The protocol here puts each connection into the state that
every request of it carries, so that an application can reset it, and knows at once when the client has left.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

from .counts import Ending

JSON = (b"content-type", b"application/json")
Header = tuple[bytes, bytes]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Connection:
    """One connection, as far as an application may touch it."""

    __slots__ = ("_transport", "_waiter", "lost")

    def __init__(self, transport: asyncio.Transport) -> None:
        self.lost = False
        self._transport = transport
        self._waiter: asyncio.Future[None] | None = None

    async def pause(self, seconds: float | None) -> bool:
        """Wait, for ever with None, or until the client leaves; whether the client is still there."""
        if not self.lost:
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            timer = loop.call_later(seconds, self._wake) if seconds is not None else None
            try:
                await self._waiter
            finally:
                self._waiter = None
                if timer:
                    timer.cancel()
        return not self.lost

    def reset(self) -> None:
        """Break the connection with a TCP reset: without lingering, the kernel sends no FIN."""
        sock = self._transport.get_extra_info("socket")
        if sock is not None and not self.lost:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def close(self) -> None:
        """Close it in good order, after what has been written."""
        self._transport.close()

    def lose(self) -> None:
        """Note that the connection is gone."""
        self.lost = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class OpenProtocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """uvicorn's protocol (httptools where it is installed, else h11), with the connection in `scope["state"]`."""

    app_state: dict[str, Any]

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self.connection = Connection(transport)
        self.app_state = {**self.app_state, "connection": self.connection}

    def connection_lost(self, exc: Exception | None) -> None:
        self.connection.lose()
        super().connection_lost(exc)


class Exchange:
    """One request and the way to answer it."""

    __slots__ = ("_receive", "_send", "connection", "scope")

    def __init__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        self.scope = scope
        self.connection: Connection = scope["state"]["connection"]
        self._receive = receive
        self._send = send

    async def body(self) -> bytes | None:
        """The whole body of the request, or None where the client left before its end."""
        body = bytearray()
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                return None
            body += message["body"]
            if not message["more_body"]:
                return bytes(body)

    async def answer(self, status: int, body: bytes, *, headers: Iterable[Header] = (JSON,)) -> Ending:
        """Send a whole answer; how the call ended."""
        if self.connection.lost:
            return "left"
        length = (b"content-length", b"%d" % len(body))
        await self._send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
        await self._send({"type": "http.response.body", "body": body})
        return status

    async def begin(self, status: int, length: int, *, headers: Iterable[Header] = (JSON,)) -> None:
        """Send the head of an answer whose body comes in pieces, and may stop short of its length."""
        sizes = (b"content-length", b"%d" % length)
        await self._send({"type": "http.response.start", "status": status, "headers": [*headers, sizes]})

    async def piece(self, body: bytes, *, last: bool = False) -> bool:
        """Send a piece of the body, when the client has taken those before; whether it is still there."""
        await self._send({"type": "http.response.body", "body": body, "more_body": not last})
        return not self.connection.lost
