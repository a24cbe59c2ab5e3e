"""Whatever is killed while calls are made: the server hears little twice, and never more at once than allowed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "jobs"))

from provider.serve import Running, serve

pytestmark = pytest.mark.slow

KEYS, CAP = 2_400, 40
PER_SECOND = CAP / 0.05

JOB = """
import os
import dataflow as flow

api = flow.API("kills", os.environ["SERVER"], concurrency=40, timeout=1)
company = api.get("company", "/v2/companies/{domain}", returns={"title": str}, select={"title": "name"})

def job(source: str) -> flow.Job:
    return flow.Job(flow.Pipeline("calling", [company]), source=source, output="calling", key="domain")
"""

# Answers that hold a dict, and that serve their own run only.
OF_WORDS = """
import os
import httpx
import dataflow as flow

api = flow.API("kills", os.environ["SERVER"], concurrency=40, timeout=1)

@flow.enrichment(api=api, cache=False)
async def words(domain: str, http: httpx.AsyncClient) -> dict[str, list[str]]:
    found = (await http.get(f"/v2/companies/{domain}")).json()
    return {"names": [str(found.get("name"))]}

def job(source: str) -> flow.Job:
    return flow.Job(flow.Pipeline("calling", [words]), source=source, output="calling", key="domain")
"""


class Bench:
    """A server, a job that asks it about every key once, and what both say afterwards."""

    def __init__(self, folder: Path, server: Running) -> None:
        self.folder = folder
        self.server = server
        self.started: list[subprocess.Popen[bytes]] = []
        self.declare(JOB)
        (folder / "source").mkdir()
        for part in range(8):
            domains = [f"c{at}.example" for at in range(part * KEYS // 8, (part + 1) * KEYS // 8)]
            pq.write_table(pa.table({"domain": domains}), folder / "source" / f"{part}.parquet")

    def declare(self, job: str) -> None:
        (self.folder / "calling_job.py").write_text(job)

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "dataflow", "run", "calling_job.py", "--json", "--catalog", "catalog"]
        environment = {**os.environ, "SERVER": self.server.url, "DATAFLOW_JOURNAL": str(self.folder / "journal")}
        process = subprocess.Popen(
            [*command, "--source", str(self.folder / "source"), *options],
            cwd=self.folder,
            env=environment,
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

    def check(self, *options: str, repeated: float) -> None:
        """The same command ends the run; every key was answered, and at most so many calls were made again."""
        process = self.start(*options)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err.decode()
        self.check_published(json.loads(out), repeated=repeated)

    def check_published(self, told: dict[str, Any], *, repeated: float) -> None:
        found = pa.concat_tables(map(pq.read_table, sorted(Path(told["path"]).glob("*.parquet"))))
        assert sorted(found["domain"].to_pylist()) == sorted(f"c{at}.example" for at in range(KEYS))
        counts = self.server.counts()
        assert counts["services"]["/v2/companies"]["by_key"].keys() == set(found["domain"].to_pylist())
        assert counts["max_in_flight"] <= CAP
        assert counts["calls"] <= KEYS + repeated


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with serve(latency=0.05) as server:
        made = Bench(tmp_path, server)
        yield made
        for process in made.started:
            if process.poll() is None:
                process.kill()
            process.communicate()


def children(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The worker processes, which have more threads than the others."""
    found = psutil.Process(process.pid).children(recursive=True)
    return sorted(found, key=lambda one: one.num_threads(), reverse=True)[:2]


IN_FLIGHT_AND_UNSYNCED = CAP + PER_SECOND * 0.5
"""What a kill may cost: the calls in flight and those of the last quarter of a second, with some slack."""


def test_a_killed_client_takes_its_calls_with_it_and_the_next_run_repeats_only_those(bench: Bench) -> None:
    process = bench.start("--workers", "2")
    bench.wait_for_calls(600)
    process.kill()
    at = time.monotonic()
    process.communicate()
    time.sleep(1)
    assert [call for call in bench.server.log() if call[0] > at + 0.5] == []
    bench.check("--workers", "2", repeated=IN_FLIGHT_AND_UNSYNCED)


def test_answers_that_hold_a_dict_and_serve_their_run_only_are_not_paid_for_again(bench: Bench) -> None:
    bench.declare(OF_WORDS)
    process = bench.start("--workers", "2")
    bench.wait_for_calls(600)
    process.kill()
    process.communicate()
    time.sleep(1)
    bench.check("--workers", "2", repeated=IN_FLIGHT_AND_UNSYNCED)


def test_a_killed_process_on_threads_costs_no_more(bench: Bench) -> None:
    process = bench.start("--threads", "2")
    bench.wait_for_calls(600)
    process.kill()
    process.communicate()
    bench.check("--threads", "2", repeated=IN_FLIGHT_AND_UNSYNCED)


def test_a_killed_worker_costs_no_more_and_its_share_is_not_used_twice(bench: Bench) -> None:
    process = bench.start("--workers", "2")
    bench.wait_for_calls(600)
    children(process)[0].kill()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err.decode()
    bench.check_published(json.loads(out), repeated=IN_FLIGHT_AND_UNSYNCED)


@pytest.mark.parametrize("options", [("--threads", "2"), ("--workers", "2")])
def test_the_first_interrupt_loses_no_answer(bench: Bench, options: tuple[str, str]) -> None:
    process = bench.start(*options)
    bench.wait_for_calls(600)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 5, err.decode()
    assert bench.server.counts()["calls"] < KEYS
    bench.check(*options, repeated=0)


@pytest.mark.parametrize("options", [("--threads", "2"), ("--workers", "2")])
def test_the_second_interrupt_stops_the_calls_at_once(bench: Bench, options: tuple[str, str]) -> None:
    bench.server.control(latency=0.8)
    process = bench.start(*options)
    bench.wait_for_calls(60)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    at = time.monotonic()
    process.communicate(timeout=60)
    bench.server.control(latency=0.01)
    assert [call for call in bench.server.log() if call[0] > at + 0.5] == []


def test_a_deadline_ends_the_run_with_4_and_loses_no_answer(bench: Bench) -> None:
    process = bench.start("--threads", "2", "--deadline", "1.5s")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 4, err.decode()
    assert b"deadline of 1.5s" in err
    assert 0 < bench.server.counts()["calls"] < KEYS
    bench.check("--threads", "2", repeated=0)
