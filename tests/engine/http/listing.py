"""A real server of a list endpoint, whose answers a test writes, and which counts what it is asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[list[Any]], Any]
"""From the records of a request to what is answered: a value, or a status."""


class Listing:
    """The server as a test sees it.

    Args:
        answer: Called with the JSON list of each request, or with what follows the last / of its path.
    """

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[list[Any]] = []
        self.keys: list[str | None] = []
        self.url = ""

    @property
    def calls(self) -> int:
        return len(self.asked)


@contextmanager
def listing(answer: Answer) -> Iterator[Listing]:
    """Serve on a port of the kernel's choice."""
    seen, lock = Listing(answer), threading.Lock()

    class Request(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked = json.loads(body) if body else self.path.rpartition("/")[2].split(",")
            with lock:
                seen.asked.append(asked)
                seen.keys.append(self.headers.get("Idempotency-Key"))
                found = seen.answer(asked)
            status, value = (found, {}) if isinstance(found, int) else (200, found)
            value = b"" if status == 204 else value
            data = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST

        def log_message(self, *_: Any) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Request) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        seen.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield seen
        finally:
            server.shutdown()
            thread.join()
