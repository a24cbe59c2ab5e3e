"""Whether an environment asks for traces, and what a process then has."""

from __future__ import annotations

import logging
import sys

import pytest
from opentelemetry import trace

from dataflow.engine import exporting
from dataflow.engine.exporting import find_provider, is_asked_for

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}


@pytest.mark.parametrize(
    ("environment", "asked"),
    [
        ({}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_SERVICE_NAME": "leads"}, False),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "true"}, False),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, False),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "console,otlp"}, True),
    ],
)
def test_an_endpoint_asks_for_traces_unless_they_are_switched_off(environment: dict[str, str], asked: bool) -> None:
    assert is_asked_for(environment) is asked


def test_nobody_asks_and_nothing_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in exporting.ENDPOINTS:
        monkeypatch.delenv(name, raising=False)
    assert find_provider() is None


def test_the_provider_of_the_program_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    class Provider(trace.TracerProvider):
        """One of whoever wrote the program."""

        def get_tracer(self, *arguments: object, **options: object) -> trace.Tracer:
            return trace.NoOpTracer()

    provider = Provider()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    assert find_provider() is provider


def test_what_is_asked_for_and_not_installed_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    exporting._own.cache_clear()
    with caplog.at_level(logging.WARNING, "dataflow.tracing"):
        assert find_provider() is None
        assert find_provider() is None
    exporting._own.cache_clear()
    assert [record.getMessage() for record in caplog.records] == [
        "the environment asks for traces, but OpenTelemetry is not there; install dataflow[otel]"
    ]
