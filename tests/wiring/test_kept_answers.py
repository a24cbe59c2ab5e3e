"""What a provider has answered is paid for once: whatever its type, and only as long as the same is asked."""

from __future__ import annotations

import dataclasses
import http.server
import json
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypedDict

import httpx
import pandas as pd
import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.engine.keys import key_of, keys_of
from dataflow.outcomes import Status
from dataflow.store.cache.answers import Answer
from dataflow.store.cache.cache import Cache
from dataflow.wiring.binding import bind_pipeline
from dataflow.wiring.memory import origin_of


class Provider(http.server.ThreadingHTTPServer):
    """Answers everything, in the language and for the account that is asked for, and counts."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.calls = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Provider

    def do_GET(self) -> None:
        self.server.calls += 1
        size = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(size)
        said = {
            "title": f"{self.headers.get('Accept-Language', '')} {self.headers.get('Authorization', '')}".strip(),
            "words": {"b": "2", "a": "1"},
            "lists": {"x": [{"at": "2024-02-29", "by": {"y": 1}}]},
            "size": 7,
        }
        message = {"role": "assistant", "content": json.dumps({"answer": said["words"], **said})}
        usage = {"prompt_tokens": 1, "completion_tokens": 1}
        answer = said if size == 0 else {"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_: Any) -> None:
        """Nobody reads it."""


@pytest.fixture
def provider() -> Iterator[Provider]:
    server = Provider()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def called(tmp_path: Path, provider: Provider) -> Callable[..., tuple[int, Any]]:
    """Calls that a service makes for one record, and what it gives."""

    def call(service: flow.Service) -> tuple[int, Any]:
        before = provider.calls
        found = flow.Pipeline("p", [service]).call({"key": "a"}, catalog=str(tmp_path / "catalog"))
        return provider.calls - before, found.data

    return call


class Words(TypedDict):
    title: str
    words: dict[str, str]


class Inner(TypedDict):
    at: str
    by: dict[str, int]


class Lists(TypedDict):
    lists: dict[str, list[Inner]]


@dataclasses.dataclass
class Made:
    words: dict[str, str]


def of_http(api: flow.API, returns: Any) -> flow.Service:
    return api.get("one", "/{key}", returns=returns, select="words" if returns is DICT else None, into="one")


def of_llm(api: flow.API, returns: Any) -> flow.Service:
    return flow.llm("one", api=api, model="m", prompt="{key}", returns=returns, into="one")


def of_function(api: flow.API, returns: Any) -> flow.Service:
    async def ask(key: str, http: httpx.AsyncClient) -> Any:
        found = (await http.get(f"/{key}")).json()
        if returns is DICT:
            return found["words"]
        if returns is Made:
            return Made(found["words"])
        return {name: found[name] for name in returns.__annotations__}

    made: flow.Service = flow.enrichment(api=api, name="one", returns=returns, into="one")(ask)
    return made


DICT = dict[str, str]


@pytest.mark.parametrize("returns", [DICT, Words, Lists, Made])
@pytest.mark.parametrize("declare", [of_http, of_llm, of_function])
def test_answers_that_hold_a_dict_are_called_once(
    provider: Provider, tmp_path: Path, called: Any, declare: Any, returns: Any
) -> None:
    service = declare(flow.API("acme", provider.url), returns)
    calls = [called(service) for _ in range(3)]
    assert [count for count, _ in calls] == [1, 0, 0]
    assert calls[0][1] == calls[1][1] == calls[2][1]
    pipeline, table = flow.Pipeline("p", [service]), pa.table({"key": ["a", "b"]})
    for cache_of in ("one", "two"):
        run = pipeline.run(table, cache_of, catalog=str(tmp_path / "catalog"))
        assert run.statistics["services"]["one"]["calls"] == (1 if cache_of == "one" else 0)
    assert provider.calls == 2


def test_a_field_more_is_asked_for(provider: Provider, called: Any) -> None:
    api = flow.API("acme", provider.url)

    class Company(TypedDict):
        title: str

    class CompanyNow(TypedDict):
        title: str
        size: int

    assert called(api.get("company", "/{key}", returns=Company))[0] == 1
    count, found = called(api.get("company", "/{key}", returns=CompanyNow))
    assert (count, found["size"]) == (1, 7)
    assert called(api.get("company", "/{key}", returns={"size": int, "title": str}))[0] == 0


def test_another_account_on_one_url_is_asked_for_itself(
    provider: Provider, called: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONE_KEY", "one")
    monkeypatch.setenv("TWO_KEY", "two")
    found = []
    for name, secret in (("one", "ONE_KEY"), ("two", "ONE_KEY"), ("one", "TWO_KEY"), ("one", "ONE_KEY")):
        api = flow.API(name, provider.url, auth=flow.bearer(secret))
        count, data = called(api.get("company", "/{key}", returns={"title": str}))
        found.append((count, data["title"]))
    assert found == [(1, "Bearer one"), (1, "Bearer one"), (1, "Bearer two"), (0, "Bearer one")]
    # Another value of the secret is the same account.
    monkeypatch.setenv("ONE_KEY", "renewed")
    assert (
        called(
            flow.API("one", provider.url, auth=flow.bearer("ONE_KEY")).get("company", "/{key}", returns={"title": str})
        )[0]
        == 0
    )


def test_another_header_or_url_of_an_account_is_asked_anew_also_by_functions(provider: Provider, called: Any) -> None:
    async def company(key: str, http: httpx.AsyncClient) -> str:
        return str((await http.get(f"/{key}")).json()["title"])

    def declared(path: str = "", **options: Any) -> list[flow.Service]:
        api = flow.API("acme", provider.url + path, **options)
        return [api.get("company", "/{key}", returns={"title": str}), flow.enrichment(api=api)(company)]

    for at in range(2):
        german, french = {"headers": {"Accept-Language": "de"}}, {"headers": {"Accept-Language": "fr"}}
        found = [called(declared(**options)[at]) for options in (german, french, german)]
        titles = [data["title" if at == 0 else "company"] for _, data in found]
        assert ([count for count, _ in found], titles) == ([1, 1, 0], ["de", "fr", "de"])
        assert [called(declared(path)[at])[0] for path in ("/eu", "/us", "/eu/")] == [1, 1, 0]


def stamped(api: flow.API) -> flow.Service:
    """A service whose answers are finer than what is kept."""

    def at(key: str) -> Any:
        return pd.Timestamp("2024-01-01T00:00:00.000000001")

    made: flow.Service = flow.enrichment(api=api, returns=pa.timestamp("ns"))(at)
    return made


def test_a_run_says_which_answers_it_could_not_keep_and_how_many(tmp_path: Path) -> None:
    service = stamped(flow.API("acme", "http://127.0.0.1:9"))
    table = pa.table({"key": ["a", "b", "c"]})
    run = flow.Pipeline("p", [service]).run(table, "out", catalog=str(tmp_path))
    assert run.warnings == [
        "`at`: 3 answers cannot be kept, since a time is finer than a microsecond, and will be called again"
    ]


def test_a_single_record_says_it_as_a_warning(called: Any) -> None:
    with pytest.warns(UserWarning, match="`at`: 1 answer cannot be kept, since a time is finer than a microsecond"):
        called(stamped(flow.API("acme", "http://127.0.0.1:9")))


def test_an_answer_that_cannot_be_read_back_is_told_and_replaced(
    provider: Provider, tmp_path: Path, called: Any
) -> None:
    service = flow.API("acme", provider.url).get("size", "/{key}", returns=int, select="size")
    pipeline, table = flow.Pipeline("p", [service]), pa.table({"key": ["a", "b"]})
    step = bind_pipeline(pipeline, table.schema, {}).steps[0]
    key = key_of(step, keys_of(step))(("a",))
    with Cache(tmp_path / "catalog") as cache:
        # As if another program had written it, by a clock that was wrong.
        answer = Answer(Status.SUCCEEDED, b'"seven"', time.time() + 900)
        cache.put(key, answer, origin=origin_of(step))
    run = pipeline.run(table, "out", catalog=str(tmp_path / "catalog"))
    assert provider.calls == 2
    assert [one for one in run.warnings if "read back" in one] == [
        "`size`: 1 answer of the cache cannot be read back (expected int, got str); they are called for again"
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert called(service) == (0, {"key": "a", "size": 7, "is_valid": True, "completeness": 1.0, "degraded": False})
