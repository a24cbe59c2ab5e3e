"""The injected httpx client: urls, bodies and statuses as httpx has them, attempts as the policies of the API have."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

import dataflow as flow
from dataflow.engine.control.gate import Gate
from dataflow.engine.control.limits import Limits
from dataflow.engine.http.attempts import Call, Terms
from dataflow.engine.http.calls import current_call
from dataflow.engine.http.client import make_client
from dataflow.engine.http.functions import apply
from dataflow.engine.http.offline import Session
from dataflow.engine.http.provider import Provider
from dataflow.policies.deadline import Deadline
from dataflow.policies.retry import Retry
from dataflow.testing import Calls, Request, Response

TERMS = Terms(timeout=5, retry=Retry(attempts=3, initial=0), patience=None)


def use(
    body: Callable[[httpx.AsyncClient], Awaitable[Any]],
    handler: Callable[[Request], Any],
    terms: Terms = TERMS,
    **options: Any,
) -> tuple[Any, Calls]:
    """What a function does with the client of an API whose provider is played by a handler."""
    session = Session({"acme": handler})
    acme = flow.API("acme", "https://acme.example/v2", headers={"X-Team": "leads"}, **options)

    async def main() -> Any:
        gate = Gate("acme", limits=Limits(), line=session.line)
        provider = Provider(acme, gate=gate, secret=str, session=session)
        try:
            async with make_client(provider, terms=terms, clock=time.monotonic, wall=time.time) as client:
                return await body(client)
        finally:
            await provider.close()

    return asyncio.run(main()), session.calls


def statuses(*listed: Any) -> Callable[[Request], Any]:
    left = list(listed)
    return lambda request: left.pop(0)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("/news", "https://acme.example/v2/news"),
        ("news", "https://acme.example/v2/news"),
        ("/a%2Fb/ü", "https://acme.example/v2/a%2Fb/%C3%BC"),
        ("https://acme.example/v1/other", "https://acme.example/v1/other"),
        ("/news?a=1", "https://acme.example/v2/news?a=1"),
    ],
)
def test_urls_are_relative_to_the_api(url: str, expected: str) -> None:
    _, calls = use(lambda client: client.get(url), lambda request: {})
    assert [one.url for one in calls] == [expected]


def test_params_headers_and_a_posted_json_arrive() -> None:
    async def body(client: httpx.AsyncClient) -> Any:
        found = await client.post("/score", params={"q": "x y"}, json={"n": 1}, headers={"X-Own": "1"})
        return found.json(), found.headers["x-kind"], str(found.request.url)

    answer, calls = use(body, lambda request: Response(json=[request.json()["n"]], headers={"X-Kind": "k"}))
    assert answer[:2] == ([1], "k")
    (sent,) = calls
    assert (sent.params, sent.headers["x-own"], sent.headers["X-Team"]) == ({"q": "x y"}, "1", "leads")
    assert sent.headers["content-type"] == "application/json"
    assert not {"host", "connection", "content-length"} & {name.lower() for name in sent.headers}


@pytest.mark.parametrize(
    ("method", "answers", "status", "attempts"),
    [
        ("GET", [200], 200, 1),
        ("GET", [404], 404, 1),
        ("GET", [302], 302, 1),
        ("GET", [503, 200], 200, 2),
        ("GET", [503, 503, 503], 503, 3),
        ("GET", [429, 200], 200, 2),
        ("GET", [501], 501, 1),
        ("PUT", [500, 200], 200, 2),
        ("GET", [408, 425, 200], 200, 3),
        ("POST", [503], 503, 1),
        ("POST", [429, 200], 200, 2),
        ("PATCH", [502], 502, 1),
    ],
)
def test_statuses_come_through_after_the_retries(method: str, answers: list[int], status: int, attempts: int) -> None:
    found, calls = use(lambda client: client.request(method, "/x"), statuses(*answers))
    assert (found.status_code, len(calls)) == (status, attempts)


def test_a_post_with_an_idempotency_key_is_tried_again() -> None:
    headers = {"Idempotency-Key": "k"}
    found, calls = use(lambda client: client.post("/x", headers=headers), statuses(503, 200))
    assert (found.status_code, len(calls)) == (200, 2)


@pytest.mark.parametrize("url", ["https://evil.example/x", "http://acme.example/v2/x", "https://acme.example:444/x"])
def test_another_host_is_refused_before_anything_is_sent(url: str) -> None:
    async def body(client: httpx.AsyncClient) -> None:
        with pytest.raises(httpx.UnsupportedProtocol, match=r"`acme` calls acme.example only, .* another flow.API"):
            await client.get(url)

    assert len(use(body, lambda request: {})[1]) == 0


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("https://eu.acme.example/x", 1),
        ("https://acme.example/x", 1),
        ("http://eu.acme.example/x", 0),
        ("https://eu.acme.example:444/x", 0),
        ("https://us.acme.example/x", 0),
    ],
)
def test_another_host_is_called_where_the_api_allows_it_with_the_scheme_and_port_of_its_url(
    url: str, sent: int
) -> None:
    async def body(client: httpx.AsyncClient) -> str:
        try:
            return str((await client.get(url)).json())
        except httpx.UnsupportedProtocol:
            return "refused"

    found, calls = use(body, lambda request: request.path, allow_hosts="eu.acme.example")
    assert (found, [one.url for one in calls]) == (("/x", [url]) if sent else ("refused", []))


def _raise(error: Exception) -> Any:
    raise error


async def _never(request: Request) -> Any:
    await asyncio.sleep(60)


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        (lambda request: _raise(TimeoutError()), httpx.ReadTimeout),
        (_never, httpx.ReadTimeout),
        (lambda request: _raise(ConnectionRefusedError()), httpx.ConnectError),
        (lambda request: _raise(ConnectionResetError()), httpx.ReadError),
    ],
)
def test_faults_are_errors_of_httpx(handler: Callable[[Request], Any], expected: type[Exception]) -> None:
    async def body(client: httpx.AsyncClient) -> None:
        with pytest.raises(expected):
            await client.get("/x")

    terms = Terms(timeout=0.1, retry=Retry(attempts=2, initial=0), patience=None)
    assert len(use(body, handler, terms)[1]) == 2


@pytest.mark.parametrize(
    ("fault", "attempts"), [(ConnectionResetError(), 1), (TimeoutError(), 1), (ConnectionRefusedError(), 3)]
)
def test_a_post_whose_answer_was_lost_is_not_sent_twice(fault: Exception, attempts: int) -> None:
    async def body(client: httpx.AsyncClient) -> None:
        with pytest.raises(httpx.TransportError):
            await client.post("/x", json={})

    assert len(use(body, lambda request: _raise(fault))[1]) == attempts


def test_each_request_of_a_function_has_all_its_attempts_and_the_record_counts_them() -> None:
    left = [200, 200, 200, 503, 503, 200]
    call = Call(terms=TERMS, deadline=Deadline(started=time.monotonic()))

    async def body(client: httpx.AsyncClient) -> list[int]:
        current_call.set(call)
        return [(await client.get("/x")).status_code for _ in range(4)]

    assert use(body, lambda request: left.pop(0))[0] == [200, 200, 200, 200]
    assert (call.attempts, call.status) == (6, 200)


def test_cookies_of_one_answer_are_not_sent_with_the_next_request() -> None:
    async def body(client: httpx.AsyncClient) -> Any:
        first = await client.get("/x")
        await client.get("/x")
        return first.headers["set-cookie"]

    cookie, calls = use(body, lambda request: Response(json={}, headers={"Set-Cookie": "session=1; Path=/"}))
    assert cookie.startswith("session=1")
    assert [one for one in calls if "cookie" in one.headers] == []


def test_an_answer_cut_off_by_a_fault_after_a_status_is_not_mistaken_for_the_status() -> None:
    left: list[Any] = [503, ConnectionResetError(), ConnectionResetError()]

    def handler(request: Request) -> Any:
        found = left.pop(0)
        return _raise(found) if isinstance(found, Exception) else found

    async def body(client: httpx.AsyncClient) -> None:
        with pytest.raises(httpx.ReadError):
            await client.get("/x")

    use(body, handler)


def test_a_function_whose_request_still_waits_its_turn_is_not_out_of_time() -> None:
    call = Call(terms=TERMS, deadline=Deadline(started=0.0, limit=0.1))

    async def waits_and_is_excused() -> str:
        call.waiting = 1
        await asyncio.sleep(0.4)
        call.waiting = 0
        call.lose(0.4)
        return "value"

    began = time.monotonic()
    provider: Any = None
    found = asyncio.run(apply(provider, waits_and_is_excused, lambda: time.monotonic() - began, [], call))
    assert found == "value"


def test_what_a_request_lost_to_an_outage_is_excused_to_its_function() -> None:
    whole = Call(terms=TERMS, deadline=Deadline(started=0.0))
    for seconds in (20.0, 5.0):
        part = Call(terms=TERMS, deadline=whole.deadline, lost=whole.lost, part_of=whole)
        part.attempts = 1
        part.wait({"breaker": seconds})
        whole.take_over(part)
    assert (whole.deadline.started, whole.lost, whole.waited) == (25.0, 25.0, {"breaker": 25.0})
