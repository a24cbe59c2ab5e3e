"""A stage for the checks of the promises: a provider, a job that calls it, and processes that always end.

What is judged comes from the provider's log; here nothing is judged.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from judging import Interval
from measuring import DATAFLOW, ROOT

sys.path.insert(0, str(ROOT))

from jobs.provider.serve import Running, serve

PATIENCE = 180.0
"""Seconds for anything that a check waits for."""
SETTLE = 1.5
"""Seconds after the end of a run in which calls that should have stopped would still arrive."""

JOB = """
import os
import dataflow as flow

api = flow.API("promises", "{url}", {limits})
company = api.get(
    "company", "/v2/companies/{{domain}}", returns={{"title": str}}, select={{"title": "name"}}, priority="critical"
)


@flow.transformation
def process(domain: str) -> int:
    return os.getpid()


def job(source: str) -> flow.Job:
    return flow.Job(flow.Pipeline("promises", [process, company]), source=source, output="promises", key="domain")
"""


class Stage:
    """A folder with a source and a job of one service, and the provider that the job calls.

    Args:
        folder: An empty one.
        provider: Who is called.
    """

    def __init__(self, folder: Path, provider: Running) -> None:
        self.folder = folder
        self.provider = provider
        self._started: list[subprocess.Popen[bytes]] = []

    def write(self, *, limits: str, keys: int, parts: int, job: str = JOB) -> None:
        """Write the job, and a source of distinct keys in so many files, each of which is a partition."""
        (self.folder / "promises_job.py").write_text(job.format(url=self.provider.url, limits=limits))
        (self.folder / "source").mkdir()
        for part in range(parts):
            domains = [f"c{at}.example" for at in range(part * keys // parts, (part + 1) * keys // parts)]
            pq.write_table(pa.table({"domain": domains}), self.folder / "source" / f"{part:02d}.parquet")

    def run(self, *options: str) -> subprocess.Popen[bytes]:
        """The job, running in a process group of its own, as a terminal would start it."""
        return self.start(
            [*DATAFLOW, "run", "promises_job.py", "--json", "--no-progress", "--source", "source", *options]
        )

    def start(self, command: list[str]) -> subprocess.Popen[bytes]:
        """A command in this folder; what it says is kept in a file until the stage is cleared."""
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        environment = {**os.environ, "PYTHONPATH": path, "DATAFLOW_JOURNAL": str(self.folder / "journal")}
        number = len(self._started)
        with (self.folder / f"{number}.out").open("wb") as out, (self.folder / f"{number}.err").open("wb") as err:
            process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=out, stderr=err, start_new_session=True
            )
        self._started.append(process)
        return process

    def said(self, process: subprocess.Popen[bytes], *, on: str = "err") -> str:
        """What a process has printed."""
        return (self.folder / f"{self._started.index(process)}.{on}").read_text()

    def finish(self, process: subprocess.Popen[bytes]) -> pa.Table:
        """The output of a run, once it has ended well.

        Raises:
            RuntimeError: It has not.
        """
        if process.wait(timeout=PATIENCE):
            raise RuntimeError(f"the run ended with {process.returncode}: {self.said(process)}")
        told: dict[str, Any] = json.loads(self.said(process, on="out"))
        return pa.concat_tables(map(pq.read_table, sorted(Path(told["path"]).glob("*.parquet"))))

    def wait_for_calls(self, count: int, *, process: subprocess.Popen[bytes]) -> None:
        """Wait until the provider has heard so many.

        Raises:
            RuntimeError: The run has ended before, or it takes too long.
        """
        end = time.monotonic() + PATIENCE
        while self.provider.counts(keys=False)["calls"] < count:
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the provider was not called in time: {self.said(process)}")
            time.sleep(0.05)

    def workers(self, process: subprocess.Popen[bytes]) -> list[int]:
        """The processes below a run that have a connection to the provider: those that call it."""
        port = int(self.provider.url.rpartition(":")[2])
        found = []
        for child in psutil.Process(process.pid).children(recursive=True):
            try:
                to = [one.raddr.port for one in child.net_connections("tcp") if one.raddr]
            except psutil.NoSuchProcess:
                continue
            if port in to:
                found.append(child.pid)
        return found

    def kill_worker(self, process: subprocess.Popen[bytes]) -> float:
        """SIGKILL one of the processes that call; when that was.

        Raises:
            RuntimeError: None calls.
        """
        for pid in self.workers(process):
            os.kill(pid, signal.SIGKILL)
            return time.monotonic()
        raise RuntimeError("no worker process has a connection to the provider")

    def settled(self) -> list[list[Any]]:
        """The log, once nothing is in flight."""
        end = time.monotonic() + PATIENCE
        while self.provider.counts(keys=False)["in_flight"]:
            if time.monotonic() > end:
                raise RuntimeError("calls never end at the provider")
            time.sleep(0.05)
        return self.provider.log()

    def clear(self) -> None:
        """End what is still running, and all that it has started."""
        for process in self._started:
            below = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
            for one in below:
                try:
                    one.kill()
                except psutil.NoSuchProcess:
                    continue
            process.kill()
            process.wait()


@contextmanager
def stage(**settings: Any) -> Iterator[Stage]:
    """A stage for the length of a `with` block; the settings are those of the provider."""
    with serve(unknown=0, **settings) as provider, tempfile.TemporaryDirectory() as folder:
        made = Stage(Path(folder), provider)
        try:
            yield made
        finally:
            made.clear()


@contextmanager
def cluster(on: Stage, *, workers: int) -> Iterator[str]:
    """The address of a scheduler with workers that are processes of their own, ended with the stage."""
    file = on.folder / "scheduler.json"
    start = [sys.executable, "-m", "dask"]
    shared = ["--scheduler-file", str(file), "--host", "127.0.0.1", "--no-dashboard"]
    on.start([*start, "scheduler", "--port", "0", *shared])
    end = time.monotonic() + PATIENCE
    while not file.exists() or not file.read_text():
        if time.monotonic() > end:
            raise RuntimeError("the scheduler did not start in time")
        time.sleep(0.05)
    for _ in range(workers):
        on.start([*start, "worker", "--nthreads", "1", "--local-directory", str(on.folder), *shared])
    yield str(json.loads(file.read_text())["address"])


def intervals(log: list[list[Any]]) -> list[Interval]:
    """Arrival and end of each call."""
    return [(entry[0], entry[5]) for entry in log]
