"""Whatever is killed while effects are made: the provider sees none twice, and those in doubt are reported."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dataflow as flow
from dataflow.faces.cli import run_command

sys.path.insert(0, str(Path(__file__).parents[2] / "jobs"))

from provider.serve import Running, serve

pytestmark = pytest.mark.slow

RECORDS, CAP, PHONES = 1_200, 40, "/v2/phones/check"
IN_DOUBT = CAP + 2 * CAP / 0.05 * 0.25
"""Those in flight, and those that were answered in the last quarter of a second, whose notes were not yet durable."""

JOB = """
import os
import signal
import dataflow as flow

api = flow.API("effects", os.environ["SERVER"], concurrency=40, timeout=5)
checked = api.post("checked", "/v2/phones/check", json={{"phone": "{{phone}}"}}, returns={{"valid": bool}}{option})

def job(source: str) -> flow.Job:
    pipeline = flow.Pipeline("effects", [checked])
    return flow.Job(pipeline, source=source, output="effects", key="phone", max_failures=9999)
"""


class Bench:
    """A server that counts, and a job that has an effect there for every record."""

    def __init__(self, folder: Path, server: Running) -> None:
        self.folder = folder
        self.server = server
        self.started: list[subprocess.Popen[bytes]] = []
        (folder / "source").mkdir()
        for part in range(6):
            phones = [f"+49{at}" for at in range(part * RECORDS // 6, (part + 1) * RECORDS // 6)]
            pq.write_table(pa.table({"phone": phones}), folder / "source" / f"{part}.parquet")

    def declare(self, option: str) -> None:
        (self.folder / "effects_job.py").write_text(JOB.format(option=option))

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        return self.command("run", "effects_job.py", "--source", str(self.folder / "source"), *options)

    def command(self, *arguments: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "dataflow", *arguments, "--json", "--catalog", "catalog"],
            cwd=self.folder,
            env={**os.environ, "SERVER": self.server.url, "DATAFLOW_JOURNAL": str(self.folder / "journal")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.started.append(process)
        return process

    def wait_for_calls(self, count: int) -> None:
        deadline = time.monotonic() + 60
        while self.server.counts()["calls"] < count:
            assert time.monotonic() < deadline, "the server was not called in time"
            time.sleep(0.02)

    def end(self, process: subprocess.Popen[bytes]) -> dict[str, Any]:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err.decode()
        return dict(json.loads(out))

    def sent(self) -> Counter[str]:
        return Counter(self.server.counts()["services"][PHONES]["by_key"])

    def failed(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = flow.open("effects", catalog=self.folder / "catalog").failures().to_pylist()
        return rows

    def check(self, told: dict[str, Any]) -> list[str]:
        """No effect twice, and each that was answered is known; gives those in doubt."""
        sent, failed = self.sent(), self.failed()
        assert max(sent.values()) == 1
        assert {row["reason"] for row in failed} <= {"unknown"}
        doubtful = [row["phone"] for row in failed]
        assert len(doubtful) <= IN_DOUBT
        everything = {f"+49{at}" for at in range(RECORDS)}
        assert sent.keys() >= everything - set(doubtful)
        counts = told["statistics"]["services"]["checked"]
        assert counts["succeeded"] + counts["cached"] + counts["failed"] == RECORDS
        return doubtful


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with serve(latency=0.05) as server:
        made = Bench(tmp_path, server)
        made.declare(", idempotent=False")
        yield made
        for process in made.started:
            if process.poll() is None:
                process.kill()
            process.communicate()


def kill_all(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


def kill_a_worker(process: subprocess.Popen[bytes]) -> None:
    children = psutil.Process(process.pid).children(recursive=True)
    max(children, key=lambda one: one.num_threads()).kill()


@pytest.mark.parametrize("options", [("--threads", "2"), ("--workers", "2")])
def test_a_killed_run_goes_on_without_any_effect_twice(bench: Bench, options: tuple[str, str]) -> None:
    process = bench.start(*options)
    bench.wait_for_calls(500)
    kill_all(process)
    assert bench.check(bench.end(bench.start(*options)))


def test_a_run_that_is_killed_again_and_again_sends_nothing_twice(bench: Bench) -> None:
    for count in (200, 500, 800):
        process = bench.start("--threads", "2")
        bench.wait_for_calls(count)
        kill_all(process)
    sent, failed = bench.end(bench.start("--threads", "2")), bench.failed()
    assert max(bench.sent().values()) == 1
    assert {row["reason"] for row in failed} == {"unknown"}
    assert sent["statistics"]["total_records"] == RECORDS


def test_another_worker_that_takes_over_sends_nothing_twice(bench: Bench) -> None:
    process = bench.start("--workers", "2")
    bench.wait_for_calls(500)
    kill_a_worker(process)
    assert bench.check(bench.end(process))


def test_publishing_a_killed_run_reports_what_is_in_doubt_and_sends_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    process = bench.start("--threads", "2")
    bench.wait_for_calls(500)
    kill_all(process)
    before = bench.sent()
    monkeypatch.chdir(bench.folder)
    monkeypatch.setenv("SERVER", bench.server.url)
    assert run_command(["publish", "latest", "--catalog", "catalog", "--no-progress"]) == 0
    assert bench.sent() == before
    reasons = Counter(row["reason"] for row in bench.failed())
    assert reasons.keys() == {"unknown", "run stopped"}
    assert "may have taken effect" in capsys.readouterr().out


def test_with_an_idempotency_key_what_was_in_flight_is_sent_again_under_the_same_key(bench: Bench) -> None:
    bench.declare("")
    process = bench.start("--threads", "2")
    bench.wait_for_calls(500)
    kill_all(process)
    bench.end(bench.start("--threads", "2"))
    keys: defaultdict[str, set[str]] = defaultdict(set)
    for _, _, phone, _, headers, _ in bench.server.log():
        keys[phone].add(headers["idempotency-key"])
    assert len(keys) == RECORDS
    assert all(len(found) == 1 for found in keys.values())
    assert bench.failed() == []
    assert bench.server.counts()["calls"] > RECORDS


@pytest.mark.parametrize("options", [("--threads", "2"), ("--workers", "2")])
def test_the_first_interrupt_leaves_nothing_in_doubt(bench: Bench, options: tuple[str, str]) -> None:
    process = bench.start(*options)
    bench.wait_for_calls(500)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 5, err.decode()
    assert bench.check(bench.end(bench.start(*options))) == []
    assert sum(bench.sent().values()) == RECORDS


def test_a_repair_by_other_processes_calls_only_what_has_failed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.declare(", retry=1")
    failing = {f"+49{at}": "always_500" for at in (7, 300, 301)}
    bench.server.control(keys=failing)
    bench.end(bench.start("--workers", "2"))
    bench.server.control(keys=dict.fromkeys(failing))
    monkeypatch.chdir(bench.folder)
    monkeypatch.setenv("SERVER", bench.server.url)
    monkeypatch.setenv("DATAFLOW_JOURNAL", str(bench.folder / "journal"))
    assert run_command(["repair", "latest", "--catalog", "catalog", "--workers", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["version"] == 2
    assert bench.sent() == {f"+49{at}": 2 if f"+49{at}" in failing else 1 for at in range(RECORDS)}
    assert bench.failed() == []


@pytest.mark.parametrize("option", [", retry=1", ", idempotent=False, retry=1"])
def test_a_killed_repair_goes_on_and_sends_nothing_twice(bench: Bench, option: str) -> None:
    bench.declare(option)
    failing = {f"+49{at}": "status:422" for at in range(0, RECORDS, 3)}
    bench.server.control(keys=failing)
    bench.end(bench.start("--threads", "2"))
    before = sum(bench.sent().values())
    bench.server.control(keys=dict.fromkeys(failing))
    process = bench.command("repair", "latest", "--threads", "2")
    bench.wait_for_calls(before + 150)
    kill_all(process)
    told = bench.end(bench.command("repair", "latest", "--threads", "2"))
    assert told["version"] == 2
    most = max(bench.sent().values())
    if "idempotent" in option:
        assert most == 2
        assert {row["reason"] for row in bench.failed()} == {"unknown"}
        assert len(bench.failed()) <= IN_DOUBT
    else:
        assert bench.failed() == []
        assert sum(bench.sent().values()) <= before + len(failing) + IN_DOUBT
    records = flow.open("effects", catalog=bench.folder / "catalog").to_arrow()["phone"].to_pylist()
    assert records == [f"+49{at}" for at in range(RECORDS)]
