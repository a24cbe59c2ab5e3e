"""Real Dask processes for the tests of this folder, ended by their process ids."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

FACTORY = """
from dataflow.engine.result import Completion
from dataflow.telemetry.statistics import Statistics

def prepare(job, setup, worker):
    def work(spec):
        rows = job.run(spec, setup)
        return Completion(identity=spec.identity, index=spec.index, rows=rows, rejected=0, statistics=Statistics())
    return work

def prepare_in_vain(job, setup, worker):
    open("/no/such/folder/file")
"""
"""A factory for jobs with a method `run(spec, setup)` that returns a number of rows, and one that fails."""

HIDDEN = """
import sys

class Hiding:
    # As where nothing is installed: dataflow is found only where a client has sent it.
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        spec = self.finder.find_spec(name, path, target)
        return None if name == "dataflow" and spec and "dataflow-" not in str(spec.origin) else spec

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = [Hiding(finder) for finder in sys.meta_path]
"""


@dataclass
class Processes:
    """A scheduler and workers in processes that know nothing of dataflow."""

    folder: Path
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def file(self) -> Path:
        return self.folder / "scheduler.json"

    @property
    def address(self) -> str:
        return str(json.loads(self.file.read_text())["address"])

    def start_scheduler(self) -> subprocess.Popen[bytes]:
        process = self._start("dask_scheduler", "--host", "127.0.0.1", "--port", "0")
        wait_until(self.file.exists)
        return process

    def start_worker(self, name: str) -> subprocess.Popen[bytes]:
        folder = self.folder / name
        folder.mkdir()
        options = ["--host", "127.0.0.1", "--nthreads", "1", "--name", name, "--local-directory", str(folder)]
        return self._start("dask_worker", *options)

    def _start(self, command: str, *options: str) -> subprocess.Popen[bytes]:
        arguments = ["--scheduler-file", str(self.file), "--no-dashboard", *options]
        with (self.folder / f"{len(self.running)}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.{command}", *arguments],
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": str(self.folder / "path")},
                stdout=log,
                stderr=log,
            )
        self.running.append(process)
        return process

    def end(self) -> None:
        for process in self.running:
            # A worker's process ends by itself when its nanny is gone.
            process.kill()
            process.wait()


@pytest.fixture
def foreign(tmp_path: Path) -> Iterator[Processes]:
    """A scheduler that has never heard of dataflow, with one worker."""
    path = tmp_path / "path"
    path.mkdir()
    (path / "sitecustomize.py").write_text(HIDDEN)
    (path / "partition_factory.py").write_text(FACTORY)
    processes = Processes(tmp_path)
    processes.start_scheduler()
    processes.start_worker("first")
    yield processes
    processes.end()


@pytest.fixture(scope="session")
def factory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of a factory that processes started from here can import."""
    folder = tmp_path_factory.mktemp("factory")
    (folder / "partition_factory.py").write_text(FACTORY)
    sys.path.insert(0, str(folder))
    yield "partition_factory:prepare"
    sys.path.remove(str(folder))


@pytest.fixture
def write_job(tmp_path: Path) -> Callable[..., Path]:
    """Writes a job file whose partitions run the given lines, and gives its path."""

    def write(*lines: str, top: str = "import os") -> Path:
        path = tmp_path / "a_job.py"
        body = "\n".join(f"        {line}" for line in lines)
        path.write_text(f"{top}\n\nclass Job:\n    def run(self, spec, setup):\n{body}\n\njob = Job()\n")
        return path

    return write


def wait_until(condition: Callable[[], object], *, seconds: float = 60.0) -> None:
    """Wait for something that another process does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture
def until() -> Callable[..., None]:
    """Waits for something that another process does."""
    return wait_until
