"""A notebook: cells in a real kernel, under its running event loop, and its interrupt while calls are made."""

from __future__ import annotations

import queue
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "jobs"))

from provider.serve import Running, serve

jupyter_client = pytest.importorskip("jupyter_client", reason="no client for notebook kernels is installed")
pytest.importorskip("ipykernel", reason="no notebook kernel is installed")

pytestmark = pytest.mark.slow

KEYS = 300

CELL = """
import pandas as pd
import pyarrow as pa
import dataflow as flow

api = flow.API("notebook", {url!r}, concurrency=10, timeout=20)
company = api.get("company", "/v2/companies/{{domain}}", returns={{"title": str}}, select={{"title": "name"}})
pipeline = flow.Pipeline("notebook", [company])
job = flow.Job(pipeline, source="source", output="out", key="domain")
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a cell ended: the name of its error or None, the lines of its traceback, and all that it has shown."""

    error: str | None
    traceback: list[str]
    shown: str


class Kernel:
    """A kernel whose cells call a server."""

    def __init__(self, folder: Path, server: Running) -> None:
        self.server = server
        self.manager = jupyter_client.KernelManager(kernel_name="python3")
        self.manager.start_kernel(cwd=str(folder))
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)
        self.cell(CELL.format(url=server.url))

    def start(self, code: str) -> str:
        """Execute a cell; its id."""
        return str(self.client.execute(code))

    def end(self, cell: str, *, seconds: float = 60.0) -> Ended:
        """Wait until a cell has ended."""
        error, traceback, shown, deadline = None, [], "", time.monotonic() + seconds
        while True:
            try:
                message = self.client.get_iopub_msg(timeout=max(0.1, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"the cell did not end; it has shown {shown}") from None
            content: dict[str, Any] = message["content"]
            if message["parent_header"].get("msg_id") != cell:
                continue
            if message["msg_type"] == "status" and content["execution_state"] == "idle":
                return Ended(error=error, traceback=traceback, shown=shown)
            if message["msg_type"] == "error":
                error, traceback = content["ename"], content["traceback"]
            shown += content.get("text", "") + str(content.get("data", {}))

    def cell(self, code: str) -> Ended:
        """Execute a cell to its end, which is no error."""
        ended = self.end(self.start(code))
        assert ended.error is None, ended.traceback
        return ended

    def wait_for_calls(self, count: int) -> None:
        deadline = time.monotonic() + 60
        while self.calls < count:
            assert time.monotonic() < deadline, "the server was not called in time"
            time.sleep(0.02)

    @property
    def calls(self) -> int:
        return int(self.server.counts()["calls"])

    def interrupt(self) -> None:
        self.manager.interrupt_kernel()

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()
        self.client.context.destroy()


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    root = str(Path(__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", root)
    monkeypatch.setenv("DATAFLOW_JOURNAL", str(tmp_path / "journal"))
    (tmp_path / "source").mkdir()
    for part in range(6):
        domains = [f"n{at}.example" for at in range(part * KEYS // 6, (part + 1) * KEYS // 6)]
        pq.write_table(pa.table({"domain": domains}), tmp_path / "source" / f"{part}.parquet")
    with serve(latency=0.1) as server:
        made = Kernel(tmp_path, server)
        yield made
        made.close()


@pytest.mark.parametrize("settings", ["threads=2", "workers=1"])
def test_an_interrupted_run_loses_no_answer_and_the_same_cell_goes_on(kernel: Kernel, settings: str) -> None:
    cell = kernel.start(f"job.run({settings})")
    kernel.wait_for_calls(60)
    kernel.interrupt()
    ended = kernel.end(cell)
    assert ended.error == "Interrupted"
    assert len(ended.traceback) == 1
    assert "run the same command again to go on" in ended.traceback[0]
    assert "stopping: no new calls begin" in ended.shown
    before = kernel.calls
    assert before < KEYS
    time.sleep(0.5)
    assert kernel.calls == before
    assert "published" in kernel.cell(f"job.run({settings})").shown
    assert kernel.calls == KEYS


def test_the_second_interrupt_stops_a_run_at_once(kernel: Kernel) -> None:
    kernel.server.control(latency=8)
    cell = kernel.start("job.run(threads=1)")
    kernel.wait_for_calls(5)
    kernel.interrupt()
    time.sleep(0.5)
    at = time.monotonic()
    kernel.interrupt()
    assert kernel.end(cell).error == "KeyboardInterrupt"
    assert time.monotonic() - at < 5
    kernel.server.control(latency=0.01)
    kernel.cell("job.run(threads=1)")


def test_a_run_in_the_background_outlives_an_interrupt_and_ends_when_it_is_stopped(kernel: Kernel) -> None:
    kernel.cell("run = job.run(wait=False, threads=2)")
    cell = kernel.start("run.wait()")
    kernel.wait_for_calls(30)
    kernel.interrupt()
    assert kernel.end(cell).error == "KeyboardInterrupt"
    kernel.interrupt()
    kernel.wait_for_calls(60)
    assert "running" in kernel.cell("print(run.status)").shown
    kernel.cell("run.stop()")
    assert kernel.end(kernel.start("run.wait()")).error == "Interrupted"
    before = kernel.calls
    assert before < KEYS
    kernel.cell("job.run()")
    assert kernel.calls == KEYS


@pytest.mark.parametrize(
    "code",
    [
        "pipeline.call({'domain': 'n1.example'})",
        "pipeline.apply(pd.DataFrame({'domain': [f'n{at}.example' for at in range(50)]}))",
        "pipeline.sample('source', 20)",
    ],
)
def test_an_interrupt_ends_the_calls_of_a_cell_at_once(kernel: Kernel, code: str) -> None:
    kernel.server.control(latency=15)
    cell = kernel.start(code)
    kernel.wait_for_calls(1)
    at = time.monotonic()
    kernel.interrupt()
    assert kernel.end(cell).error == "KeyboardInterrupt"
    assert time.monotonic() - at < 5
    kernel.server.control(latency=0.01)
    before = kernel.calls
    time.sleep(0.3)
    assert kernel.calls == before
    kernel.cell(code)


def test_everything_works_while_the_loop_of_the_kernel_runs(kernel: Kernel) -> None:
    kernel.server.control(latency=0.01)
    told = kernel.cell(
        "import asyncio\n"
        "assert asyncio.get_running_loop().is_running()\n"
        "one = pipeline.call({'domain': 'n1.example'}).data['title']\n"
        "other = (await pipeline.acall({'domain': 'n1.example'})).data['title']\n"
        "frame = pipeline.apply(pd.DataFrame({'domain': ['n1.example']}))\n"
        "sample = pipeline.sample('source', 3)\n"
        "quoted = [pipeline.quote('source').records, job.quote(sample=2).records]\n"
        "run = job.run(on_event=lambda event: None)\n"
        "found = {row['domain']: row['title'] for row in run.to_arrow().to_pylist()}\n"
        "print(one == other == frame['title'][0] == found['n1.example'], sample.table.num_rows, quoted, len(found))\n"
    )
    assert f"True 3 [{KEYS}, {KEYS}] {KEYS}" in told.shown


def test_everything_works_in_a_notebook_that_has_a_cluster(kernel: Kernel) -> None:
    kernel.server.control(latency=0.01)
    kernel.cell(
        "from distributed import Client, LocalCluster\n"
        "cluster = LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address='127.0.0.1:0')\n"
        "client = Client(cluster)\n"
    )
    told = kernel.cell(
        "one = pipeline.call({'domain': 'n1.example'}).data['title']\n"
        "other = (await pipeline.acall({'domain': 'n1.example'})).data['title']\n"
        "sample, quote, run = pipeline.sample('source', 3), job.quote(), job.run()\n"
        "found = {row['domain']: row['title'] for row in run.to_arrow().to_pylist()}\n"
        "print(one == other == found['n1.example'], sample.table.num_rows, quote.records, len(found), client.status)\n"
    )
    assert f"True 3 {KEYS} {KEYS} running" in told.shown
    kernel.cell("client.close()\ncluster.close()")


def test_a_live_run_is_followed_in_the_cell_that_shows_it(kernel: Kernel) -> None:
    shown = kernel.cell("run = job.run(wait=False, threads=2)\nrun").shown
    assert "<progress" in shown
    assert "running by run" in shown
    cell = kernel.start("run.wait().status")
    told = kernel.end(cell)
    assert "published" in told.shown
    assert "<progress" not in kernel.cell("run").shown
