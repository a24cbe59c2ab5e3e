"""A secret goes to its provider and nowhere else: not into graph, logs, files, pages, events or errors."""

from __future__ import annotations

import json
import threading
import traceback
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import dataflow as flow

SECRET = "canary-4711-ümlaut"
FORMS = (SECRET, "canary-4711-%C3%BCmlaut", "canary-4711-\\u00fcmlaut")

JOB = """
import dataflow as flow

once = flow.Retry(attempts=1)
api = flow.API("echo", "http://127.0.0.1:PORT", auth=flow.api_key("ACME_KEY", query="key"), retry=once)
header = flow.API("header", "http://127.0.0.1:PORT", auth=flow.api_key("OTHER_KEY", header="X-Key"), retry=once)

@flow.transformation
def told(name: str, context: flow.Context) -> str:
    if name == "b":
        raise RuntimeError("no luck with " + context.secret("ACME_KEY"))
    return name

refused = api.get("refused", "/400/{name}", returns=str, select="x", priority="optional")
broken = header.get("broken", "/200/{name}", returns=int, select="x", priority="optional")
job = flow.Job(flow.Pipeline("canary", [told, refused, broken]), source="names.csv", output="out", key="name")
"""


class Echo(BaseHTTPRequestHandler):
    """A provider that says all that it was told, as bad ones do."""

    def do_GET(self) -> None:
        status = int(self.path.split("/")[1])
        said = json.dumps({"x": f"{self.path} {self.headers.get('X-Key')}"}, ensure_ascii=False).encode()
        self.send_response(status)
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *arguments: Any) -> None:
        """Nothing."""


@contextmanager
def echo() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def holds(data: str | bytes) -> bool:
    text = data if isinstance(data, bytes) else data.encode("utf-8", "backslashreplace")
    return any(one.encode() in text for one in FORMS)


def job_in(folder: Path, port: int) -> Path:
    (folder / "names.csv").write_text("name\na\nb\nc\n")
    path = folder / "job.py"
    path.write_text(JOB.replace("PORT", str(port)).replace('"names.csv"', repr(str(folder / "names.csv"))))
    return path


@pytest.mark.parametrize("workers", [None, pytest.param(1, marks=pytest.mark.slow)])
def test_a_secret_is_found_in_no_file_event_page_or_error_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], workers: int | None
) -> None:
    from dataflow.wiring.jobs import find_job

    monkeypatch.setenv("ACME_KEY", SECRET)
    monkeypatch.setenv("OTHER_KEY", "canary-4711-%C3%BCmlaut")
    monkeypatch.setenv("DATAFLOW_JOURNAL", str(tmp_path / "journal"))
    events: list[Any] = []
    with echo() as port:
        job = find_job(str(job_in(tmp_path, port))).job
        run = job.run(catalog=str(tmp_path / "catalog"), workers=workers, on_event=events.append)
        with pytest.raises(flow.errors.DataflowError) as raised:
            job.pipeline.call({"name": "b"})
    failures = run.failures().to_pylist() + run.rejects().to_pylist()
    assert {row["service"] for row in failures} == {"told", "refused", "broken"}
    assert not holds("".join(traceback.format_exception(raised.value)))
    shown = [repr(run), repr(run.statistics), run._repr_html_(), repr(events), repr(failures), *capfd.readouterr()]
    assert not [text for text in shown if holds(text)]
    for file in [one for one in tmp_path.rglob("*") if one.is_file()]:
        assert not holds(file.read_bytes()), file


@pytest.mark.slow
def test_a_secret_of_the_workers_is_found_in_no_page_log_or_memory_of_their_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cluster: Any
) -> None:
    from distributed import Client

    from dataflow.wiring.jobs import find_job

    def known(dask_scheduler: Any) -> str:
        """All that a scheduler knows of its tasks and plugins; defined here, so that it travels as code."""
        tasks = [(one.key, one.run_spec, one.annotations) for one in dask_scheduler.tasks.values()]
        plugins = {name: vars(plugin) for name, plugin in dask_scheduler.plugins.items() if "dataflow" in name}
        return repr(tasks) + repr(plugins)

    monkeypatch.setenv("ACME_KEY", SECRET)
    monkeypatch.setenv("OTHER_KEY", "canary-4711-%C3%BCmlaut")
    with echo() as port:
        address, _ = cluster()
        found = find_job(str(job_in(tmp_path, port)))
        with Client(address, set_as_default=False) as client:
            run = found.job.run(catalog=str(tmp_path / "catalog"), client=client, program=found.program)
            assert run.page is not None
            base = run.page.removesuffix("/dataflow")
            for path in ("dataflow", "dataflow.json", "dataflow/panels", "metrics", "info/main/workers.html"):
                with urllib.request.urlopen(f"{base}/{path}") as answer:
                    assert not holds(answer.read()), path
            assert not holds(repr(client.get_worker_logs()) + repr(client.get_scheduler_logs()))
            assert not holds(repr(client.get_events()) + repr(client.story()) + repr(client.run_on_scheduler(known)))
