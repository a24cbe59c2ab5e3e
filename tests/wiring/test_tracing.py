"""Traces of runs and executions on threads of this process: the tree, what a span says, and what it never says."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Sampler

import dataflow as flow
from dataflow.engine import exporting, tracing
from dataflow.errors import GuardrailReached
from dataflow.testing import Request, memory_catalog, offline

API = flow.API("acme", "https://acme.invalid/v2", auth=flow.bearer("ACME_KEY"), retry=flow.Retry(attempts=2, initial=0))
company = API.get("company", "/companies/{domain}?token=hidden", params={"q": "{domain}"}, returns={"employees": int})
SECRETS = ("s3cret", "hidden", "private")


@flow.transformation
def domain(domain: str) -> str:
    return domain.lower()


@flow.validation
def short(domain: str) -> str | None:
    return None if len(domain) < 30 else f"{domain} is long"


PIPELINE = flow.Pipeline("leads", [domain, company, short])


class Traces:
    """The spans that have ended, in the order in which they began."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    def __iter__(self) -> Iterator[ReadableSpan]:
        return iter(sorted(self._exporter.get_finished_spans(), key=lambda span: span.start_time or 0))

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self if span.name == name]

    def parent(self, span: ReadableSpan) -> str | None:
        known = {one.context.span_id: one for one in self}
        return None if span.parent is None else known[span.parent.span_id].name


