"""Which calls get a span, and what it says of where they go and how they ended."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import dataflow as flow
from dataflow.engine.http.attempts import Call, CallError, Terms
from dataflow.engine.http.sampling import CallSample, address_of, kind_of
from dataflow.policies.deadline import Deadline

API = flow.API("acme", "https://acme.example/v2", allow_hosts="*.acme.example")
TERMS = Terms(timeout=1, retry=flow.Retry(), patience=None)
company = API.get("company", "/companies/{domain}?key=hidden", returns=int)


def call(**values: Any) -> Call:
    return Call(terms=TERMS, deadline=Deadline(started=0), **{"attempts": 1, **values})


def spans(*ends: BaseException | None, service: Any = company) -> list[Any]:
    """The spans of some calls that end like this, a second each."""
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    now = iter(range(0, 10**15, 10**9))
    sample = CallSample(provider.get_tracer("test"), service, wall=lambda: next(now))
    for end in ends:
        sample.end(sample.begin(call()), end)
    return list(exporter.get_finished_spans())


FAILED = CallError("HTTP 503", "private", status=503)


@pytest.mark.parametrize(
    ("ends", "kept"),
    [
        ([None] * 3, 3),
        ([None] * 50, 5),
        ([FAILED] * 50, 20),
        ([*[None] * 50, *[FAILED] * 10], 15),
        ([*[None] * 50, *[FAILED] * 30], 20),
        ([*[None] * 50, flow.NotFound()], 5),
    ],
)
def test_the_first_five_and_then_failures_up_to_twenty(ends: list[Any], kept: int) -> None:
    assert len(spans(*ends)) == kept


def test_a_span_has_the_times_of_its_call() -> None:
    assert [(span.start_time, span.end_time) for span in spans(None, None)] == [
        (0, 10**9),
        (2 * 10**9, 3 * 10**9),
    ]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (FAILED, "503"),
        (CallError("timeout", "private"), "timeout"),
        (CallError("malformed answer", "private", status=200), "malformed answer"),
        (ValueError("private"), "ValueError"),
        (UnicodeDecodeError("utf-8", b"private", 0, 1, "private"), "UnicodeDecodeError"),
    ],
)
def test_an_error_is_named_by_its_class_and_never_by_its_text(error: BaseException, kind: str) -> None:
    (span,) = spans(error)
    assert (kind_of(error), span.attributes["error.type"], span.status.description) == (kind, kind, None)


def test_what_is_not_found_is_no_error() -> None:
    (span,) = spans(flow.NotFound())
    assert "error.type" not in span.attributes


def test_an_address_is_what_the_author_wrote_without_its_query() -> None:
    at = {"server.address": "acme.example", "server.port": 443}
    get = {"http.request.method": "GET"}
    assert address_of(company) == {**at, **get, "url.template": "/v2/companies/{domain}"}
    other = API.get("other", "https://{host}/companies", returns=int)
    assert address_of(other) == {**get, "url.template": "/companies"}


def test_a_model_is_asked_by_post_and_a_function_in_a_way_that_nobody_knows() -> None:
    local = flow.API("local", "http://127.0.0.1:8000/v1")
    at = {"server.address": "127.0.0.1", "server.port": 8000}
    said = flow.llm("said", api=local, model="m", prompt="{text}")
    assert address_of(said) == {**at, "http.request.method": "POST", "url.template": "/v1/chat/completions"}

    @flow.enrichment(api=local)
    async def called(text: str) -> str:
        return text

    assert address_of(called) == at
