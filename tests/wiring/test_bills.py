"""The bill of a run is what the server heard, exactly, whatever was killed, lost or given back on the way."""

from __future__ import annotations

import json
import os
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

FILES, ROWS = 6, 100
PRICE = 0.01

JOB = """
import os
import dataflow as flow

api = flow.API("billed", "{url}", concurrency=8, timeout=5)
company = api.get("company", "/v2/companies/{{domain}}", returns={{"title": str}}, select={{"title": "name"}},
                  price=0.01, cache={cache})

def job(source: str) -> flow.Job:
    return flow.Job(flow.Pipeline("billing", [company]), source=source, output="billed", key="domain")
"""


class Bench:
    """A server, six files of distinct keys, and a job that pays for each of them."""

    def __init__(self, folder: Path, server: Running) -> None:
        self.folder = folder
        self.server = server
        self.started: list[subprocess.Popen[bytes]] = []
        self.write()
        (folder / "source").mkdir()
        for part in range(FILES):
            domains = [f"b{part}-{at}.example" for at in range(ROWS)]
            pq.write_table(pa.table({"domain": domains}), folder / "source" / f"{part}.parquet")

    def write(self, cache: str = '"30d"') -> None:
        (self.folder / "billing_job.py").write_text(JOB.format(url=self.server.url, cache=cache))

    def start(self, *options: str, host: str = "here") -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "dataflow", "run", "billing_job.py", "--json", "--catalog", "catalog"]
        process = subprocess.Popen(
            [*command, "--source", str(self.folder / "source"), *options],
            cwd=self.folder,
            env={**os.environ, "DATAFLOW_JOURNAL": str(self.folder / host)},
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
        """The statistics of the service, after the run has ended well."""
        out, err = process.communicate(timeout=180)
        assert process.returncode == 0, err.decode()
        told = json.loads(out)
        self.whole = told["statistics"]
        published = json.loads((Path(told["path"]).parent / "_meta/v1/statistics.json").read_bytes())
        assert self.whole["services"] == published["services"]
        assert self.whole["cost"] == published["cost"]
        service: dict[str, Any] = told["statistics"]["services"]["company"]
        return service

    def check(self, service: dict[str, Any]) -> None:
        """The bill equals what the server has heard, and every record was called for by this run."""
        calls, records = self.server.counts()["calls"], FILES * ROWS
        assert (service["calls"], service["cached"]) == (calls, 0)
        assert service["succeeded"] + service["not_found"] == records
        assert self.whole["cost"] == service["cost"] == round(PRICE * calls, 6)
        assert service.get("lost_cost", 0.0) == round(PRICE * (calls - records), 6)


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


@pytest.mark.parametrize("cache", ['"30d"', "False"])
def test_a_killed_worker_is_on_the_bill(bench: Bench, cache: str) -> None:
    bench.write(cache)
    process = bench.start("--workers", "2")
    bench.wait_for_calls(150)
    children(process)[0].kill()
    bench.check(bench.end(process))


def test_a_killed_process_on_threads_is_on_the_bill_of_the_run_that_goes_on(bench: Bench) -> None:
    killed = bench.start("--threads", "2")
    bench.wait_for_calls(150)
    killed.kill()
    killed.communicate()
    bench.check(bench.end(bench.start("--threads", "2")))


def test_a_deadline_gives_partitions_back_and_their_calls_count_once(bench: Bench) -> None:
    stopped = bench.start("--threads", "2", "--deadline", "1.2s")
    stopped.communicate(timeout=60)
    assert stopped.returncode == 4
    assert 0 < bench.server.counts()["calls"] < FILES * ROWS
    service = bench.end(bench.start("--threads", "2"))
    bench.check(service)
    assert "lost_cost" not in service


def worker(file: Path, *options: str, folder: Path, host: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "dask", "worker", "--scheduler-file", str(file), "--host", "127.0.0.1"]
    where = ["--nthreads", "1", "--no-dashboard", "--local-directory", str(folder / host)]
    return subprocess.Popen(
        [*command, *where, *options],
        env={**os.environ, "DATAFLOW_JOURNAL": str(folder / host)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=folder,
    )


@pytest.fixture
def scheduler(bench: Bench) -> Path:
    file = bench.folder / "scheduler.json"
    command = [sys.executable, "-m", "dask", "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    bench.started.append(subprocess.Popen([*command, "--scheduler-file", str(file)], stderr=subprocess.DEVNULL))
    deadline = time.monotonic() + 30
    while not file.exists() or not file.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return file


def test_two_foreign_workers_of_which_one_is_killed(bench: Bench, scheduler: Path) -> None:
    for name in ("first", "second"):
        bench.started.append(worker(scheduler, folder=bench.folder, host=name))
    process = bench.start("--scheduler-file", str(scheduler))
    bench.wait_for_calls(150)
    [killed] = psutil.Process(bench.started[1].pid).children()[-1:]
    killed.kill()
    bench.check(bench.end(process))


def test_a_worker_with_a_lifetime(bench: Bench, scheduler: Path) -> None:
    bench.server.control(latency=0.1)
    lifetime = ("--lifetime", "4s", "--lifetime-restart")
    bench.started.append(worker(scheduler, *lifetime, folder=bench.folder, host="first"))
    bench.started.append(worker(scheduler, folder=bench.folder, host="second"))
    bench.check(bench.end(bench.start("--scheduler-file", str(scheduler))))


@pytest.mark.parametrize("cache", ['"30d"', "False"])
def test_whoever_goes_on_from_another_host_pays_again_for_a_few_seconds_only(bench: Bench, cache: str) -> None:
    bench.write(cache)
    files = sorted((bench.folder / "source").glob("*.parquet"))
    pq.write_table(pa.concat_tables(map(pq.read_table, files)), files[0])
    for file in files[1:]:
        file.unlink()
    latency, at_once = 0.2, 8
    bench.server.control(latency=latency)
    killed = bench.start("--threads", "2")
    bench.wait_for_calls(500)
    killed.kill()
    killed.communicate()
    bench.server.control(latency=0.01)
    bench.check(bench.end(bench.start("--threads", "2", host="there")))
    assert bench.server.counts()["calls"] <= FILES * ROWS + at_once + 5.5 * at_once / latency
