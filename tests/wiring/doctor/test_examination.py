"""The whole look, at real schedulers and workers, with and without TLS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import dask
import pyarrow as pa
import pytest
from distributed import Client

import dataflow as flow
from dataflow.wiring.breaker import hold_breaker
from dataflow.wiring.doctor.examination import Subject, examine
from dataflow.wiring.doctor.findings import Finding, Level, exit_code

JOB = """
import dataflow as flow

api = flow.API("acme", "{url}", auth=flow.bearer("ACME_KEY"), rate="10/s")
company = api.get("company", "/companies/{{domain}}", returns=str, price=1)
job = flow.Job(flow.Pipeline("leads", [company]), source="leads.csv", output="leads")
"""


@flow.transformation
def double(number: int) -> int:
    return 2 * number


numbers = flow.Pipeline("numbers", [double])


class Counting(BaseHTTPRequestHandler):
    asked: list[tuple[str, str, str | None]]

    def do_HEAD(self) -> None:
        self.asked.append((self.command, self.path, self.headers.get("Authorization")))
        self.send_response(401)
        self.end_headers()

    do_GET = do_HEAD

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def provider() -> Iterator[str]:
    Counting.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Counting) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()
        thread.join()


@pytest.fixture
def job(tmp_path: Path, provider: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "leads.csv").write_text("domain\na.example\n")
    (tmp_path / "leads_job.py").write_text(JOB.format(url=provider))
    return "leads_job.py"


def about(findings: list[Finding], subject: str) -> list[str]:
    return [f"{one.level} {one.fact}" for one in findings if one.subject == subject]


def wait_for_workers(address: str, count: int = 2) -> None:
    with Client(address, set_as_default=False) as client:
        client.wait_for_workers(count, timeout=60)


def test_without_a_cluster_the_job_and_its_apis_are_looked_at(
    job: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ACME_KEY", "canary-4711")
    found = examine(Subject(job=job))
    assert [one for one in found if one.level is not Level.OK] == []
    assert about(found, "secrets of acme") == ["ok set here: ACME_KEY"]
    assert "canary" not in "".join(map(str, found))
    assert Counting.asked == [("HEAD", "/v1", None)]
    assert not (tmp_path / "datasets").exists()


def test_a_secret_that_is_not_set_is_a_problem(job: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACME_KEY", raising=False)
    found = examine(Subject(job=job))
    assert about(found, "secrets of acme") == ["problem not set: ACME_KEY"]
    assert exit_code(found) == 1


def test_a_job_that_does_not_load_and_one_without_its_source(job: str, tmp_path: Path) -> None:
    assert exit_code(examine(Subject(job="nothing.py"))) == 2
    (tmp_path / "leads.csv").unlink()
    found = examine(Subject(job=job))
    assert "there is no such file" in about(found, "source")[0]
    assert exit_code(found) == 1


def test_a_scheduler_that_does_not_answer_is_code_75_and_the_rest_is_looked_at() -> None:
    found = examine(Subject(scheduler="tcp://127.0.0.1:9"))
    assert exit_code(found) == 75
    assert "does not answer" in about(found, "cluster")[0]
    assert about(found, "catalog") != []


def test_the_cluster_of_the_environment_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", "tcp://127.0.0.1:9")
    assert exit_code(examine(Subject())) == 75


@pytest.mark.slow
def test_a_cluster_is_looked_at_and_left_as_it_is(
    job: str, cluster: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACME_KEY", "canary-4711")
    address, _ = cluster()
    wait_for_workers(address)
    found = examine(Subject(job=job, scheduler=address))
    assert [one for one in found if one.level is not Level.OK] == []
    assert about(found, "cluster")[0].startswith(f"ok the scheduler at {address} answers: 2 workers, 2 threads")
    assert about(found, "versions") == ["ok those of the scheduler and of 2 workers fit"]
    assert about(found, "connections") == ["ok of this machine only, without TLS"]
    assert about(found, "secrets of acme") == ["ok set on the workers: ACME_KEY"]
    assert "canary" not in "".join(map(str, found))
    # One from here and one from a worker, none with the secret.
    assert Counting.asked == [("HEAD", "/v1", None)] * 2
    with Client(address, set_as_default=False) as client:
        assert client.run_on_scheduler(lambda dask_scheduler: "dataflow_control" in dask_scheduler.handlers) is False
        there = client.run(lambda: "dataflow" in __import__("sys").modules)
    assert set(there.values()) == {False}


@pytest.mark.slow
def test_a_breaker_that_is_held_open_is_a_warning(
    job: str, cluster: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACME_KEY", "canary-4711")
    address, _ = cluster()
    wait_for_workers(address)
    hold_breaker("acme", "open", scheduler=address)
    found = examine(Subject(job=job, scheduler=address))
    assert "the breaker is held open" in about(found, "limits of acme")[0]
    assert exit_code(found) == 0


@contextmanager
def trusting(options: list[str]) -> Iterator[None]:
    """Dask's configuration with the certificate."""
    names = ("ca-file", "client.cert", "client.key")
    with dask.config.set(dict(zip((f"distributed.comm.tls.{one}" for one in names), options[1::2], strict=True))):
        yield


@pytest.mark.slow
def test_mutual_tls_is_seen_and_a_client_without_a_certificate_is_no_member(
    job: str, cluster: Callable[..., Any], certificate: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACME_KEY", "canary-4711")
    address, _ = cluster("--protocol", "tls", *certificate)
    with trusting(certificate):
        wait_for_workers(address)
        found = examine(Subject(job=job, scheduler=address))
    assert [one for one in found if one.level is not Level.OK] == []
    assert about(found, "connections") == ["ok encrypted with TLS"]
    outside = examine(Subject(scheduler=address))
    assert exit_code(outside) == 75
    assert f"the scheduler at {address} wants a certificate" in about(outside, "cluster")[0]


@pytest.mark.slow
def test_a_scheduler_that_has_died_is_not_waited_for(cluster: Callable[..., Any]) -> None:
    address, processes = cluster()
    wait_for_workers(address)
    processes["scheduler"].kill()
    found = examine(Subject(scheduler=address))
    assert exit_code(found) == 75, about(found, "cluster")


@pytest.mark.slow
def test_a_run_on_an_open_scheduler_warns_of_it_once(
    cluster: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, _ = cluster()
    wait_for_workers(address)
    identity = {"address": "tcp://10.0.0.1:8786"}
    with Client(address, set_as_default=False) as client:
        monkeypatch.setattr(client, "scheduler_info", lambda n_workers=-1: identity)
        run = numbers.run(pa.table({"number": [1, 2]}), output="numbers", catalog=tmp_path, client=client)
    assert [
        one for one in run.warnings if "10.0.0.1:8786 can run code on every worker as its user" in one
    ] == run.warnings
    assert len(run.warnings) == 1
