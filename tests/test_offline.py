"""`flow.testing.offline`: a pipeline in CI without the network, under the policies that it has with it."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any, TypedDict

import httpx
import pandas as pd
import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.errors import DeclarationError, GuardrailReached, Interrupted
from dataflow.testing import Calls, Request, Response, memory_catalog, offline

AT_ONCE = flow.Retry(attempts=3, initial=0)


class Company(TypedDict):
    employees: int


def api(name: str = "acme", **options: Any) -> flow.API:
    return flow.API(
        name, "https://acme.invalid/v2", **{"retry": AT_ONCE, "auth": flow.bearer("NO_SUCH_KEY"), **options}
    )


def pipeline(**options: Any) -> flow.Pipeline:
    return flow.Pipeline("leads", [api(**options).get("company", "/companies/{domain}", returns=Company)])


def known(request: Request) -> Any:
    return {"employees": len(request.path)}


@pytest.fixture(autouse=True)
def wires(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Whatever looks up a host or connects to one is written down and fails."""
    touched: list[Any] = []

    def refuse(*args: Any, **_: Any) -> Any:
        touched.append(args)
        raise OSError("no network in this test")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    yield touched
    assert not [one for one in touched if "allowed" not in touched]


def test_a_declared_service_is_answered_by_the_handler_of_its_api_without_a_secret() -> None:
    with offline(acme=known) as calls:
        assert pipeline().call({"domain": "a.example"}).data["employees"] == len("/companies/a.example")
    assert (calls.total, len(calls), [one.path for one in calls["acme"]]) == (1, 1, ["/companies/a.example"])


def test_a_handler_sees_the_request_as_it_would_have_been_sent() -> None:
    asked = api(headers={"X-Team": "leads"}).post(
        "score", "/scores/{domain}", params={"tag": ["{a}", "{b}"], "q": "x y"}, json={"n": "{n}"}, returns=int
    )
    record = {"domain": "a b/ü", "a": "1", "b": "2", "n": 7}
    with offline(acme=lambda request: Response(json=request.json()["n"])) as calls:
        assert flow.Pipeline("p", [asked]).call(record).data["score"] == 7
    (seen,) = calls
    assert (seen.api, seen.method, seen.path, dict(seen.params)) == (
        "acme",
        "POST",
        "/scores/a b/ü",
        {"tag": ["1", "2"], "q": "x y"},
    )
    assert seen.url == "https://acme.invalid/v2/scores/a%20b%2F%C3%BC?tag=1&tag=2&q=x%20y"
    assert (seen.headers["x-team"], seen.headers["content-type"], seen.body) == (
        "leads",
        "application/json",
        b'{"n":7}',
    )
    assert "Idempotency-Key" in seen.headers
    assert "Authorization" not in seen.headers


@pytest.mark.parametrize(
    ("returned", "data"),
    [
        ({"employees": 3}, 3),
        (Response(json={"employees": 3}), 3),
        (Response(body=b'{"employees": 3}'), 3),
        (Response(body='{"employees": 3}'), 3),
        (404, None),
        (Response(status=404), None),
    ],
)
def test_a_handler_gives_a_value_a_status_or_a_response(returned: Any, data: int | None) -> None:
    with offline(acme=lambda request: returned):
        result = pipeline().call({"domain": "a.example"})
    assert result.data["employees"] == data
    assert result.metadata.failure_count == 0


def test_a_handler_may_be_a_coroutine_function() -> None:
    async def slow(request: Request) -> Any:
        await asyncio.sleep(0.001)
        return {"employees": 1}

    with offline(acme=slow):
        assert pipeline().call({"domain": "a.example"}).data["employees"] == 1


@pytest.mark.parametrize(
    ("fault", "reason", "attempts"),
    [
        (503, "HTTP 503", 3),
        (400, "HTTP 400", 1),
        (ConnectionResetError(), "connection lost", 3),
        (ConnectionRefusedError(), "cannot connect", 3),
        (TimeoutError(), "timeout", 3),
        (Response(body="<html>"), "malformed answer", 2),
        (Response(body=b"x" * 2000), "answer too long", 1),
    ],
)
def test_faults_are_retried_as_those_of_a_provider(fault: Any, reason: str, attempts: int) -> None:
    def ill(request: Request) -> Any:
        if isinstance(fault, Exception):
            raise fault
        return fault

    with offline(acme=ill) as calls:
        (failure,) = pipeline(max_answer=1000).call({"domain": "a.example"}).metadata.failures
    assert (failure.reason, failure.attempts, calls.total) == (reason, attempts, attempts)
    assert (failure.status is flow.Status.TIMED_OUT) == (reason == "timeout")