def record(monkeypatch: pytest.MonkeyPatch, sampler: Sampler | None = None) -> Traces:
    """Let this process have a provider that keeps its spans."""
    exporter, provider = InMemorySpanExporter(), TracerProvider(sampler=sampler, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(exporting, "find_provider", lambda: provider)
    monkeypatch.setattr(tracing, "_found", tracing._Found())
    return Traces(exporter)


@pytest.fixture
def traces(monkeypatch: pytest.MonkeyPatch) -> Traces:
    monkeypatch.setenv("ACME_KEY", "s3cret")
    return record(monkeypatch)


def job(folder: Path, *, records: int = 8, **options: Any) -> flow.Job:
    """A job of two partitions."""
    for part in range(2):
        domains = [f"private-{part}-{at}.example" for at in range(records // 2)]
        pq.write_table(pa.table({"domain": domains}), folder / f"{part}.parquet")
    return flow.Job(PIPELINE, source=str(folder), output="leads", key="domain", **options)


def found(request: Request) -> Any:
    return {"employees": 3}


def failing(request: Request) -> Any:
    return 503 if request.path.endswith(("-1.example", "-3.example")) else {"employees": 3}


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def test_a_run_holds_its_partitions_they_their_services_and_these_their_calls(traces: Traces, tmp_path: Path) -> None:
    with offline(acme=found):
        run = job(tmp_path).run(catalog=memory_catalog(), threads=2)
    tree = Counter((span.name, traces.parent(span)) for span in traces)
    assert tree == {
        ("dataflow.run", None): 1,
        ("dataflow.keys", "dataflow.run"): 2,
        # Both that need no call: they are judged before the first one.
        ("dataflow.service", "dataflow.keys"): 4,
        ("dataflow.partition", "dataflow.run"): 2,
        ("dataflow.service", "dataflow.partition"): 6,
        ("dataflow.call", "dataflow.service"): 8,
    }
    assert len({span.context.trace_id for span in traces}) == 1
    assert {attributes(span)["dataflow.run"] for span in traces} == {run.id}
    assert {attributes(span)["dataflow.dataset"] for span in traces} == {"leads"}
    assert Counter(attributes(span).get("dataflow.partition") for span in traces) == {None: 1, 0: 11, 1: 11}


def test_spans_hold_counts(traces: Traces, tmp_path: Path) -> None:
    with offline(acme=failing):
        job(tmp_path, max_failures="100%").run(catalog=memory_catalog(), threads=1)
    (whole,) = traces.named("dataflow.run")
    assert attributes(whole)["dataflow.status"] == "published"
    assert attributes(whole)["dataflow.records"] == 8
    assert [attributes(span)["dataflow.records"] for span in traces.named("dataflow.partition")] == [4, 4]
    services = [attributes(span) for span in traces.named("dataflow.service")]
    asked = [one for one in services if one["dataflow.service"] == "company"]
    assert [one["dataflow.outcomes.failed"] for one in asked] == [2, 2]
    assert [one["dataflow.outcomes.succeeded"] for one in asked] == [2, 2]
    assert [one["dataflow.calls"] for one in asked] == [6, 6]
    assert "dataflow.outcomes.cached" not in asked[0]


def test_a_call_says_where_it_goes_as_it_was_declared_and_how_it_ended(traces: Traces, tmp_path: Path) -> None:
    with offline(acme=failing):
        job(tmp_path, max_failures="100%").run(catalog=memory_catalog(), threads=1)
    calls = [attributes(span) for span in traces.named("dataflow.call")]
    expected = {
        "http.request.method": "GET",
        "server.address": "acme.invalid",
        "server.port": 443,
        "url.template": "/v2/companies/{domain}",
        "dataflow.service": "company",
        "dataflow.records": 1,
    }
    assert all(expected.items() <= one.items() for one in calls)
    failed = [one for one in calls if "error.type" in one]
    assert len(failed) == 4
    assert {(one["error.type"], one["http.response.status_code"], one["dataflow.attempts"]) for one in failed} == {
        ("503", 503, 2)
    }
    statuses = {(span.kind.name, span.status.status_code.name) for span in traces.named("dataflow.call")}
    assert statuses == {("CLIENT", "ERROR"), ("CLIENT", "UNSET")}


def test_no_span_holds_a_secret_or_a_value_of_a_record(traces: Traces, tmp_path: Path) -> None:
    with offline(acme=failing):
        job(tmp_path, max_failures="100%").run(catalog=memory_catalog(), threads=1)
    with offline(acme=ConnectionError), pytest.raises(flow.DataflowError):
        PIPELINE.call({"domain": "private.example"}, catalog=memory_catalog())
    assert len(list(traces)) > 15
    written = " ".join(span.to_json() for span in traces)
    assert not [secret for secret in SECRETS if secret in written]


def test_the_first_calls_and_those_that_fail_get_spans(traces: Traces, tmp_path: Path) -> None:
    with offline(acme=found):
        job(tmp_path, records=100).run(catalog=memory_catalog(), threads=1)
    assert len(traces.named("dataflow.call")) == 2 * 5
    with offline(acme=lambda request: 400):
        job(tmp_path, records=100, max_failures="100%").run(catalog=memory_catalog(), threads=1)
    failed = [span for span in traces.named("dataflow.call") if "error.type" in attributes(span)]
    assert len(failed) == 2 * 20


def test_a_run_that_stops_says_with_which_error_and_not_with_its_text(traces: Traces, tmp_path: Path) -> None:
    with offline(acme=lambda request: 404), pytest.raises(GuardrailReached):
        job(tmp_path, records=400, min_found={"company": "50%"}).run(catalog=memory_catalog(), threads=1)
    (whole,) = traces.named("dataflow.run")
    assert attributes(whole)["error.type"] == "GuardrailReached"
    assert attributes(whole)["dataflow.status"] == "stopped"
    assert (whole.status.status_code.name, whole.status.description, list(whole.events)) == ("ERROR", None, [])


def test_a_run_in_the_background_is_part_of_the_span_that_has_begun_it(traces: Traces, tmp_path: Path) -> None:
    tracer = exporting.find_provider().get_tracer("program")  # type: ignore[union-attr]
    with offline(acme=found):
        with tracer.start_as_current_span("program"):
            run = job(tmp_path).run(catalog=memory_catalog(), threads=1, wait=False)
        run.wait()
    (whole,) = traces.named("dataflow.run")
    assert traces.parent(whole) == "program"


def test_executions_are_traced_called_and_awaited(traces: Traces) -> None:
    async def several() -> None:
        await asyncio.gather(*(PIPELINE.acall({"domain": f"{name}.example"}, catalog=catalog) for name in "ab"))

    catalog = memory_catalog()
    with offline(acme=found):
        PIPELINE.call({"domain": "c.example"}, catalog=catalog)
        asyncio.run(several())
    tree = Counter((span.name, traces.parent(span)) for span in traces)
    assert tree == {
        ("dataflow.execution", None): 3,
        ("dataflow.service", "dataflow.execution"): 9,
        ("dataflow.call", "dataflow.service"): 3,
    }
    assert len({attributes(span)["dataflow.execution"] for span in traces}) == 3


def test_a_trace_that_is_not_sampled_leaves_no_span(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    traces = record(monkeypatch, ALWAYS_OFF)
    with offline(acme=found):
        job(tmp_path).run(catalog=memory_catalog(), threads=1)
    assert list(traces) == []


def test_nothing_of_opentelemetry_is_imported_and_nothing_needed(tmp_path: Path) -> None:
    code = (
        "import json, sys, logging; blocked = sys.argv[1] == 'blocked'\n"
        "if blocked: sys.modules['opentelemetry'] = None\n"
        "logging.basicConfig()\n"
        "import dataflow as flow\n"
        "size = flow.transformation(name='size', returns=int)(lambda word: len(word))\n"
        "pipeline = flow.Pipeline('words', [size])\n"
        "job = flow.Job(pipeline, source=sys.argv[2], output='words')\n"
        "open(sys.argv[2], 'w').write('word\\nabc\\n')\n"
        "run = job.run(catalog='memory://words')\n"
        "loaded = [name for name in sys.modules if name.startswith('opentelemetry.')]\n"
        "print(json.dumps([run.status, pipeline.call({'word': 'abcd'}).data['size'], loaded]))\n"
    )
    for how, endpoint in (("free", ""), ("blocked", "http://127.0.0.1:9")):
        environment = {"PATH": "", "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "DATAFLOW_JOURNAL": str(tmp_path)}
        command = [sys.executable, "-c", code, how, str(tmp_path / "words.csv")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
        assert json.loads(done.stdout) == ["published", 4, []]
        assert ("install dataflow[otel]" in done.stderr) is (how == "blocked")
