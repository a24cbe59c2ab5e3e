"""The table of other people's exceptions: real ones where the library is here, else ones of the same name."""

from __future__ import annotations

import asyncio
import errno
import http.client
import importlib
import io
import socket
import ssl
import urllib.error
from collections.abc import Callable
from email.message import Message
from typing import Any

import aiohttp
import httpx
import pytest

import dataflow as flow
from dataflow.engine.http.attempts import AttemptError
from dataflow.engine.http.foreign import answer_in, reason_in
from dataflow.engine.http.raised import ended_by, hear, is_asked_again, meant_by
from dataflow.errors import NotFound
from dataflow.policies.retry import Attempt

GET = httpx.Request("GET", "https://acme.example/x")
KEY: Any = aiohttp.client_reqrep.ConnectionKey("acme.example", 80, False, True, None, None, None)
UNTRUSTED = ssl.SSLCertVerificationError("self-signed")


def named(module: str, *names: str, root: type[Exception] = Exception) -> type[Exception]:
    """A class of a library that may not be installed; each name inherits the next."""
    kind = root
    for name in reversed(names):
        kind = type(name, (kind,), {"__module__": module})
    return kind


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


OPENAI = named("openai", "APIConnectionError", "APIError", "OpenAIError")
ANTHROPIC = named("anthropic", "APITimeoutError", "APIConnectionError", "APIError", "AnthropicError")
SMTP = named("smtplib", "SMTPServerDisconnected", "SMTPException", root=OSError)

REASONS: list[tuple[Exception, str | None]] = [
    (httpx.ConnectError("no", request=GET), "cannot connect"),
    (caused(httpx.ConnectError("no"), caused(OSError("all"), UNTRUSTED)), "cannot connect"),
    (caused(httpx.ConnectError("no"), UNTRUSTED), "certificate"),
    (caused(httpx.ConnectError("no"), socket.gaierror(-2, "unknown")), "no such host"),
    (httpx.ConnectTimeout("no"), "cannot connect"),
    (httpx.ReadTimeout("no"), "timeout"),
    (httpx.WriteTimeout("no"), "timeout"),
    (httpx.PoolTimeout("no"), "cannot connect"),
    (httpx.ReadError("no"), "connection lost"),
    (httpx.RemoteProtocolError("no"), "connection lost"),
    (httpx.DecodingError("no"), "unreadable answer"),
    (httpx.TooManyRedirects("no"), None),
    (httpx.UnsupportedProtocol("no"), None),
    (httpx.InvalidURL("no"), None),
    (aiohttp.ClientConnectorError(KEY, OSError(111, "refused")), "cannot connect"),
    (aiohttp.ClientConnectorDNSError(KEY, OSError(-2, "unknown")), "no such host"),
    (aiohttp.ClientConnectorCertificateError(KEY, UNTRUSTED), "certificate"),
    (aiohttp.ServerDisconnectedError(), "connection lost"),
    (aiohttp.ClientOSError(104, "reset"), "connection lost"),
    (aiohttp.ServerTimeoutError(), "timeout"),
    (aiohttp.ConnectionTimeoutError(), "cannot connect"),
    (aiohttp.ClientPayloadError(), "answer cut off"),
    (aiohttp.InvalidURL("x"), None),
    (urllib.error.URLError(ConnectionRefusedError(111, "refused")), "cannot connect"),
    (urllib.error.URLError(socket.gaierror(-2, "unknown")), "no such host"),
    (urllib.error.URLError(UNTRUSTED), "certificate"),
    (urllib.error.URLError(TimeoutError()), "timeout"),
    (urllib.error.URLError("unknown url type: acme"), None),
    (urllib.error.ContentTooShortError("short", ("file", Message())), "answer cut off"),
    (http.client.RemoteDisconnected(), "connection lost"),
    (http.client.BadStatusLine("x"), "connection lost"),
    (http.client.IncompleteRead(b""), "answer cut off"),
    (http.client.CannotSendRequest(), None),
    (asyncio.IncompleteReadError(b"", 5), "answer cut off"),
    (caused(OPENAI("Connection error."), httpx.ConnectError("no")), "cannot connect"),
    (caused(OPENAI("Connection error."), httpx.ReadError("no")), "connection lost"),
    (OPENAI("Connection error."), "connection lost"),
    (ANTHROPIC("Request timed out."), "timeout"),
    (caused(ANTHROPIC("Request timed out."), httpx.ConnectTimeout("no")), "cannot connect"),
    (named("openai", "LengthFinishReasonError", "OpenAIError")("too long"), None),
    (ConnectionRefusedError(111, "refused"), "cannot connect"),
    (ConnectionResetError(104, "reset"), "connection lost"),
    (BrokenPipeError(), "connection lost"),
    (TimeoutError(), "timeout"),
    (UNTRUSTED, "certificate"),
    (ssl.SSLEOFError(), "connection lost"),
    (OSError(errno.ENETUNREACH, "unreachable"), "cannot connect"),
    (OSError("lost"), "connection lost"),
    (OSError(errno.ENOSPC, "no space"), None),
    (FileNotFoundError(2, "none", "prompt.txt"), None),
    (PermissionError(13, "no"), None),
    (SMTP("gone"), None),
    (KeyError("name"), None),
    (ValueError("x"), None),
]


