"""Whether a server answers: one request without a secret, the same here and on a worker.

Travels as code, so it uses the standard library only. What an answer means is not known here.
"""

from __future__ import annotations

import asyncio
import http.client
import socket
import ssl
import urllib.parse
from typing import Any

REACH = 3.0
"""Seconds for each step of a request: to connect, to agree on TLS, to answer."""


def reach(url: str, *, ca_file: str | None = None, ask: bool = True, seconds: float = REACH) -> dict[str, Any]:
    """Whether a server answers at a url: one request without a secret, and no redirect is followed.

    Args:
        url: Where it is.
        ca_file: Certificates to trust beside the usual ones.
        ask: False sets up the connection only, and sends no request.
        seconds: For each step.

    Returns:
        `status` of an answer, `connected` where none was asked for, or `trouble` in words.
    """
    parts = urllib.parse.urlsplit(url)
    try:
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            context = ssl.create_default_context()
            if ca_file is not None:
                context.load_verify_locations(cafile=ca_file)
            connection = http.client.HTTPSConnection(parts.netloc, timeout=seconds, context=context)
        else:
            connection = http.client.HTTPConnection(parts.netloc, timeout=seconds)
        try:
            connection.connect()
            if not ask:
                return {"connected": True}
            connection.request("HEAD", parts.path or "/", headers={"User-Agent": "dataflow"})
            return {"status": connection.getresponse().status}
        finally:
            connection.close()
    except (OSError, http.client.HTTPException) as error:
        return {"trouble": _trouble(error)}


def _trouble(error: Exception) -> str:
    """What a fault of a connection means, without what the server said."""
    known: dict[type[BaseException], str] = {
        ssl.SSLCertVerificationError: "its certificate is not trusted",
        socket.gaierror: "the name of its host is not known",
        TimeoutError: "it does not answer in time",
        ConnectionRefusedError: "the connection is refused",
        FileNotFoundError: "its ca_file is not there",
    }
    found = (text for kind, text in known.items() if isinstance(error, kind))
    return next(found, f"the connection fails ({type(error).__name__})")


async def reach_aside(url: str, *, ca_file: str | None, ask: bool) -> dict[str, Any]:
    """`reach` beside what an event loop does."""
    return await asyncio.to_thread(reach, url, ca_file=ca_file, ask=ask)
