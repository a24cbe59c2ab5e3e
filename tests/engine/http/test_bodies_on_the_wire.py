"""Answers whose head and body do not go together, written byte by byte on a real connection."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

JSON = b'{"name": "A"}'
PACKED = gzip.compress(JSON)


class Wire:
    """A server that answers every request with the same bytes, and closes the connection then."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.calls = 0
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection:
                if connection.recv(65536):
                    self.calls += 1
                    connection.sendall(self.answer)


@contextmanager
def wire(answer: bytes) -> Iterator[Wire]:
    one = Wire(answer)
    thread = threading.Thread(target=one.serve)
    thread.start()
    try:
        yield one
    finally:
        one.socket.shutdown(socket.SHUT_RDWR)
        one.socket.close()
        thread.join()


def head(status: int, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Said", "Content-Type: application/json", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode()


CHUNKED, GZIP = "Transfer-Encoding: chunked", "Content-Encoding: gzip"
NO_CHUNKS = b"0\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "end", "reason", "calls"),
    [
        (head(404, CHUNKED, GZIP) + NO_CHUNKS, "not_found", None, 1),
        (head(404, "Content-Length: 99999999", GZIP), "not_found", None, 1),
        (head(404, "Content-Length: 50") + JSON, "not_found", None, 1),
        (head(404, GZIP), "not_found", None, 1),
        (head(204, "Content-Length: 99999999", GZIP), "not_found", None, 1),
        (head(200, CHUNKED, GZIP) + NO_CHUNKS, "failed", "empty answer", 1),
        (head(200, "Content-Length: 0", GZIP), "failed", "empty answer", 1),
        (head(205, "Content-Length: 0"), "failed", "empty answer", 1),
        (head(304, "Content-Length: 99", GZIP), "failed", "HTTP 304", 1),
        (head(200, f"Content-Length: {len(PACKED)}", GZIP) + PACKED, "succeeded", None, 1),
        (head(200, GZIP) + PACKED, "succeeded", None, 1),
        (head(200, "Content-Encoding: gzip", "Content-Encoding: identity") + PACKED, "succeeded", None, 1),
        (head(200) + JSON, "succeeded", None, 1),
        (head(200, "Content-Length: 50") + JSON, "failed", "answer cut off", 3),
        (head(200, "Content-Length: 99999999") + JSON, "failed", "answer too long", 1),
    ],
)
def test_an_answer_is_what_its_status_and_its_bytes_say(
    bench: Any, answer: bytes, end: str, reason: str | None, calls: int
) -> None:
    with wire(answer) as server:
        run = bench.run(bench.company(bench.api(server.url)), ["k"])
        assert (run.statistics["services"]["company"][end], server.calls) == (1, calls)
    assert [one["reason"] for one in run.failures().to_pylist()] == ([] if reason is None else [reason])


def test_the_answer_to_a_head_is_empty_however_long_the_body_would_be(bench: Any) -> None:
    with wire(head(200, "Content-Length: 99999999", GZIP)) as server:
        service = bench.api(server.url).request("company", "HEAD", path="/{key}", returns=str | None)
        run = bench.run(service, ["k"])
        assert (run.statistics["services"]["company"]["succeeded"], server.calls) == (1, 1)
