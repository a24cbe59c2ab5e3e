"""A small server for the page of one run, on this machine only; what the page looks like is the business of `page`."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlsplit

from dataflow.engine.live.pages import HEADERS
from dataflow.errors import DataflowError
from dataflow.faces.page import page, panels, policy, seen, values

HOST = "127.0.0.1"
UNASKED = 60.0
"""Seconds after which the page of a run that has ended is left, if nobody looks at it any more."""

_EVERY = 0.5
_PLAIN, _JSON, _HTML = "text/plain; charset=utf-8", "application/json; charset=utf-8", "text/html; charset=utf-8"

Boards = Mapping[str, tuple[bytes, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is said to a browser.

    Attributes:
        status: The HTTP status.
        kind: The type of the text.
        text: The text.
        headers: Those of this answer alone.
    """

    status: int = 200
    kind: str = _PLAIN
    text: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


def answer(target: str, boards: Callable[[], Boards], *, nonce: str) -> Answer:
    """The answer to one request.

    Args:
        target: The path and the query.
        boards: Gives the boards, as `page` takes them.
        nonce: What lets the script of the page run.
    """
    split = urlsplit(target)
    query = {name: values[0] for name, values in parse_qs(split.query).items()}
    match split.path:
        case "/":
            return Answer(status=302, headers={"Location": "/dataflow"})
        case "/dataflow":
            html = page(boards(), run=query.get("run"), nonce=nonce)
            return Answer(kind=_HTML, text=html, headers={"Content-Security-Policy": policy(nonce)})
        case "/dataflow/panels":
            return _panels(boards(), query)
        case "/dataflow.json":
            return Answer(kind=_JSON, text=json.dumps({"runs": values(boards()), "apis": {}}))
    return Answer(status=404, text="there is /dataflow and /dataflow.json\n")


def _panels(boards: Boards, query: Mapping[str, str]) -> Answer:
    run = query.get("run")
    if query.get("seen") == seen(boards, run=run):
        return Answer(status=204)
    return Answer(kind=_JSON, text=json.dumps(panels(boards, run=run)))


class _Request(BaseHTTPRequestHandler):
    """One question of a browser of this machine."""

    server: _Server

    def do_GET(self) -> None:
        """Answer it, unless a page of somebody else has sent it under another name of this machine."""
        host = self.headers.get("Host", "").rpartition(":")[0]
        if host not in (HOST, "localhost"):
            self._say(Answer(status=403, text=f"ask for http://{HOST}\n"))
            return
        self.server.asked = time.monotonic()
        try:
            found = answer(self.path, self.server.boards, nonce=secrets.token_urlsafe(16))
        except (DataflowError, OSError) as error:
            found = Answer(status=503, text=f"{error}\n")
        self._say(found)

    def _say(self, said: Answer) -> None:
        body = said.text.encode()
        self.send_response(said.status)
        headers = {"Content-Type": said.kind, "Content-Length": str(len(body)), **HEADERS, **said.headers}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Leave the terminal to whoever has given the command."""


class _Server(ThreadingHTTPServer):
    """The server with what it needs to answer."""

    daemon_threads = True

    def __init__(self, boards: Callable[[], Boards]) -> None:
        super().__init__((HOST, 0), _Request)
        self.boards = boards
        self.asked = time.monotonic()


class Served:
    """A page that is being served.

    Attributes:
        address: Where it is.
    """

    def __init__(self, server: _Server) -> None:
        self._server = server
        self.address = f"http://{HOST}:{server.server_port}/dataflow"

    def linger(self, goes_on: Callable[[], bool]) -> None:
        """Return when the run has ended and nobody has looked for a minute.

        Args:
            goes_on: Whether the run does.
        """
        while goes_on() or time.monotonic() < self._server.asked + UNASKED:
            time.sleep(_EVERY)


@contextmanager
def served(boards: Callable[[], Boards]) -> Iterator[Served]:
    """Serve the page of these boards on a free port, for as long as the block runs."""
    with _Server(boards) as server:
        thread = Thread(target=server.serve_forever, args=(_EVERY,), name="dataflow-page", daemon=True)
        thread.start()
        try:
            yield Served(server)
        finally:
            server.shutdown()
            thread.join()
