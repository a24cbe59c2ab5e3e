"""Functions of an API against a real server: with its client or with their own they have what endpoints have."""

from __future__ import annotations

import asyncio
import importlib
import json
import socket
import urllib.request
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest

import dataflow as flow
from dataflow.errors import GuardrailReached

Make = Callable[..., flow.Service]
PHONES = "/v2/phones/check"


def of_httpx(api: flow.API, url: str, **options: Any) -> flow.Service:
    @flow.enrichment(api=api, **options)
    def company(key: str) -> str:
        with httpx.Client(base_url=url, timeout=0.3) as client:
            return str(client.get(f"/v2/companies/{key}").raise_for_status().json()["name"])

    return company


def of_async_httpx(api: flow.API, url: str, **options: Any) -> flow.Service:
    @flow.enrichment(api=api, **options)
    async def company(key: str) -> str:
        async with httpx.AsyncClient(base_url=url, timeout=0.3) as client:
            return str((await client.get(f"/v2/companies/{key}")).raise_for_status().json()["name"])

    return company


def of_aiohttp(api: flow.API, url: str, **options: Any) -> flow.Service:
    @flow.enrichment(api=api, **options)
    async def company(key: str) -> str:
        limit = aiohttp.ClientTimeout(total=0.3)
        async with (
            aiohttp.ClientSession(url, timeout=limit, raise_for_status=True) as session,
            session.get(f"/v2/companies/{key}") as answer,
        ):
            return str((await answer.json())["name"])

    return company


def of_requests(api: flow.API, url: str, **options: Any) -> flow.Service:
    pytest.importorskip("requests")
    requests: Any = importlib.import_module("requests")

    @flow.enrichment(api=api, **options)
    def company(key: str) -> str:
        answer = requests.get(f"{url}/v2/companies/{key}", timeout=0.3)
        answer.raise_for_status()
        return str(answer.json()["name"])

    return company


def of_urllib(api: flow.API, url: str, **options: Any) -> flow.Service:
    @flow.enrichment(api=api, **options)
    def company(key: str) -> str:
        with urllib.request.urlopen(f"{url}/v2/companies/{key}", timeout=0.3) as answer:
            return str(json.load(answer)["name"])

    return company


def of_urllib3(api: flow.API, url: str, **options: Any) -> flow.Service:
    pytest.importorskip("urllib3")
    urllib3: Any = importlib.import_module("urllib3")

    @flow.enrichment(api=api, **options)
    def company(key: str) -> str:
        once = urllib3.Retry(0, status_forcelist=range(400, 600))
        with urllib3.PoolManager(timeout=0.3, retries=once) as pool:
            return str(pool.request("GET", f"{url}/v2/companies/{key}").json()["name"])

    return company


class OpenAIError(Exception):
    """The classes of `openai`, as far as anybody looks at them, which is not installed here."""


class APIStatusError(OpenAIError):
    def __init__(self, response: httpx.Response) -> None:
        super().__init__(f"Error code: {response.status_code} - {response.text}")
        self.response, self.status_code, self.body = response, response.status_code, response.text


class APIConnectionError(OpenAIError):
    pass


class APITimeoutError(APIConnectionError):
    pass


for _class in (OpenAIError, APIStatusError, APIConnectionError, APITimeoutError):
    _class.__module__ = "openai"


def of_openai(api: flow.API, url: str, **options: Any) -> flow.Service:
    @flow.enrichment(api=api, **options)
    def company(key: str) -> str:
        with httpx.Client(base_url=url, timeout=0.3) as client:
            try:
                answer = client.get(f"/v2/companies/{key}")
            except httpx.TimeoutException as error:
                raise APITimeoutError("Request timed out.") from error
            except httpx.HTTPError as error:
                raise APIConnectionError("Connection error.") from error
        if answer.is_error:
            raise APIStatusError(answer)
        return str(answer.json()["name"])

    return company


def of_ours(api: flow.API, url: str, **options: Any) -> flow.Service:
    @flow.enrichment(api=api.__class__(api.name, url, retry=api.retry, timeout=0.3), **options)
    async def company(key: str, http: httpx.AsyncClient) -> str:
        return str((await http.get(f"/v2/companies/{key}")).raise_for_status().json()["name"])

    return company


OWN: list[Make] = [of_httpx, of_async_httpx, of_aiohttp, of_requests, of_urllib, of_urllib3, of_openai]
EACH = pytest.mark.parametrize("make", [*OWN, of_ours])

