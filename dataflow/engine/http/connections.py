"""The connections of one API that are kept open between calls, and which of them a request may still be sent on.

A server closes a connection that has been idle for as long as it likes. What is sent on it after that never arrives,
which shows in two ways: the end of the connection is there before anything is sent, or it comes before the system of
the server has taken the whole request. Both are told apart here from the end of a connection that has taken it.
"""

from __future__ import annotations

import array
import asyncio
import contextvars
import functools
import math
import select
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler

from dataflow.policies.keepalive import Keepalive


class Sending:
    """A request on its way to a connection.

    Args:
        leave: Called when it has one, just before it is put on it: a kill before leaves no call that was never made.

    Attributes:
        opens: Whether a connection is opened for it.
        idle: Seconds for which the one that it was given had been idle.
    """

    __slots__ = ("idle", "leave", "opens")

    def __init__(self, leave: Callable[[], None] | None) -> None:
        self.leave = leave
        self.opens = False
        self.idle = 0.0


sending: contextvars.ContextVar[Sending | None] = contextvars.ContextVar("dataflow_sending", default=None)
"""The request that is being sent."""

_SO_NWRITE = 0x1024
"""On macOS: bytes that the other side has not taken."""


class NeverArrived(aiohttp.ServerDisconnectedError):  # type: ignore[misc]
    """The server had closed the connection before it had the whole request, so that it has not acted on it.

    Attributes:
        sure: Whether that is certain, and not only likely since it closes connections of that age.
    """

    def __init__(self, *, sure: bool) -> None:
        super().__init__()
        self.sure = sure


class _Idle:
    """What is known of the server's patience with idle connections, for all connections of one API."""

    def __init__(self) -> None:
        self.known = Keepalive()

    def end(self, age: float, *, now: float) -> None:
        self.known = self.known.end(age, now=now)


class _Connection(ResponseHandler):  # type: ignore[misc]
    """One connection; notes whether what was sent last had arrived when the server closed it.

    Attributes:
        age: Seconds that it had been idle when it was used last; None the first time.
        ended_at: When it was lost.
    """

    age: float | None = None
    ended_at = math.inf
    _cut = False
    _poll: Callable[[], object] | None = None

    def __init__(self, loop: asyncio.AbstractEventLoop, *, idle: _Idle) -> None:
        super().__init__(loop)
        self._idle = idle

    def is_readable(self) -> bool:
        """Whether there is something to read, without waiting for it."""
        if self._poll is None:
            self._poll = _polled(self.transport)
        return bool(self._poll())

    def eof_received(self) -> None:
        """The server sends nothing more: what it has not taken by now is not taken by anybody."""
        self._cut = _untaken(self.transport) > 0
        super().eof_received()

    def connection_lost(self, exc: BaseException | None) -> None:
        """The connection is gone; a pipe that was broken when it was written to has taken nothing whole."""
        self.ended_at = time.monotonic()
        self._cut = (self._cut and exc is None) or isinstance(exc, BrokenPipeError)
        super().connection_lost(exc)

    def set_exception(self, exc: Any, *causes: Any) -> None:
        """Tell whoever waits for an answer why there will be none."""
        if self.age is not None and isinstance(exc, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError):
            late = self.age > self._idle.known.trusted(time.monotonic())
            if self._cut or late:
                exc = NeverArrived(sure=self._cut)
        super().set_exception(exc, *causes)


class Connector(aiohttp.TCPConnector):  # type: ignore[misc]
    """Notes which requests open a connection, and gives none again that the server has closed or is about to close.

    A request that gets one is put on it with nothing in between. aiohttp's own tracing costs a tenth of a call, and a
    class of requests of our own half as much.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._idle = _Idle()
        self._factory = functools.partial(_Connection, loop=self._loop, idle=self._idle)

    async def _create_connection(self, *arguments: Any, **options: Any) -> Any:
        one = sending.get()
        if one is not None:
            one.opens = True
        connection = await super()._create_connection(*arguments, **options)
        if one is not None and one.leave is not None:
            one.leave()
        return connection

    async def _get(self, key: Any, traces: Any) -> Any:
        conns = self._conns.get(key)
        if conns:
            now = time.monotonic()
            trusted = self._idle.known.trusted(now)
            while conns:
                connection, since = conns[0]
                age = now - since
                if not self._is_over(connection, age, now=now) and age <= trusted:
                    connection.age = age
                    break
                conns.popleft()[0].close()
        age = conns[0][0].age if conns else None
        found = await super()._get(key, traces)
        if found is not None and (one := sending.get()) is not None:
            one.idle = age or 0.0
            if one.leave is not None:
                one.leave()
        return found

    def _is_over(self, connection: _Connection, age: float, *, now: float) -> bool:
        """Whether the server has closed an idle connection, also where the loop has not come to see it."""
        if connection.age is not None:
            self._idle.known = self._idle.known.survive(connection.age, now=now)
        transport = connection.transport
        if transport is None or transport.is_closing():
            self._idle.end(max(0.0, age - max(0.0, now - connection.ended_at)), now=now)
            return True
        # Nobody has asked for anything, so that whatever there is to read is the end; with TLS it may be a ticket.
        over = connection.is_readable()
        if over and transport.get_extra_info("sslcontext") is None:
            self._idle.end(age, now=now)
        return over


def _polled(transport: Any) -> Callable[[], object]:
    """What asks the system whether there is something to read, and gives anything but nothing where there is."""
    sock = transport.get_extra_info("socket")
    if sock is None:
        return lambda: None
    if not hasattr(select, "poll"):
        return lambda: select.select([sock.fileno()], [], [], 0)[0]
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLIN)
    return functools.partial(poll.poll, 0)


def _untaken(transport: Any) -> int:
    """Bytes that the system of the other side has not said it has; 0 where nobody knows."""
    sock = None if transport is None else transport.get_extra_info("socket")
    if sock is None:
        return 0
    try:
        if sys.platform == "darwin":
            return int(sock.getsockopt(socket.SOL_SOCKET, _SO_NWRITE))
        if sys.platform == "linux":
            import fcntl
            import termios

            found = array.array("i", [0])
            fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, found)
            return found[0]
    except OSError:
        return 0
    return 0
