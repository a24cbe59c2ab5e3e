"""The headers that a provider gets: those of the author, each once, whoever sends the request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
import pytest

import dataflow as flow

JSON_API = "application/vnd.api+json"
SECRET = "k3y-of-4711"
TOLD = "accept,accept-encoding,content-type,user-agent,x-own"
PHONES = "/v2/phones/check"
NAME = {"name": str | None}
ONCE: dict[str, Any] = {"idempotent": False}
DEFAULTS = {"accept": "application/json", "user-agent": "dataflow"}


def sent(bench: Any, service: flow.Service, path: str = PHONES) -> Mapping[str, str]:
    """The headers of the only request that a record makes."""
    bench.server.control(logged=TOLD)
    run = bench.run(service, ["1"])
    assert run.statistics["services"][service.name]["succeeded"] == 1
    (entry,) = bench.log(path)
    headers: dict[str, str] = entry[4]
    # How answers may be packed is said by whoever unpacks them.
    return {name: value for name, value in headers.items() if (name, "gzip" in value) != ("accept-encoding", True)}


def asks(api: flow.API, **options: Any) -> flow.Service:
    return api.post("phone", PHONES, json={"phone": "{key}"}, returns={"valid": bool}, **options)


CASES: dict[str, tuple[dict[str, str], dict[str, str], dict[str, str]]] = {
    "none": ({}, {}, DEFAULTS | {"content-type": "application/json"}),
    "type of the API": ({"content-type": JSON_API}, {}, DEFAULTS | {"content-type": JSON_API}),
    "type of the service": ({}, {"CONTENT-TYPE": JSON_API}, DEFAULTS | {"content-type": JSON_API}),
    "the service's goes before": (
        {"Content-Type": "text/plain", "X-Own": "api"},
        {"content-type": JSON_API, "x-own": "service"},
        DEFAULTS | {"content-type": JSON_API, "x-own": "service"},
    ),
    "what is sent by itself": (
        {"user-agent": "leads/1", "ACCEPT": JSON_API, "accept-encoding": "identity"},
        {},
        {
            "user-agent": "leads/1",
            "accept": JSON_API,
            "accept-encoding": "identity",
            "content-type": "application/json",
        },
    ),
    "the same by the service": (
        {"User-Agent": "leads/1", "Accept": "text/html"},
        {"user-agent": "leads/2", "accept": JSON_API, "Accept-Encoding": "identity"},
        {
            "user-agent": "leads/2",
            "accept": JSON_API,
            "accept-encoding": "identity",
            "content-type": "application/json",
        },
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("batch", [None, 5])
@pytest.mark.parametrize("auth", [None, flow.bearer("ACME_KEY")])
def test_an_endpoint_sends_each_header_once_as_its_author_wrote_it(
    bench: Any, monkeypatch: pytest.MonkeyPatch, case: str, batch: int | None, auth: Any
) -> None:
    monkeypatch.setenv("ACME_KEY", SECRET)
    of_api, own, expected = CASES[case]
    api, path = bench.api(headers=of_api, auth=auth), PHONES
    service = asks(api, headers=own, **ONCE)
    if batch is not None:
        path = "/v2/companies/batch"
        json = {"domains": ["{key}"]}
        service = api.post("c", path, headers=own, json=json, batch=batch, match="domain", returns=NAME, **ONCE)
    found = dict(sent(bench, service, path))
    assert found.pop("authorization", None) == (None if auth is None else f"Bearer {SECRET}")
    assert found == expected


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("way", ["json", "content"])
def test_a_function_sends_each_header_once_as_its_author_wrote_it(bench: Any, case: str, way: str) -> None:
    of_api, own, expected = CASES[case]
    body: Any = {"json": {"phone": "1"}} if way == "json" else {"content": b'{"phone": "1"}'}

    @flow.enrichment(api=bench.api(headers=of_api))
    async def phone(key: str, http: httpx.AsyncClient) -> bool:
        return "valid" in (await http.post(PHONES, headers=own, **body)).json()

    expected = dict(expected)
    if way == "content" and expected["content-type"] == "application/json":
        # Nobody has said what it is.
        del expected["content-type"]
    assert sent(bench, phone) == expected


@pytest.mark.parametrize("by", ["api", "service"])
def test_an_idempotency_key_of_the_author_is_sent_and_ours_is_not(bench: Any, by: str) -> None:
    own = {"idempotency-key": "mine"}
    service = asks(bench.api(headers=own)) if by == "api" else asks(bench.api(), headers=own)
    assert sent(bench, service)["idempotency-key"] == "mine"


def test_a_model_is_asked_with_the_headers_of_its_api(bench: Any) -> None:
    api = bench.api(f"{bench.server.url}/v1", headers={"content-type": f"{JSON_API}; v=2", "user-agent": "leads/1"})
    service = flow.llm("said", api=api, model="demo-small", prompt="Who is {key}?")
    found = sent(bench, service, "/v1/chat/completions")
    assert (found["content-type"], found["user-agent"]) == (f"{JSON_API}; v=2", "leads/1")


@pytest.mark.parametrize(
    ("auth", "place"),
    [(flow.bearer("ACME_KEY"), "Authorization"), (flow.api_key("ACME_KEY", header="X-API-Key"), "X-API-Key")],
)
@pytest.mark.parametrize("own", [True, False])
def test_a_function_sends_the_secret_once_or_what_it_says_in_its_place(
    bench: Any, monkeypatch: pytest.MonkeyPatch, auth: Any, place: str, own: bool
) -> None:
    monkeypatch.setenv("ACME_KEY", SECRET)
    headers = {place: "Bearer other"} if own else {}

    @flow.enrichment(api=bench.api(auth=auth))
    async def phone(key: str, http: httpx.AsyncClient) -> bool:
        answer = await http.post(PHONES, json={"phone": key}, headers=headers)
        return bool(answer.json()["valid"]) or True

    usual = f"Bearer {SECRET}" if place == "Authorization" else SECRET
    assert sent(bench, phone)[place.lower()] == ("Bearer other" if own else usual)


def test_tokens_are_fetched_with_a_form_whatever_type_the_bodies_of_the_api_have(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACME_ID", "demo")
    monkeypatch.setenv("ACME_KEY", SECRET)
    bench.server.control(auth="oauth2", secret=SECRET, logged=TOLD)
    auth = flow.oauth2_client("ACME_ID", "ACME_KEY", token_url=f"{bench.server.url}/oauth/token")
    service = asks(bench.api(auth=auth, headers={"content-type": JSON_API, "accept": JSON_API}))
    assert bench.run(service, ["1"]).statistics["services"]["phone"]["succeeded"] == 1
    (token,), (call,) = bench.log("/oauth"), bench.log(PHONES)
    assert (token[4]["content-type"], call[4]["content-type"]) == ("application/x-www-form-urlencoded", JSON_API)
    assert (token[4]["accept"], call[4]["accept"]) == ("application/json", JSON_API)
