"""What a service is by itself: what changes it, and what does not."""

from __future__ import annotations

from typing import Any

import httpx
import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.plan.binding import bind
from dataflow.plan.code import Looks
from dataflow.plan.fingerprint import changes
from dataflow.plan.own import TEXT, own_definition
from dataflow.plan.texts import Texts, read_texts

SOURCE = pa.schema([("id", pa.int64()), ("to", pa.string()), ("text", pa.string())])
JSON = {"to": "{to}", "text": "{text}"}
NO_TEXTS = Texts()


def api(url: str = "http://desk.example", **options: Any) -> flow.API:
    return flow.API("desk", url, **options)


def endpoint(on: flow.API | None = None, path: str = "/mails", **options: Any) -> flow.Service:
    given: dict[str, Any] = {"json": JSON, "returns": {"sent": bool}, "idempotent": False, **options}
    return (on or api()).post("mail", path, **given)


def define(
    service: flow.Service, schema: pa.Schema = SOURCE, *, named_by: tuple[str, ...] = ("id",), texts: Texts = NO_TEXTS
) -> dict[str, str]:
    graph = bind([service], schema, name="desk")
    return own_definition(graph.steps[0], graph, named_by=named_by, looks=Looks(), texts=texts)


CHANGES = {
    "path": (endpoint(path="/letters"), ["its request"]),
    "body": (endpoint(json={**JSON, "from": "us"}), ["its request"]),
    "a name that is sent": (endpoint(json={**JSON, "text": "{text}{{text}}"}), ["its request"]),
    "headers": (endpoint(headers={"Accept-Language": "de"}), ["its request"]),
    "url": (endpoint(api("http://other.example")), ["its API", "its request"]),
    "select": (endpoint(select={"sent": "data.sent"}), ["how its answer is read"]),
    "returns": (endpoint(returns={"sent": str}), ["what it returns"]),
    "version": (endpoint(version="2"), ["version="]),
    "columns": (endpoint(columns={"text": "to"}), ["what it reads"]),
    "repeatable": (endpoint(idempotent=None), ["whether it may be called again"]),
}


@pytest.mark.parametrize(("service", "parts"), CHANGES.values(), ids=CHANGES)
def test_a_change_is_named_by_its_part(service: flow.Service, parts: list[str]) -> None:
    assert changes(define(endpoint()), define(service)) == parts


@pytest.mark.parametrize(
    "service",
    [
        endpoint(timeout=9, retry=2, priority="critical", into="mailed"),
        endpoint(when="text is not null", price=0.01),
        endpoint(api(rate="9/s", concurrency=3, timeout=4)),
    ],
)
def test_how_it_is_called_and_for_whom_is_no_part_of_it(service: flow.Service) -> None:
    assert changes(define(endpoint()), define(service)) == []


def test_other_columns_of_the_source_and_the_width_of_its_own_do_not_count() -> None:
    wider = pa.schema([("more", pa.int8()), ("to", pa.large_string()), ("id", pa.int32()), ("text", pa.string())])
    assert changes(define(endpoint()), define(endpoint(), wider)) == []
    numbers = pa.schema([("id", pa.int64()), ("to", pa.int64()), ("text", pa.string())])
    assert changes(define(endpoint()), define(endpoint(), numbers)) == ["what it reads"]


def test_what_names_a_record_counts() -> None:
    assert changes(define(endpoint()), define(endpoint(), named_by=())) == ["what names its records"]


def test_the_code_that_a_function_reaches_counts() -> None:
    def made(text: str) -> flow.Service:
        scope: dict[str, Any] = {"flow": flow, "httpx": httpx, "api": api(), "__name__": "desk"}
        exec(text, scope)
        return scope["mail"]  # type: ignore[no-any-return]

    source = """
def body(to): return {"to": to}
def other(to): return to
@flow.enrichment(api=api, idempotent=False, returns={"sent": bool})
async def mail(to: str, http: httpx.AsyncClient):
    return await http.post("/mails", json=body(to))
"""
    before = define(made(source))
    assert changes(before, define(made(source.replace("other(to): return to", "other(to): return 1")))) == []
    assert changes(before, define(made(source.replace('{"to": to}', '{"to": [to]}')))) == ["its code"]


def test_the_text_of_the_files_counts_only_where_something_cannot_be_seen_into() -> None:
    clients = [httpx.Client()]

    @flow.enrichment(api=api(), idempotent=False)
    def hidden(to: str) -> str:
        return clients[0].post("/mails", json={"to": to}).text

    before, after = (read_texts([("job.py", text)]) for text in ("A = 1", "A = 2"))
    assert changes(define(hidden, texts=before), define(hidden, texts=after)) == [TEXT]
    assert changes(define(endpoint(), texts=before), define(endpoint(), texts=after)) == []
    clients[0].close()