@pytest.mark.parametrize(("error", "expected"), REASONS, ids=[repr(error)[:60] for error, _ in REASONS])
def test_what_a_client_raises_is_told_by_its_class(error: Exception, expected: str | None) -> None:
    assert reason_in(error) == expected
    meant = meant_by(error, later=())
    assert (meant and getattr(meant, "reason", None)) == expected


REQUESTS: list[tuple[Callable[[Any, Any], Exception], str | int | None]] = [
    (lambda requests, urllib3: requests.ConnectTimeout(), "cannot connect"),
    (lambda requests, urllib3: requests.ReadTimeout(), "timeout"),
    (lambda requests, urllib3: requests.ConnectionError(), "connection lost"),
    (
        lambda requests, urllib3: requests.ConnectionError(
            urllib3.exceptions.MaxRetryError(None, "/", urllib3.exceptions.NewConnectionError(None, "refused"))
        ),
        "cannot connect",
    ),
    (
        lambda requests, urllib3: requests.ConnectionError(
            urllib3.exceptions.ProtocolError("aborted", http.client.RemoteDisconnected())
        ),
        "connection lost",
    ),
    (
        lambda requests, urllib3: requests.exceptions.SSLError(
            urllib3.exceptions.MaxRetryError(None, "/", urllib3.exceptions.SSLError(UNTRUSTED))
        ),
        "certificate",
    ),
    (
        lambda requests, urllib3: requests.exceptions.RetryError(
            urllib3.exceptions.MaxRetryError(
                None, "/", urllib3.exceptions.ResponseError("too many 503 error responses")
            )
        ),
        503,
    ),
    (lambda requests, urllib3: requests.exceptions.ChunkedEncodingError(), "answer cut off"),
    (lambda requests, urllib3: requests.exceptions.InvalidURL(), None),
    (lambda requests, urllib3: requests.exceptions.JSONDecodeError("x", "doc", 0), None),
    (lambda requests, urllib3: requests.exceptions.TooManyRedirects(), None),
    (lambda requests, urllib3: urllib3.exceptions.ReadTimeoutError(None, "/", "slow"), "timeout"),
    (lambda requests, urllib3: urllib3.exceptions.ConnectTimeoutError(), "cannot connect"),
    (lambda requests, urllib3: urllib3.exceptions.NameResolutionError("h", None, socket.gaierror()), "no such host"),
    (lambda requests, urllib3: urllib3.exceptions.IncompleteRead(1, 2), "answer cut off"),
    (lambda requests, urllib3: urllib3.exceptions.LocationParseError("x"), None),
]


@pytest.mark.parametrize(("make", "expected"), REQUESTS)
def test_what_requests_raises_is_no_lost_connection_only_since_it_is_an_oserror(
    make: Callable[[Any, Any], Exception], expected: str | int | None
) -> None:
    pytest.importorskip("requests")
    requests, urllib3 = importlib.import_module("requests"), importlib.import_module("urllib3")
    assert reason_in(make(requests, urllib3)) == expected


class _Vendor(Exception):
    def __init__(self, **held: Any) -> None:
        super().__init__("the vendor says no")
        self.__dict__.update(held)


def answers(status: int, headers: dict[str, str], body: bytes) -> list[Exception]:
    """One answer as the exceptions of several clients carry it."""
    response = httpx.Response(status, headers=headers, content=body, request=GET)
    message = Message()
    for name, value in headers.items():
        message[name] = value
    of_urllib = urllib.error.HTTPError(str(GET.url), status, "no", message, io.BytesIO(body))
    hear(of_urllib)
    info: Any = aiohttp.RequestInfo(GET.url, "GET", {}, GET.url)  # type: ignore[arg-type]
    openai = named("openai", "RateLimitError", "APIStatusError", "APIError")("no")
    openai.__dict__.update(response=response, status_code=status, body={"error": {"message": "slow"}})
    return [
        httpx.HTTPStatusError("no", request=GET, response=response),
        of_urllib,
        aiohttp.ClientResponseError(info, (), status=status, headers=headers),
        openai,
        _Vendor(status=status, headers=headers, body=body.decode()),
        _Vendor(code=status, headers=headers),
        _Vendor(http_status=status, headers=headers),
        _Vendor(response=response),
    ]