FATES: dict[str, tuple[Any, int, str, str]] = {
    "503": ("503_then_ok:2", 3, "succeeded", ""),
    "503 for ever": ("status:503", 3, "failed", "HTTP 503"),
    "reset": ({"fault": "reset_before_headers", "times": 2}, 3, "succeeded", ""),
    "reset in the body": ({"fault": "reset_in_body", "times": 1}, 2, "succeeded", ""),
    "silence": ({"fault": "no_answer", "times": 1}, 2, "succeeded", ""),
    "silence for ever": ("no_answer", 3, "timed_out", "timeout"),
    "429": ({"fault": "status:429", "times": 1, "retry_after": "seconds"}, 2, "succeeded", ""),
    "404": ("status:404", 1, "not_found", ""),
    "422": ("status:422", 1, "failed", "HTTP 422"),
    "501": ("status:501", 1, "failed", "HTTP 501"),
}

BY_ITSELF: dict[tuple[Make, str], int] = {(of_aiohttp, "reset"): 1}
"""Requests that a client repeats before it raises, of which nobody else knows."""


@EACH
@pytest.mark.parametrize("fate", FATES)
def test_a_function_is_tried_again_where_an_endpoint_is_whoever_made_its_client(
    bench: Any, make: Make, fate: str
) -> None:
    fault, calls, end, reason = FATES[fate]
    if (make, fate) == (of_openai, "404"):
        end, reason = "failed", "HTTP 404"
    bench.server.control(keys={"bad.example": fault})
    run = bench.run(make(bench.api(breaker=False), bench.server.url), ["bad.example", "good.example"])
    said = run.statistics["services"]["company"]
    assert said[end] == 1 + (end == "succeeded"), run.failures().to_pylist()
    assert bench.seen()["calls"] == calls + 1
    assert said["calls"] == calls + 1 - BY_ITSELF.get((make, fate), 0)
    assert said["retries"] == said["calls"] - 2
    assert [one["reason"] for one in run.failures().to_pylist()] == [reason] * bool(reason)


@pytest.mark.parametrize("make", [of_httpx, of_aiohttp, of_requests, of_urllib, of_openai, of_ours])
@pytest.mark.parametrize("status", [429, 503])
def test_a_function_waits_as_long_as_the_provider_asks(bench: Any, make: Make, status: int) -> None:
    fault = {"fault": f"status:{status}", "times": 1, "retry_after": "seconds"}
    bench.server.control(keys={"a.example": fault})
    run = bench.run(make(bench.api(), bench.server.url), ["a.example"])
    assert run.statistics["services"]["company"]["succeeded"] == 1
    first, second = (call[0] for call in bench.log())
    assert second - first >= 0.9


@pytest.mark.parametrize("make", [of_httpx, of_ours])
@pytest.mark.parametrize(("options", "calls"), [({}, 3), ({"retry": 1}, 1), ({"retry": 2}, 2)])
def test_a_function_has_the_attempts_of_its_api_unless_it_says_how_many(
    bench: Any, make: Make, options: dict[str, Any], calls: int
) -> None:
    bench.server.control(keys={"a.example": "status:503"})
    api = flow.API(bench.api().name, bench.server.url, breaker=False)
    bench.run(make(api, bench.server.url, **options), ["a.example"], max_failures="100%")
    assert bench.seen()["calls"] == calls


@pytest.mark.parametrize("make", [of_httpx, of_async_httpx, of_requests, of_urllib, of_openai, of_ours])
def test_a_failure_tells_what_the_provider_said_and_where_the_function_raised(bench: Any, make: Make) -> None:
    bench.server.control(keys={"bad.example": "says:422:error:no such field"})
    run = bench.run(make(bench.api(), bench.server.url), ["bad.example", "good.example"])
    (failure,) = run.failures().to_pylist()
    assert failure["error"].startswith("answered 422 (test_functions.py, line ")
    assert failure["error"].endswith("): no such field")
    assert failure["http_status"] == 422


@EACH
def test_who_is_refused_ends_the_run(bench: Any, make: Make) -> None:
    bench.server.control(auth="bearer")
    with pytest.raises(GuardrailReached, match=r"refuses access \(401\)"):
        bench.run(make(bench.api(), bench.server.url), [f"{at}.example" for at in range(200)])
    assert bench.seen()["calls"] <= 16


@EACH
def test_what_reached_nobody_is_tried_again_and_costs_nothing(bench: Any, make: Make) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        run = bench.run(make(bench.api(breaker=False), url, price=0.01), ["a.example"])
    said = run.statistics["services"]["company"]
    assert (said["calls"], said["cost"], said["errors"]) == (3, 0, {"cannot connect": 1})


