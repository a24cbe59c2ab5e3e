"""Calls from the workers of a cluster that somebody else has started: secrets, shared limits, a breaker by hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from distributed import Client

import dataflow as flow
from dataflow.engine.control.scheduler import read_status

sys.path.insert(0, str(Path(__file__).parents[2] / "jobs"))

from provider.serve import serve

pytestmark = pytest.mark.slow

KEYS, CAP = 600, 20

JOB = """
import os
import dataflow as flow

api = flow.API("shared", "{url}", auth=flow.bearer("SHARED_KEY"), concurrency=20)
company = api.get("company", "/v2/companies/{{domain}}", returns={{"title": str}}, select={{"title": "name"}})

def job(source: str, output: str) -> flow.Job:
    return flow.Job(flow.Pipeline("calling", [company]), source=source, output=output, key="domain")
"""


def command(*arguments: str, folder: Path, secret: str | None = None) -> subprocess.Popen[str]:
    """The program with these arguments, running."""
    environment = {**os.environ, "DATAFLOW_JOURNAL": str(folder / "journal")}
    environment |= {} if secret is None else {"SHARED_KEY": secret}
    return subprocess.Popen(
        [sys.executable, "-m", "dataflow", *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process: subprocess.Popen[str], *, code: int = 0) -> str:
    out, err = process.communicate(timeout=120)
    assert process.returncode == code, err
    return out if code == 0 else err


def wait_for_calls_that_wait(address: str) -> None:
    """Wait until both runs have calls that an open breaker keeps."""
    deadline = time.monotonic() + 60
    with Client(address, set_as_default=False) as client:
        while (status := read_status(client)["shared"])["holders"] < 2 or not status["waiting_for"].get("breaker"):
            assert time.monotonic() < deadline, status
            time.sleep(0.1)
        # What is counted as waiting has to be worth a millisecond.
        time.sleep(0.5)


def test_two_runs_share_one_limit_and_one_breaker(cluster: Callable[[], Any], tmp_path: Path) -> None:
    address, _ = cluster()
    with Client(address, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
    at = ("--scheduler", address)
    (tmp_path / "source").mkdir()
    for run in ("a", "b"):
        for part in range(2):
            domains = [f"{run}{part}-{at}.example" for at in range(KEYS // 4)]
            pq.write_table(pa.table({"domain": domains}), tmp_path / "source" / f"{run}{part}.parquet")
    with serve(latency=0.03, auth="bearer") as server:
        (tmp_path / "job.py").write_text(JOB.format(url=server.url))
        start = ("run", "job.py", "--json", "--catalog", "catalog", *at)
        refused = command(*start, "--set", "source=source/a*.parquet", "--set", "output=a", folder=tmp_path)
        assert "SHARED_KEY" in finished(refused, code=2)
        finished(command("breaker", "shared", "open", *at, folder=tmp_path))
        runs = [
            command(
                *start,
                "--set",
                f"source=source/{name}*.parquet",
                "--set",
                f"output={name}",
                folder=tmp_path,
                secret="secret",
            )
            for name in ("a", "b")
        ]
        wait_for_calls_that_wait(address)
        assert server.counts()["calls"] == 0
        finished(command("breaker", "shared", "auto", *at, folder=tmp_path))
        told = [json.loads(finished(run)) for run in runs]
        counts = server.counts()
    assert counts["calls"] == KEYS
    assert CAP / 2 < counts["max_in_flight"] <= CAP
    waited = [one["statistics"]["services"]["company"]["waited"] for one in told]
    assert any(one["breaker"] > 0 for one in waited)
    for file in (tmp_path / "catalog").rglob("*"):
        assert file.is_dir() or b"Bearer" not in file.read_bytes()


def test_a_killed_client_takes_its_calls_with_it(cluster: Callable[[], Any], tmp_path: Path) -> None:
    address, _ = cluster()
    pq.write_table(pa.table({"domain": [f"k{at}.example" for at in range(2_000)]}), tmp_path / "k.parquet")
    with serve(latency=0.1) as server:
        (tmp_path / "job.py").write_text(JOB.format(url=server.url))
        start = ("run", "job.py", "--catalog", "catalog", "--scheduler", address)
        killed = command(*start, "--set", "source=k.parquet", "--set", "output=k", folder=tmp_path, secret="secret")
        deadline = time.monotonic() + 60
        while server.counts()["calls"] < 100:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        killed.kill()
        at = time.monotonic()
        killed.communicate()
        time.sleep(1.5)
        assert [call for call in server.log() if call[0] > at + 0.5] == []
        assert server.counts()["in_flight"] == 0


def test_a_rate_of_tokens_holds_over_two_workers(tmp_path: Path) -> None:
    rate, period, calls = 4000, 2, 60
    texts = [f"{at} {'x' * (3000 if at % 6 == 0 else 400)}" for at in range(calls)]
    for part in range(2):
        pq.write_table(pa.table({"text": texts[part::2]}), tmp_path / f"{part}.parquet")
    with serve(latency=0.05) as server:
        api = flow.API("two-workers", f"{server.url}/v1", rate=f"{rate} tokens/{period} s", concurrency=32)
        model = flow.llm("said", api=api, model="demo-small", prompt="{text}", max_tokens=100)
        run = flow.Pipeline("tokens", [model]).run(
            f"{tmp_path}/*.parquet", output="said", catalog=tmp_path / "catalog", workers=2
        )
        log = [(entry[0], len(entry[2]) / 4) for entry in server.log() if entry[2]]
        counted = server.counts()["services"]["/v1/chat/completions"]["tokens"]
    windows = [sum(tokens for at, tokens in log if start <= at < start + period) for start, _ in log]
    assert (len(log), run.statistics["services"]["said"]["calls"]) == (calls, calls)
    # What is on its way from a gate to the server may bunch.
    assert max(windows) <= 1.1 * rate
    assert sum(tokens for _, tokens in log) / (log[-1][0] - log[0][0] + period) > 0.1 * rate / period
    said = run.statistics["services"]["said"]["tokens"]
    assert (said["input"], said["output"]) == (counted["prompt_tokens"], counted["completion_tokens"])
