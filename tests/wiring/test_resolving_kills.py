"""Real processes ask a real server for distinct keys: each once, also where one of them is killed on the way."""

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

RECORDS, DISTINCT, FILES, CAP, LATENCY = 9_000, 1_500, 6, 20, 0.02
REPEATED = CAP + CAP / LATENCY * 0.5
"""What a kill may cost: the calls in flight and those of the last quarter of a second, with some slack."""

JOB = """
import os
import dataflow as flow

api = flow.API("keys", os.environ["SERVER"], concurrency=20, timeout=5)
company = api.get("company", "/v2/companies/{domain}", returns={"title": str}, select={"title": "name"})

def job(source: str) -> flow.Job:
    return flow.Job(flow.Pipeline("keys", [company]), source=source, output="keys", key="number")
"""


@pytest.fixture
def server() -> Iterator[Running]:
    with serve(latency=LATENCY, unknown=0) as running:
        yield running


@pytest.fixture
def started(tmp_path: Path, server: Running) -> Iterator[subprocess.Popen[bytes]]:
    """A run on two worker processes over files that all ask about the same companies."""
    (tmp_path / "keys_job.py").write_text(JOB)
    (tmp_path / "source").mkdir()
    size = RECORDS // FILES
    for at in range(FILES):
        numbers = range(at * size, (at + 1) * size)
        table = pa.table({"number": numbers, "domain": [f"c{number % DISTINCT}.example" for number in numbers]})
        pq.write_table(table, tmp_path / "source" / f"{at}.parquet")
    command = [sys.executable, "-m", "dataflow", "run", "keys_job.py", "--json", "--catalog", "catalog"]
    process = subprocess.Popen(
        [*command, "--workers", "2", "--source", str(tmp_path / "source")],
        cwd=tmp_path,
        env={**os.environ, "SERVER": server.url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    yield process
    if process.poll() is None:
        process.kill()
    process.communicate()


def finish(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err.decode()
    told: dict[str, Any] = json.loads(out)
    found = pa.concat_tables(map(pq.read_table, sorted(Path(told["path"]).glob("*.parquet"))))
    assert found["number"].to_pylist() == list(range(RECORDS))
    return told


def test_each_key_is_called_once_by_all_workers_together(started: subprocess.Popen[bytes], server: Running) -> None:
    told = finish(started)
    assert server.counts()["calls"] == DISTINCT
    assert told["statistics"]["services"]["company"]["calls"] == DISTINCT


def test_a_killed_worker_repeats_what_it_had_in_flight_and_no_more(
    started: subprocess.Popen[bytes], server: Running
) -> None:
    end = time.monotonic() + 60
    while server.counts()["calls"] < DISTINCT // 3:
        assert time.monotonic() < end, "the server was not called in time"
        time.sleep(0.02)
    below = psutil.Process(started.pid).children(recursive=True)
    max(below, key=lambda one: one.num_threads()).kill()
    finish(started)
    counts = server.counts()
    assert len(counts["services"]["/v2/companies"]["by_key"]) == DISTINCT
    assert DISTINCT <= counts["calls"] <= DISTINCT + REPEATED