def test_a_handler_that_is_too_slow_runs_into_the_timeout_of_its_api() -> None:
    async def never(request: Request) -> Any:
        await asyncio.sleep(60)

    with offline(acme=never):
        (failure,) = pipeline(timeout=0.05, retry=1).call({"domain": "a.example"}).metadata.failures
    assert failure.reason == "timeout"


def test_a_breaker_that_opens_in_one_block_is_closed_in_the_next() -> None:
    leads = pipeline(breaker=flow.Breaker(threshold=2), retry=1)
    with offline(acme=lambda request: 503) as calls:
        reasons = [leads.call({"domain": f"{at}.example"}).metadata.failures[0].reason for at in range(500)]
    assert reasons[0] == "HTTP 503"
    assert reasons[-1] == "breaker open"
    assert calls.total == reasons.count("HTTP 503")
    with offline(acme=known):
        assert leads.call({"domain": "a.example"}).metadata.failure_count == 0


def test_an_api_without_a_handler_is_refused_by_name_and_nothing_is_degraded_in_silence() -> None:
    with offline(acne=known) as calls, pytest.raises(DeclarationError) as caught:
        pipeline().call({"domain": "a.example"})
    assert "API `acme` is called while offline, and nothing answers for it" in str(caught.value)
    assert "add acme=handler to offline(); did you mean it by `acne`?" in str(caught.value)
    assert calls.total == 0


def test_a_name_that_is_no_identifier_is_given_by_a_mapping() -> None:
    with offline(), pytest.raises(DeclarationError, match=r'add \*\*\{"my-api": handler\} to offline\(\)'):
        pipeline(name="my-api").call({"domain": "a.example"})
    with offline(**{"my-api": known}) as calls:
        pipeline(name="my-api").call({"domain": "a.example"})
    assert len(calls["my-api"]) == 1


def _raises(request: Request) -> Any:
    raise AssertionError("7 is secret")


@pytest.mark.parametrize("handler", [_raises, lambda request: {"x": object()}])
def test_a_mistake_in_a_handler_comes_out_of_the_pipeline(handler: Any) -> None:
    with offline(acme=handler), pytest.raises(DeclarationError, match="the handler of `acme`") as caught:
        pipeline().call({"domain": "a.example"})
    assert caught.value.__cause__ is not None
    assert "secret" not in str(caught.value)


def test_the_injected_client_is_answered_too_and_gets_statuses_and_faults() -> None:
    @flow.enrichment(api=api())
    async def news(domain: str, http: httpx.AsyncClient) -> list[str]:
        found = await http.get("/news", params={"of": domain})
        assert found.status_code == 200
        posted = await http.post("/read", json={"n": 1})
        return [*found.json(), str(posted.status_code), posted.headers["x-kind"]]

    def answers(request: Request) -> Any:
        if request.method == "POST":
            return Response(status=422, headers={"X-Kind": "no"})
        return [request.params["of"]]

    with offline(acme=answers) as calls:
        assert flow.Pipeline("p", [news]).call({"domain": "a"}).data["news"] == ["a", "422", "no"]
    assert [one.path for one in calls["acme"]] == ["/news", "/read"]


def test_acall_and_apply_are_answered_too() -> None:
    leads = pipeline()
    with offline(acme=known) as calls:
        assert asyncio.run(leads.acall({"domain": "a.example"})).data["employees"] == 20
        frame = leads.apply(pd.DataFrame({"domain": ["a.example", "bb.example", "a.example"]}))
        table = leads.apply(pa.table({"domain": ["a.example"]}))
    assert frame["employees"].tolist() == [20, 21, 20]
    assert table["employees"].to_pylist() == [20]
    assert calls.total == 4


def test_a_run_on_threads_is_answered_too_and_pays_once_for_each_input() -> None:
    source = pa.table({"domain": [f"{at % 50}.example" for at in range(200)]})
    with offline(acme=known) as calls:
        run = pipeline().run(source, output="leads", catalog=memory_catalog())
    assert run.statistics["services"]["company"]["succeeded"] == 200
    assert calls.total == 50


