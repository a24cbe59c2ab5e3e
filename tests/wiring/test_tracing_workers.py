"""A run on worker processes: their spans reach a collector as part of the run's trace, their lines are JSON too."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from distributed import Client
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

pytestmark = pytest.mark.slow

JOB = """
import logging, os, time
import dataflow as flow

logger = logging.getLogger("leads")

@flow.enrichment
def process(number: int) -> int:
    logger.info("process %d", os.getpid())
    time.sleep(0.2)
    return os.getpid()

def job(source: str) -> flow.Job:
    return flow.Job(flow.Pipeline("numbers", [process]), source=source, output="numbers", key="number")
"""


class Collector:
    """What a collector of OpenTelemetry has been sent over HTTP.

    Attributes:
        url: Where it listens.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.sent: list[ExportTraceServiceRequest] = []

    @property
    def spans(self) -> list[tuple[str, Any]]:
        """All spans, each with the name of what has sent it."""
        return [
            (next(one.value.string_value for one in of.resource.attributes if one.key == "service.name"), span)
            for request in self.sent
            for of in request.resource_spans
            for scope in of.scope_spans
            for span in scope.spans
        ]


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector on a free port of the loopback interface."""

    class Receive(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
            made.sent.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: Any) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Receive) as server:
        made = Collector(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield made
        server.shutdown()
        thread.join()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A job and a source of four partitions."""
    (tmp_path / "source").mkdir()
    for part in range(4):
        pq.write_table(pa.table({"number": [part]}), tmp_path / "source" / f"{part}.parquet")
    (tmp_path / "numbers_job.py").write_text(JOB)
    return tmp_path


def run(folder: Path, *options: str, **environment: str) -> tuple[dict[str, Any], str]:
    """What the command prints as JSON, and what on stderr."""
    command = [sys.executable, "-m", "dataflow", "run", "numbers_job.py", "--set", "source=source", "--json"]
    done = subprocess.run(
        [*command, "--catalog", "catalog", *options],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return json.loads(done.stdout), done.stderr


def check(collector: Collector, run: str) -> None:
    """All spans are there and hang together."""
    spans = collector.spans
    assert len({span.trace_id for _, span in spans}) == 1
    names = {span.span_id: span.name for _, span in spans}
    assert Counter((span.name, names.get(span.parent_span_id)) for _, span in spans) == {
        ("dataflow.run", None): 1,
        ("dataflow.partition", "dataflow.run"): 4,
        ("dataflow.service", "dataflow.partition"): 4,
    }
    runs = [one.value.string_value for _, span in spans for one in span.attributes if one.key == "dataflow.run"]
    assert runs == [run] * 9


def test_spans_and_lines_of_worker_processes_belong_to_their_run(collector: Collector, folder: Path) -> None:
    asked = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_SERVICE_NAME": "leads", "DATAFLOW_LOG": "info,json"}
    printed, err = run(folder, "--workers", "2", "--no-progress", **asked)
    check(collector, printed["run"])
    assert {service for service, _ in collector.spans} == {"leads"}
    lines = [json.loads(line) for line in err.splitlines() if line.startswith("{")]
    told = [line for line in lines if line["logger"] == "leads"]
    assert {(line["run"], line["dataset"], line["service"]) for line in told} == {
        (printed["run"], "numbers", "process")
    }
    assert sorted(line["partition"] for line in told) == [0, 1, 2, 3]
    assert {line["message"] for line in told}.isdisjoint({f"process {os.getpid()}"})
    events = Counter(line["run_event"] for line in lines if line["logger"] == "dataflow.run")
    assert {"planned": 1, "committed": 4, "published": 1}.items() <= events.items()


def test_spans_of_workers_of_a_cluster_belong_to_their_run(
    collector: Collector, folder: Path, cluster: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
    address, _ = cluster()
    with Client(address, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
    printed, _ = run(folder, "--scheduler", address)
    check(collector, printed["run"])
    assert {service for service, _ in collector.spans} == {"dataflow"}


def test_a_collector_that_is_away_costs_no_result(folder: Path) -> None:
    printed, _ = run(folder, "--limit", "1", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
    assert printed["status"] == "published"
