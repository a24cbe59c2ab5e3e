"""`dataflow dashboard`: the page of a run that goes on in another process, of one that has ended, of none."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner
from distributed import LocalCluster

import dataflow as flow
from dataflow.errors import CatalogError
from dataflow.faces import serving
from dataflow.faces.cli import dataflow
from dataflow.faces.serving import answer, served
from dataflow.wiring.seeing import Seen, answering_page, seeing
from tests.faces.boards import board

JOB = """
import pathlib, time
import dataflow as flow


@flow.transformation
def waited(number: int) -> int:
    while not pathlib.Path("go").exists():
        time.sleep(0.05)
    return number


pipeline = flow.Pipeline("numbers", [waited])
job = flow.Job(pipeline, source="numbers.csv", output="numbers")
"""


@flow.transformation
def email(email: str) -> str:
    return email


def finished(folder: Path) -> flow.Run:
    return flow.Pipeline("p", [email]).run(pa.table({"email": ["a"]}), "out", catalog=str(folder))


def boards(**given: Any) -> Callable[[], dict[str, tuple[bytes, float]]]:
    return lambda: {"r": (json.dumps({**board(["email"]), **given}).encode(), 0.0)}


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "dataflow", *arguments, "--catalog", "catalog"]
        processes.append(subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def told(address: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{address}.json", timeout=30) as found:
        runs: dict[str, Any] = json.load(found)["runs"]
    return next(iter(runs.values()))


def until(wanted: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not wanted():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_run_of_another_process_is_watched_to_its_end(
    tmp_path: Path, started: Callable[..., subprocess.Popen[str]]
) -> None:
    (tmp_path / "job.py").write_text(JOB)
    (tmp_path / "numbers.csv").write_text("number\n1\n2\n")
    run = started("run", "job.py", "--no-progress")
    until(lambda: any((tmp_path / "catalog").glob("numbers/_runs/*/live.json")))
    output = started("dashboard", "latest", "--no-open").stdout
    assert output is not None
    address = output.readline().strip()
    assert address.startswith("http://127.0.0.1:")
    assert told(address)["status"] == "running"
    (tmp_path / "go").touch()
    run.communicate(timeout=60)
    assert told(address)["status"] == "published"
    assert told(address)["records"]["done"] == 2


def test_the_page_of_a_run_that_has_ended_is_served_until_nobody_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished(tmp_path)
    monkeypatch.setattr(serving, "UNASKED", 0.0)
    said = CliRunner().invoke(dataflow, ["dashboard", "latest", "--catalog", str(tmp_path)])
    assert said.exit_code == 0
    assert said.output.startswith("http://127.0.0.1:")


def test_a_run_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    finished(tmp_path)
    said = CliRunner().invoke(dataflow, ["dashboard", "nix", "--catalog", str(tmp_path)])
    assert said.exit_code == CatalogError.exit_code
    assert "CatalogError: there is no run 'nix'" in said.output


def test_a_run_without_a_board_gets_one_of_its_statistics(tmp_path: Path) -> None:
    run = finished(tmp_path)
    for shown in tmp_path.glob("out/_runs/*/live.json"):
        shown.unlink()
    with seeing(run.id, catalog=str(tmp_path)) as look:
        values = look().values
        assert not look().is_awaited
    assert (values["status"], values["version"], values["records"]["done"]) == ("published", 1, 1)
    assert [one["name"] for one in values["services"]] == ["email"]


def test_a_page_is_named_only_where_it_answers_and_knows_the_run() -> None:
    with served(boards()) as server:
        seen = Seen(run="r", board=json.dumps({"page": server.address}).encode(), heard_ago=0.0)
        assert answering_page(seen) == f"{server.address}?run=r"
        assert answering_page(replace(seen, run="another")) is None
    assert answering_page(seen) is None
    assert answering_page(replace(seen, board=b'{"page": "file:///etc/passwd"}')) is None


def test_a_run_on_a_cluster_is_looked_for_on_its_scheduler(tmp_path: Path) -> None:
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0") as cluster:
        address, pipeline = cluster.scheduler_address, flow.Pipeline("p", [email])
        run = pipeline.run(pa.table({"email": ["a"]}), "out", catalog=str(tmp_path), scheduler=address)
        arguments = ["dashboard", "--scheduler", address, "--catalog", str(tmp_path / "nothing")]
        assert CliRunner().invoke(dataflow, [*arguments, "latest"]).output == f"{run.page}?run={run.id}\n"
        missing = CliRunner().invoke(dataflow, [*arguments, "nix"])
        assert "CatalogError: the cluster has not heard of run 'nix'" in missing.output
    assert "Published after" in run.dashboard()._repr_html_()


def test_the_page_and_what_has_changed_are_answered() -> None:
    html = answer("/dataflow", boards(), nonce="n")
    assert "nonce-n" in html.headers["Content-Security-Policy"]
    first = json.loads(answer("/dataflow/panels", boards(), nonce="n").text)
    assert answer(f"/dataflow/panels?seen={first['seen']}", boards(), nonce="n").status == 204
    assert answer(f"/dataflow/panels?seen={first['seen']}", boards(seconds=1), nonce="n").status == 200
    assert answer("/", boards(), nonce="n").headers["Location"] == "/dataflow"
    assert answer("/etc/passwd", boards(), nonce="n").status == 404


def test_a_page_of_somebody_else_cannot_ask_under_another_name() -> None:
    with served(boards()) as server:
        port = server.address.rpartition(":")[2].partition("/")[0]
        connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=30)
        connection.request("GET", "/dataflow.json", headers={"Host": f"evil.example:{port}"})
        assert connection.getresponse().status == 403
        connection.close()