def test_a_run_ends_where_access_is_refused() -> None:
    source = pa.table({"domain": ["a.example"]})
    with offline(acme=lambda request: 401), pytest.raises(GuardrailReached, match="acme refuses access"):
        pipeline().run(source, output="leads", catalog=memory_catalog())


def test_a_run_that_needs_worker_processes_is_refused() -> None:
    source = pa.table({"domain": ["a.example"]})
    with offline(acme=known), pytest.raises(DeclarationError, match="holds for this process only"):
        pipeline().run(source, output="leads", catalog=memory_catalog(), workers=2)


def test_other_threads_are_offline_too() -> None:
    found: list[Any] = []
    leads = pipeline()
    with offline(acme=known) as calls:
        threads = [
            threading.Thread(target=lambda: found.append(leads.call({"domain": "a.example"}).data)) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(found) == len(calls) == 8


def test_a_pipeline_goes_to_the_network_before_and_after_a_block_and_not_in_it(
    wires: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_SUCH_KEY", "k")
    leads = pipeline(name="before", retry=1)
    assert leads.call({"domain": "a.example"}).metadata.failure_count == 1
    before = len(wires)
    assert before > 0
    with offline(before=known):
        assert leads.call({"domain": "a.example"}).metadata.failure_count == 0
    assert len(wires) == before
    assert leads.call({"domain": "a.example"}).metadata.failure_count == 1
    assert len(wires) > before
    wires.append("allowed")


def test_a_client_that_a_function_kept_from_before_is_offline_too(
    wires: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_SUCH_KEY", "k")
    kept: list[httpx.AsyncClient] = []

    @flow.enrichment(api=api("kept", retry=1))
    async def news(domain: str, http: httpx.AsyncClient) -> str:
        kept.append(http)
        return str((await kept[0].get("/news")).json())

    leads = flow.Pipeline("p", [news])
    leads.call({"domain": "a.example"})
    before = len(wires)
    with offline(kept=lambda request: "fresh"):
        assert leads.call({"domain": "a.example"}).data["news"] == "fresh"
    assert len(wires) == before > 0
    wires.append("allowed")


def test_the_innermost_block_answers_alone() -> None:
    leads = pipeline()
    with offline(acme=lambda request: {"employees": 1}) as outer:
        with offline(acme=lambda request: {"employees": 2}) as inner:
            assert leads.call({"domain": "a.example"}).data["employees"] == 2
        assert leads.call({"domain": "a.example"}).data["employees"] == 1
        with offline(), pytest.raises(DeclarationError):
            leads.call({"domain": "a.example"})
    assert (outer.total, inner.total) == (1, 1)


def test_what_was_begun_in_a_block_is_answered_by_it_to_its_end() -> None:
    entered, go_on = threading.Event(), threading.Event()

    async def waits(request: Request) -> Any:
        entered.set()
        while not go_on.is_set():
            await asyncio.sleep(0.005)
        return 503 if calls.total == 1 else {"employees": 9}

    found: list[Any] = []
    with offline(acme=waits) as calls:
        thread = threading.Thread(target=lambda: found.append(pipeline().call({"domain": "a"}).data["employees"]))
        thread.start()
        assert entered.wait(20)
    go_on.set()
    thread.join(20)
    assert found == [9]


def test_a_block_ends_with_its_error_and_a_handler_must_be_a_function() -> None:
    with pytest.raises(Interrupted), offline():
        raise Interrupted("stop")
    with pytest.raises(DeclarationError, match="acme= takes a function of the request"), offline(acme={}):  # type: ignore[arg-type]
        pass


@pytest.mark.parametrize("arguments", [{"json": 1, "body": b"x"}, {"status": 42}, {"status": "200"}])
def test_a_response_that_no_provider_could_give_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(DeclarationError, match="a Response takes"):
        Response(**arguments)


def test_calls_are_asked_for_by_the_names_of_the_block() -> None:
    with offline(acme=known, other=known) as calls:
        assert (calls["other"], bool(calls), repr(calls)) == ([], False, "<0 calls (acme: 0, other: 0)>")
    with pytest.raises(KeyError, match=r"offline.. has no handler for 'acne'; it has acme, other"):
        calls["acne"]
    assert isinstance(calls, Calls)


def test_a_body_that_is_no_json_is_said_to_be_none() -> None:
    request = Request(api="acme", method="GET", url="", path="", params={}, headers={})
    with pytest.raises(ValueError, match="`acme` is no JSON"):
        request.json()