@pytest.mark.parametrize("make", OWN)
def test_an_effect_without_our_client_is_not_sent_twice_whatever_it_raises(bench: Any, make: Make) -> None:
    faults = ["status:503", "status:429", "reset_before_headers"]
    keys = {f"{at}.example": fault for at, fault in enumerate(faults)}
    bench.server.control(keys=keys)
    service = make(bench.api(breaker=False), bench.server.url, idempotent=False)
    for _ in range(2):
        run = bench.run(service, list(keys), max_failures="100%")
        assert [one["reason"] for one in run.failures().to_pylist()] == ["HTTP 503", "HTTP 429", "unknown"]
    assert bench.seen()["calls"] == 3 + BY_ITSELF.get((make, "reset"), 0)


# What urllib3 raises has no headers.
@pytest.mark.parametrize("make", [make for make in OWN if make is not of_urllib3])
def test_an_effect_without_our_client_that_is_asked_to_come_later_is_no_refused_access(bench: Any, make: Make) -> None:
    bench.server.control(keys={"a.example": {"fault": "status:403", "retry_after": "seconds"}})
    service = make(bench.api(), bench.server.url, idempotent=False)
    run = bench.run(service, ["a.example", "b.example"], max_failures="100%")
    (failure,) = run.failures().to_pylist()
    assert failure["reason"] == "HTTP 403"
    assert "which asks to be called later" in failure["error"]
    assert run.statistics["services"]["company"]["succeeded"] == 1


def posting(api: flow.API, *, headers: dict[str, str], **options: Any) -> flow.Service:
    @flow.enrichment(api=api, **options)
    async def phone(key: str, http: httpx.AsyncClient) -> bool:
        answer = await http.post(PHONES, json={"phone": key}, headers=headers)
        return bool(answer.raise_for_status().json()["valid"])

    return phone


LOST = {"fault": "reset_before_headers", "times": 2}
EARLY = {"fault": "status:429", "times": 2}


@pytest.mark.parametrize(
    ("options", "fault", "calls", "reason"),
    [
        ({"idempotent": True}, "503_then_ok:2", 3, ""),
        ({"idempotent": True}, LOST, 3, ""),
        ({"headers": {"Idempotency-Key": "7"}}, LOST, 3, ""),
        ({}, "503_then_ok:2", 1, "HTTP 503"),
        ({}, LOST, 1, "connection lost"),
        ({}, EARLY, 3, ""),
        ({"idempotent": False}, "503_then_ok:2", 1, "HTTP 503"),
        ({"idempotent": False}, LOST, 1, "unknown"),
        ({"idempotent": False}, EARLY, 3, ""),
    ],
)
def test_a_post_of_our_client_is_repeated_where_that_does_no_harm(
    bench: Any, options: dict[str, Any], fault: Any, calls: int, reason: str
) -> None:
    bench.server.control(keys={"1": fault})
    service = posting(bench.api(breaker=False), **{"headers": {}, **options})
    for _ in range(1 + (options.get("idempotent") is False)):
        run = bench.run(service, ["1"], max_failures="100%")
        assert [one["reason"] for one in run.failures().to_pylist()] == [reason] * bool(reason)
    assert bench.seen(PHONES)["calls"] == calls


def test_an_effect_of_a_function_that_says_itself_that_nothing_was_done_is_sent_again(bench: Any) -> None:
    bench.server.control(keys={"a.example": {"fault": "status:429", "times": 2}})

    @flow.enrichment(api=bench.api(), idempotent=False)
    def company(key: str) -> str:
        with httpx.Client(base_url=bench.server.url) as client:
            if (answer := client.get(f"/v2/companies/{key}")).status_code == 429:
                raise flow.RetryLater("too early", after=0.02)
        return str(answer.json()["name"])

    run = bench.run(company, ["a.example"])
    assert run.statistics["services"]["company"]["succeeded"] == 1
    assert bench.seen()["calls"] == 3


def with_ours(api: flow.API, body: Callable[[], Any]) -> flow.Service:
    @flow.enrichment(api=api)
    async def company(key: str, http: httpx.AsyncClient) -> str:
        if (await http.get(f"/v2/companies/{key}")).status_code == 202:
            await body()
        return key

    return company


