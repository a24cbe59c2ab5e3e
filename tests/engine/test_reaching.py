"""Whether a server answers: one request, whatever the answer is, and nothing secret in it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from dataflow.engine.reaching import reach

ASKED: list[tuple[str, str, dict[str, str]]] = []


class Redirecting(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        ASKED.append((self.command, self.path, dict(self.headers)))
        self.send_response(302)
        self.send_header("Location", "/elsewhere")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    ASKED.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Redirecting) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()
        thread.join()


def test_one_request_is_made_and_no_redirect_is_followed(server: str) -> None:
    assert reach(f"{server}/v2") == {"status": 302}
    ((method, path, headers),) = ASKED
    assert (method, path) == ("HEAD", "/v2")
    assert set(headers) == {"Host", "Accept-Encoding", "User-Agent"}


def test_a_connection_without_a_request_is_enough_where_a_request_may_cost(server: str) -> None:
    assert reach(server, ask=False) == {"connected": True}
    assert ASKED == []


def test_nobody_at_the_port_is_said_in_words() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert reach(f"http://127.0.0.1:{taken.getsockname()[1]}") == {"trouble": "the connection is refused"}


def test_a_server_that_does_not_answer_is_not_waited_for() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        found = reach(f"http://127.0.0.1:{silent.getsockname()[1]}", seconds=0.1)
    assert found == {"trouble": "it does not answer in time"}


def test_a_server_without_tls_is_not_asked_in_clear(server: str) -> None:
    assert "SSLError" in reach(server.replace("http:", "https:"))["trouble"]


def test_certificates_that_are_not_there_are_named() -> None:
    assert reach("https://127.0.0.1:1", ca_file="/no/such.pem") == {"trouble": "its ca_file is not there"}
