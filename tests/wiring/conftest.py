"""A job whose partitions take a moment, a command that runs it, and a look at what it has committed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

RECORDS, FILES = 2_000, 20

JOB = """
import os, pathlib, time
import dataflow as flow

HERE = pathlib.Path(__file__).parent if "__file__" in globals() else pathlib.Path(".")


@flow.transformation
def double(number: int) -> int:
    time.sleep(0.001)
    return 2 * number


@flow.transformation
def process(number: int) -> int:
    return os.getpid()


@flow.validation
def small(number: int) -> str | None:
    return None if number < 1_900 else "too large"


@flow.enrichment
def kind(number: int) -> str:
    if number % 100 == 7:
        raise flow.NotFound
    if number % 500 == 11:
        raise flow.Reject("eleven")
    return "odd" if number % 2 else "even"


pipeline = flow.Pipeline("numbers", [double, process, small, kind])


def job(source: str) -> flow.Job:
    return flow.Job(pipeline, source=source, output="numbers", key="number")
"""


class Bench:
    """A folder with a source, a job and a catalog."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.catalog = folder / "catalog"
        self.started: list[subprocess.Popen[bytes]] = []
        (folder / "source").mkdir()
        (folder / "numbers_job.py").write_text(JOB)
        size = RECORDS // FILES
        for at in range(FILES):
            table = pa.table({"number": range(at * size, (at + 1) * size), "text": [f"n{at}"] * size})
            pq.write_table(table, folder / "source" / f"part-{at:02d}.parquet")

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        """The command, running."""
        command = [sys.executable, "-m", "dataflow", "run", "numbers_job.py", "--source", str(self.folder / "source")]
        command += ["--catalog", str(self.catalog), "--json", *options]
        process = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.started.append(process)
        return process

    def run(self, *options: str, code: int = 0) -> dict[str, Any]:
        """The command to its end, with what it printed on stdout."""
        process = self.start(*options)
        out, err = process.communicate(timeout=120)
        assert process.returncode == code, err.decode()
        return dict(json.loads(out)) if code == 0 else {"stderr": err.decode()}

    def command(self, *arguments: str, code: int = 0, **environment: str) -> str:
        """Another command to its end, in a process of its own; what it printed on stdout."""
        done = subprocess.run(
            [sys.executable, "-m", "dataflow", *arguments],
            cwd=self.folder,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, done.stderr + done.stdout
        return done.stdout if code == 0 else done.stderr

    def commits(self) -> int:
        """Commit records of unfinished runs."""
        return len(list(self.catalog.glob("numbers/_runs/*/commits/*.json")))

    def wait_for_commits(self, count: int) -> None:
        """Wait until so many partitions are committed."""
        deadline = time.monotonic() + 60
        while self.commits() < count:
            assert time.monotonic() < deadline, "nothing was committed in time"
            time.sleep(0.01)

    def workers(self) -> list[int]:
        """The processes that have written something, as the records say."""
        found = set()
        for part in self.catalog.glob("numbers/_runs/*/parts/*.parquet"):
            found |= set(pq.read_table(part, columns=["process"])["process"].to_pylist())
        return sorted(found)

    def check(self) -> None:
        """Every record is in exactly one place, with its values, and the statistics say so."""
        version = self.catalog / "numbers" / "latest"
        output = pa.concat_tables(pq.read_table(part) for part in sorted(version.glob("*.parquet")))
        meta = self.catalog / "numbers" / "_meta" / version.resolve().name
        rejects = pa.concat_tables(pq.read_table(part) for part in sorted((meta / "rejects").glob("*.parquet")))
        kept, rejected = output["number"].to_pylist(), rejects["number"].to_pylist()
        assert sorted(kept + rejected) == list(range(RECORDS))
        assert rejected == [11, 511, 1011, 1511]
        assert kept == sorted(kept)
        assert output["double"].to_pylist() == [2 * number for number in kept]
        statistics = json.loads((meta / "statistics.json").read_text())
        assert statistics["total_records"] == RECORDS
        assert statistics["services"]["double"]["succeeded"] == RECORDS
        assert statistics["services"]["kind"]["not_found"] == RECORDS // 100
        assert statistics["invalid_records"] == RECORDS - 1_900
        assert statistics["batches_processed"] == FILES


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    made = Bench(tmp_path)
    yield made
    for process in made.started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Callable[..., tuple[str, dict[str, subprocess.Popen[bytes]]]]]:
    """Start a real scheduler and two workers on free ports of the loopback interface; all end with the test.

    Options are given to all three of them.
    """
    started: list[subprocess.Popen[bytes]] = []

    def start(*options: str) -> tuple[str, dict[str, subprocess.Popen[bytes]]]:
        file = tmp_path / f"scheduler-{len(started)}.json"
        command = [sys.executable, "-m", "dask", "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
        processes = {"scheduler": subprocess.Popen([*command, "--scheduler-file", str(file), *options], **quiet)}
        deadline = time.monotonic() + 30
        while not file.exists() or not file.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        for name in ("first", "second"):
            worker = [sys.executable, "-m", "dask", "worker", "--scheduler-file", str(file), "--host", "127.0.0.1"]
            worker += ["--nthreads", "1", "--no-dashboard", "--local-directory", str(tmp_path), *options]
            processes[name] = subprocess.Popen(worker, env={**os.environ}, **quiet)
        started.extend(processes.values())
        return json.loads(file.read_text())["address"], processes

    yield start
    for process in started:
        # A worker's process ends by itself when its nanny is gone.
        process.kill()
        process.wait()


@pytest.fixture
def certificate(tmp_path: Path) -> list[str]:
    """The options of Dask for a certificate that all sides have, and trust."""
    if shutil.which("openssl") is None:
        pytest.skip("the program openssl makes the certificate, and is not here")
    key, cert = str(tmp_path / "key.pem"), str(tmp_path / "cert.pem")
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    subprocess.run([*make, "-keyout", key, "-out", cert], check=True, capture_output=True)
    return ["--tls-ca-file", cert, "--tls-cert", cert, "--tls-key", key]