def without(api: flow.API, body: Callable[[], Any]) -> flow.Service:
    @flow.enrichment(api=api)
    async def company(key: str) -> str:
        async with httpx.AsyncClient(base_url=api.url) as client:
            if (await client.get(f"/v2/companies/{key}")).status_code == 202:
                await body()
        return key

    return company


def plain(api: flow.API, body: Callable[[], Any]) -> flow.Service:
    @flow.enrichment(api=api)
    def company(key: str) -> str:
        with httpx.Client(base_url=api.url) as client:
            if client.get(f"/v2/companies/{key}").status_code == 202:
                asyncio.run(body())
        return key

    return company


async def _straight() -> None:
    raise flow.RetryLater("not ready", after=0.02)


async def _in_tasks() -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_straight())
        tasks.create_task(asyncio.sleep(5))


@pytest.mark.parametrize("make", [with_ours, without, plain])
@pytest.mark.parametrize("body", [_straight, _in_tasks])
def test_a_function_may_ask_to_be_called_again_from_anywhere_in_it(
    bench: Any, make: Any, body: Callable[[], Any]
) -> None:
    bench.server.control(keys={"a.example": {"fault": "status:202", "times": 5}})
    run = bench.run(make(bench.api(), body), ["a.example", "b.example"])
    said = run.statistics["services"]["company"]
    assert (said["succeeded"], said["retries"]) == (2, 5)
    assert bench.seen()["calls"] == 7


@pytest.mark.parametrize("after", ["1", "1500ms", timedelta(seconds=1), 1])
@pytest.mark.parametrize("make", [with_ours, plain])
def test_a_function_may_hand_on_what_a_provider_says_of_when_to_come_again(bench: Any, make: Any, after: Any) -> None:
    async def body() -> None:
        raise flow.RetryLater(after=after)

    bench.server.control(fault="status:202", times=1)
    assert bench.run(make(bench.api(), body), ["a.example"]).statistics["services"]["company"]["succeeded"] == 1
    first, second = (entry[0] for entry in bench.log())
    assert second - first >= 0.95


def test_what_is_no_wait_is_told_where_the_function_asks_for_it(bench: Any) -> None:
    async def body() -> None:
        raise flow.RetryLater(after=[3])  # type: ignore[arg-type]

    bench.server.control(fault="status:202", times=1)
    run = bench.run(with_ours(bench.api(), body), ["a.example"], max_failures="100%")
    (failure,) = run.failures().to_pylist()
    assert failure["reason"] == "TypeError"
    assert "flow.RetryLater: after takes seconds, a timedelta or the text of a Retry-After" in failure["error"]
    assert "test_functions.py, line" in failure["error"]


@pytest.mark.parametrize(("own", "of_service"), [(0.2, None), (None, 0.2), (30, 0.2)])
def test_the_shorter_timeout_of_request_and_service_ends_an_attempt(bench: Any, own: Any, of_service: Any) -> None:
    bench.server.control(keys={"a.example": {"fault": "no_answer", "times": 1}})
    options = {} if of_service is None else {"timeout": of_service}

    @flow.enrichment(api=bench.api(timeout=20), **options)
    async def company(key: str, http: httpx.AsyncClient) -> str:
        return str((await http.get(f"/v2/companies/{key}", timeout=own)).json()["name"])

    run = bench.run(company, ["a.example"])
    assert run.statistics["services"]["company"]["succeeded"] == 1
    assert bench.seen()["calls"] == 2


def test_a_function_that_fails_by_itself_is_called_once(bench: Any) -> None:
    @flow.enrichment(api=bench.api())
    def company(key: str) -> str:
        with urllib.request.urlopen(f"{bench.server.url}/v2/companies/{key}") as answer:
            json.load(answer)
        return Path("/nowhere/prompt.txt").read_text()

    run = bench.run(company, ["a.example"], max_failures="100%")
    assert bench.seen()["calls"] == 1
    assert run.statistics["services"]["company"]["errors"] == {"FileNotFoundError": 1}


def test_functions_send_the_headers_of_their_api_and_their_own_go_before(bench: Any) -> None:
    bench.server.control(logged="user-agent,x-team,x-own")
    api = bench.api(headers={"User-Agent": "leads/1", "X-Team": "leads", "x-own": "api"})

    @flow.enrichment(api=api)
    async def company(key: str, http: httpx.AsyncClient) -> str:
        return str((await http.get(f"/v2/companies/{key}", headers={"X-OWN": "request"})).json()["name"])

    bench.run(company, ["a.example"])
    assert bench.log()[0][4] == {"user-agent": "leads/1", "x-team": "leads", "x-own": "request"}