@pytest.mark.parametrize(
    ("status", "reason", "again", "attempt"),
    [
        (429, "HTTP 429", "always", Attempt.THROTTLED),
        (503, "HTTP 503", "repeatable", Attempt.FAILED),
        (408, "HTTP 408", "repeatable", Attempt.REFUSED),
        (501, "HTTP 501", "never", Attempt.FAILED),
        (401, "HTTP 401", "never", Attempt.REFUSED),
        (422, "HTTP 422", "never", Attempt.REFUSED),
        (302, "HTTP 302", "never", Attempt.REFUSED),
    ],
)
def test_an_answer_that_an_exception_carries_means_what_it_means_to_an_endpoint(
    status: int, reason: str, again: str, attempt: Attempt
) -> None:
    waits = status in (429, 503)
    for error in answers(status, {"retry-after": "7"} if waits else {}, b'{"message": "slow down"}'):
        meant = meant_by(error, later=())
        assert isinstance(meant, AttemptError)
        assert (meant.reason, meant.status, meant.again, meant.attempt) == (reason, status, again, attempt)
        assert meant.after == (7 if waits else None)


def test_what_the_provider_said_is_told_as_far_as_it_was_read() -> None:
    said = [getattr(meant_by(one, later=()), "said", "") for one in answers(422, {}, b'{"message": "slow down"}')]
    assert [one for one in said if one == "slow down"] == ["slow down"] * 5
    assert all(said)


def test_404_means_that_nothing_was_found() -> None:
    others = [error for error in answers(404, {}, b"") if type(error).__module__ != "openai"]
    assert [type(meant_by(error, later=())) for error in others] == [NotFound] * len(others)


def test_404_of_a_model_means_that_there_is_no_such_model() -> None:
    (error,) = [error for error in answers(404, {}, b"") if type(error).__module__ == "openai"]
    meant = meant_by(error, later=())
    assert isinstance(meant, AttemptError)
    assert (meant.reason, meant.again) == ("HTTP 404", "never")


@pytest.mark.parametrize(
    "error",
    [
        _Vendor(code=404),
        _Vendor(status=503),
        _Vendor(status_code=200),
        _Vendor(status_code="503"),
        _Vendor(response={}),
    ],
)
def test_what_only_looks_like_a_status_is_none(error: Exception) -> None:
    assert answer_in(error) is None
    assert meant_by(error, later=()) is None


def test_an_exception_whose_attributes_raise_is_one_as_any_other() -> None:
    class Odd(Exception):
        @property
        def response(self) -> Any:
            raise RuntimeError("not now")

    assert meant_by(Odd(), later=()) is None


def test_an_answer_that_was_not_read_is_not_read_for_its_text() -> None:
    def never() -> Any:
        raise AssertionError("read")
        yield b""

    response = httpx.Response(503, content=never(), request=GET)
    meant = meant_by(httpx.HTTPStatusError("no", request=GET, response=response), later=())
    assert isinstance(meant, AttemptError)
    assert (meant.reason, meant.said) == ("HTTP 503", "no")


def test_of_a_group_what_allows_least_counts() -> None:
    later, lost = flow.RetryLater("busy", after=3), httpx.ReadError("no")
    assert is_asked_again(meant_by(ExceptionGroup("tasks", [ExceptionGroup("more", [later])]), later=()))
    both = meant_by(ExceptionGroup("tasks", [later, lost]), later=())
    assert isinstance(both, AttemptError)
    assert (both.reason, both.after) == ("connection lost", 3)
    assert meant_by(ExceptionGroup("tasks", [lost, KeyError("name")]), later=()) is None
    skip = flow.Skip("no")
    assert meant_by(ExceptionGroup("tasks", [skip]), later=()) is skip
    assert meant_by(skip, later=()) is None


def test_a_full_pool_of_a_client_is_no_fault_of_its_provider() -> None:
    meant = meant_by(httpx.PoolTimeout("no"), later=())
    assert isinstance(meant, AttemptError)
    assert (meant.attempt, meant.reached) == (Attempt.ABANDONED, False)


def test_the_sentence_names_class_and_place_and_what_was_said_stands_apart() -> None:
    try:
        raise ConnectionResetError(104, "by ada@acme.example")
    except OSError as error:
        meant = meant_by(error, later=())
    assert isinstance(meant, AttemptError)
    assert meant.error.startswith("the connection was lost (ConnectionResetError) (test_foreign.py, line ")
    assert "ada" in str(ended_by(meant).__dict__["said"])
    assert "ada" not in str(ended_by(meant))
