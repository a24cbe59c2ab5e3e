"""A budget with real processes: spent to the cent at any concurrency, and no fresh one after a kill."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "jobs"))

from provider.serve import Running, serve

from dataflow.engine.http.settings import RUN_PURSE
from dataflow.policies.money import UNIT, trillionths
from dataflow.store.commit import RunFolder
from dataflow.store.spend import Spend, SpendFile

pytestmark = pytest.mark.slow

KEYS, PARTS, ALLOWED = 600, 6, 300

JOB = """
import os
import dataflow as flow

api = flow.API("budget", os.environ["SERVER"], concurrency=64, timeout=5)
company = api.get("company", "/v2/companies/{domain}", returns={"title": str}, select={"title": "name"}, price=0.01)

def job(source: str) -> flow.Job:
    return flow.Job(flow.Pipeline("paid", [company]), source=source, output="paid", key="domain", budget=3)
"""


class Bench:
    """A server, a job that may pay for half of its calls, and the commands that run it."""

    def __init__(self, folder: Path, server: Running) -> None:
        self.folder = folder
        self.server = server
        self.started: list[subprocess.Popen[bytes]] = []
        (folder / "paid_job.py").write_text(JOB)
        (folder / "source").mkdir()
        for part in range(PARTS):
            domains = [f"c{at}.example" for at in range(part * KEYS // PARTS, (part + 1) * KEYS // PARTS)]
            pq.write_table(pa.table({"domain": domains}), folder / "source" / f"{part}.parquet")

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "dataflow", "run", "paid_job.py", "--json", "--catalog", "catalog"]
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

    def run(self, *options: str, code: int) -> tuple[dict[str, Any], str]:
        """A run to its end: what it printed, and what it said."""
        process = self.start(*options)
        out, err = process.communicate(timeout=120)
        assert process.returncode == code, err.decode()
        return dict(json.loads(out or b"{}")), err.decode()

    @property
    def calls(self) -> int:
        return int(self.server.counts(keys=False)["calls"])

    @property
    def spend(self) -> dict[str, Spend]:
        """What the one run has written down."""
        (path,) = (self.folder / "catalog" / "paid" / "_runs").iterdir()
        return SpendFile(RunFolder(root=str(self.folder / "catalog"), dataset="paid", run=path.name, epoch=1)).read()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with serve(latency=0.03, unknown=0) as server:
        made = Bench(tmp_path, server)
        yield made
        for process in made.started:
            if process.poll() is None:
                process.kill()
            process.communicate()


@pytest.mark.parametrize("options", [("--threads", "2"), ("--workers", "2")])
def test_a_budget_is_spent_to_the_cent_and_a_larger_one_goes_on(bench: Bench, options: tuple[str, str]) -> None:
    told, said = bench.run(*options, code=4)
    assert (bench.calls, told["status"], told["statistics"]["cost"]) == (ALLOWED, "stopped", 3.0)
    assert "the budget of USD 3.00 is used up: USD 3.00 spent" in said
    assert "such as --budget 6" in said
    assert bench.spend == {RUN_PURSE: Spend(authorised=3 * UNIT, settled=3 * UNIT)}
    told, _ = bench.run(*options, "--budget", "10", code=0)
    assert (bench.calls, told["status"], told["statistics"]["total_records"]) == (KEYS, "published", KEYS)


@pytest.mark.parametrize("options", [("--threads", "2"), ("--workers", "2")])
def test_a_killed_driver_begins_no_fresh_budget_and_loses_little_of_it(bench: Bench, options: tuple[str, str]) -> None:
    process = bench.start(*options)
    while bench.calls < 100:
        assert process.poll() is None, process.communicate()
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate()
    written = bench.spend[RUN_PURSE]
    assert UNIT <= written.authorised <= 3 * UNIT
    for child in children:
        psutil.wait_procs([child], timeout=10)
    told, _ = bench.run(*options, code=4)
    assert bench.calls == ALLOWED
    assert told["statistics"]["cost"] == 3.0
    assert bench.spend[RUN_PURSE] == Spend(authorised=3 * UNIT, settled=3 * UNIT)
    bench.run(*options, "--budget", "20", code=0)


def test_what_a_crash_has_left_counts_as_spent_and_is_said(bench: Bench) -> None:
    bench.run("--threads", "2", "--budget", "1", code=4)
    (path,) = (bench.folder / "catalog" / "paid" / "_runs").iterdir()
    folder = RunFolder(root=str(bench.folder / "catalog"), dataset="paid", run=path.name, epoch=1)
    SpendFile(folder).write({RUN_PURSE: Spend(authorised=trillionths(1.37), settled=UNIT)})
    for noted in (path / "calls").iterdir():
        # As a process has left it that ran, or still runs, on another machine.
        noted.write_bytes(noted.read_bytes().replace(b'"place":"', b'"place":"elsewhere').replace(b"closed", b"open  "))
    before = bench.calls
    _, said = bench.run("--threads", "2", "--budget", "2", code=4)
    assert bench.calls - before == 63
    assert "USD 2.00 spent (USD 0.37 of it cannot be accounted for after a crash)" in said


def test_what_an_older_version_wrote_in_millionths_is_read_as_that(bench: Bench) -> None:
    bench.run("--threads", "2", "--budget", "1", code=4)
    (path,) = (bench.folder / "catalog" / "paid" / "_runs").iterdir()
    (path / "spend").write_bytes(
        b'{"run":{"authorised":1370000,"settled":1370000}}'.replace(b"run", RUN_PURSE.encode())
    )
    before = bench.calls
    bench.run("--threads", "2", "--budget", "2", code=4)
    assert bench.calls - before == 63


def test_a_damaged_file_gives_no_fresh_budget(bench: Bench) -> None:
    bench.run("--threads", "2", "--budget", "1", code=4)
    (path,) = (bench.folder / "catalog" / "paid" / "_runs").iterdir()
    (path / "spend").write_bytes(b"{")
    _, said = bench.run("--threads", "2", "--budget", "2", code=1)
    assert "is damaged, so nobody knows what this run has spent" in said
    assert bench.calls == 100
