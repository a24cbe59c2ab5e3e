"""Sends one request and gives its whole answer, within limits; every fault becomes an AttemptError here.

aiohttp sends: of the well-kept clients it costs least beside httpx, whose own transport collapses at 100 connections,
and one session serves both declarative services and the `httpx.AsyncClient` that functions are given.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import aiohttp
from yarl import URL

from dataflow.engine.http.attempts import Answer, AttemptError, Request
from dataflow.engine.http.bodies import read_body
from dataflow.engine.http.connections import Connector, NeverArrived, Sending, sending
from dataflow.engine.http.encodings import accepted
from dataflow.policies.retry import Attempt
from dataflow.services.headers import CONTENT_TYPE, holds, joined

if TYPE_CHECKING:
    from dataflow.services.api import API

CONNECT = 5.0
"""Seconds to set up a connection."""

BUSY = 0.5
"""Seconds up to which no server takes a connection for idle: where it breaks all the same, the provider may be down."""

_HEADERS = {"Accept": "application/json", "User-Agent": "dataflow"}


class Transport:
    """The connections of one API in one process; used on one event loop.

    The number of connections is not limited here, since the calls are. Redirects are not followed, cookies not
    kept, and proxies of the environment not used: none of these was asked for by who declared the API.
    """

    def __init__(self, api: API) -> None:
        self.api = api
        self._session: aiohttp.ClientSession | None = None

    @property
    def session(self) -> aiohttp.ClientSession:
        """The session, opened with the first request."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=Connector(limit=0, ssl=_context(self.api), keepalive_timeout=30, ttl_dns_cache=60),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=joined({**_HEADERS, "Accept-Encoding": accepted()}, self.api.headers),
                auto_decompress=False,
                trust_env=False,
            )
            # aiohttp would send a lost request again by itself: a call that no limit, count or budget knows of.
            self._session._retry_connection = False
        return self._session

    async def send(self, request: Request, *, leave: Callable[[], None] | None = None) -> Answer:
        """Send the request, on another connection where the server had closed one before it had the request.

        Args:
            request: What is sent.
            leave: Called when it has a connection and is put on it.

        Raises:
            AttemptError: No whole answer came.
        """
        one = Sending(leave)
        sending.set(one)
        while True:
            try:
                async with self.session.request(
                    request.method,
                    URL(request.url, encoded=True),
                    headers=request.headers,
                    data=request.body,
                    allow_redirects=False,
                    skip_auto_headers=_skipped(request, self.api),
                ) as response:
                    body = await read_body(response, most=self.api.max_answer)
                    return Answer(status=response.status, headers=response.headers, body=body)
            except (aiohttp.ClientError, OSError, ValueError) as error:
                # It was sent nowhere, so that sending it is still the same attempt; each time a connection is used up.
                if one.opens or not _never_arrived(error, request):
                    raise translate(error, idle=None if one.opens else one.idle) from error

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()


def _skipped(request: Request, api: API) -> tuple[str, ...] | None:
    """Aiohttp would say of a body that nobody has said anything of that it is octets."""
    if request.body is None or CONTENT_TYPE in request.headers or holds(request.headers, CONTENT_TYPE):
        return None
    return None if holds(api.headers, CONTENT_TYPE) else (CONTENT_TYPE,)


def _never_arrived(error: Exception, request: Request) -> bool:
    """Whether a request on a connection that had been used before was lost before it came to the server.

    Where that is only likely, it must do no harm to send it again.
    """
    if isinstance(error, NeverArrived):
        return error.sure or request.is_repeatable
    return isinstance(error, aiohttp.ClientConnectionResetError)


def translate(error: Exception, *, idle: float | None = None) -> AttemptError:
    """What a fault of the connection means; one that had been used before may just have been closed, as idle.

    Args:
        error: Of the library.
        idle: Seconds for which the connection had been idle before; None for a new one.
    """
    kind = type(error).__name__
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        return AttemptError("certificate", "the certificate of the server is not trusted; see ca_file= of the API")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return AttemptError("no such host", "the name of the host is not known", again="always")
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return AttemptError("cannot connect", f"no connection could be set up ({kind})", again="always")
    if isinstance(error, aiohttp.ClientPayloadError):
        return AttemptError("answer cut off", f"the answer ended early ({kind})", again="repeatable")
    if isinstance(error, aiohttp.InvalidURL | ValueError):
        return AttemptError("bad request", f"the request cannot be written ({kind})", attempt=Attempt.ABANDONED)
    return AttemptError(
        "connection lost",
        f"the connection was lost ({kind})",
        attempt=Attempt.FAILED if idle is None or idle < BUSY else Attempt.ABANDONED,
        again="repeatable",
        stale=idle is not None,
    )


def _context(api: API) -> Any:
    if not api.url.startswith("https") and api.ca_file is None:
        return True
    context = ssl.create_default_context()
    if api.ca_file is not None:
        context.load_verify_locations(cafile=api.ca_file)
    return context


async def within(seconds: float, sending: Any) -> Any:
    """What a coroutine gives, unless the seconds of the attempt run out before.

    Raises:
        AttemptError: They did.
    """
    try:
        async with asyncio.timeout(seconds) as limit:
            return await sending
    except TimeoutError as error:
        if not limit.expired():
            raise AttemptError("connection lost", "the connection timed out", again="repeatable") from error
        raise AttemptError("timeout", f"no whole answer within {seconds:g} s", again="repeatable") from error
