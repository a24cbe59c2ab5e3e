"""A cluster drives a submitted run: the terminal may go, a worker may die, and every record is there exactly once."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

import dataflow as flow
from dataflow.errors import ClusterError, SourceError
from dataflow.wiring.jobs import find_job
from dataflow.wiring.submitted import Submission, job_of, placed
from dataflow.wiring.submitting import Submitted, error_of, submit

sys.path.insert(0, str(Path(__file__).parents[2] / "jobs"))

from provider.serve import serve

SLOW = """
import time
import dataflow as flow
import numbers_job

@flow.transformation
def late(number: int) -> int:
    time.sleep(0.01)
    return number

pipeline = flow.Pipeline("numbers", [*numbers_job.pipeline.services, late])
job = flow.Job(pipeline, source="source/*.parquet", output="numbers", key="number")
"""
"""The job of the bench with a second for each partition, so that there is time to look after it."""


def submitting(bench: Any, *options: str, **environment: str) -> dict[str, Any]:
    (bench.folder / "slow_job.py").write_text(SLOW)
    arguments = ["slow_job.py", "--catalog", "catalog", "--json", *options]
    told = json.loads(bench.command("submit", *arguments, **environment))
    assert told["status"] == "running", told
    return dict(told)


def board(bench: Any, run: str, *options: str) -> dict[str, Any]:
    return dict(json.loads(bench.command("status", run, "--catalog", "catalog", "--json", *options)))


def until(bench: Any, run: str, status: str, *options: str) -> dict[str, Any]:
    """The board as soon as the run has this status."""
    deadline = time.monotonic() + 90
    while (seen := board(bench, run, *options))["status"] != status:
        assert time.monotonic() < deadline, seen
        assert seen["status"] in ("running", "stopping", "not heard"), seen
        time.sleep(0.2)
    return seen


@pytest.mark.slow
def test_a_submitted_run_is_driven_by_the_cluster_after_its_terminal_has_gone(bench: Any, cluster: Any) -> None:
    address, _ = cluster()
    told = submitting(bench, "--scheduler", address)
    assert told["page"].startswith("http://127.0.0.1:")
    seen = until(bench, told["run"], "published")
    assert (seen["partitions"]["done"], seen["version"]) == (20, 1)
    assert until(bench, "latest", "published", "--scheduler", address)["run"] == told["run"]
    bench.check()
    assert "published numbers@v1" in bench.command("logs", "latest", "--catalog", "catalog")
    assert told["run"] in bench.command("runs", "--scheduler", address)


@pytest.mark.slow
def test_a_run_survives_the_death_of_the_worker_that_drives_it(bench: Any, cluster: Any) -> None:
    address, _ = cluster()
    told = submitting(bench, "--scheduler", address)
    bench.wait_for_commits(3)
    with flow_client(address) as client:
        (driver,) = (
            worker for worker, keys in client.processing().items() if any("dataflow-run-" in str(key) for key in keys)
        )
        process = client.run(os.getpid, workers=[driver])[driver]
        os.kill(process, signal.SIGKILL)
    seen = until(bench, told["run"], "published", "--scheduler", address)
    assert seen["run"] == told["run"]
    bench.check()


@pytest.mark.slow
def test_a_run_is_cancelled_from_another_terminal_and_goes_on_on_a_new_cluster(bench: Any, cluster: Any) -> None:
    address, processes = cluster()
    first = submitting(bench, "--scheduler", address)
    bench.wait_for_commits(3)
    assert first["run"] in bench.command("cancel", "latest", "--scheduler", address)
    seen = until(bench, first["run"], "stopped", "--scheduler", address)
    assert 3 <= seen["partitions"]["done"] < 20
    assert "is stopped already" in bench.command("cancel", first["run"], "--scheduler", address, code=2)
    second = submitting(bench, "--scheduler", address)
    bench.wait_for_commits(seen["partitions"]["done"] + 2)
    processes["scheduler"].kill()
    address, _ = cluster()
    third = submitting(bench, "--scheduler", address)
    assert first["run"] == second["run"] == third["run"]
    until(bench, third["run"], "published")
    bench.check()


@pytest.mark.slow
def test_a_run_is_cancelled_through_its_catalog_where_no_cluster_is_named(bench: Any, cluster: Any) -> None:
    address, _ = cluster()
    told = submitting(bench, "--scheduler", address)
    bench.wait_for_commits(2)
    bench.command("cancel", told["run"], "--catalog", "catalog")
    seen = until(bench, told["run"], "stopped")
    assert seen["partitions"]["done"] < 20
    bench.command("run", "slow_job.py", "--catalog", "catalog", "--threads", "2")
    bench.check()


@pytest.mark.slow
def test_what_is_wrong_with_a_job_is_told_to_whoever_submits_it(bench: Any, cluster: Any) -> None:
    address, _ = cluster()
    arguments = ["submit", "numbers_job.py", "--catalog", "catalog", "--scheduler", address]
    missing = bench.command(*arguments, "--source", "nowhere.parquet", code=2)
    assert missing.startswith("SourceError:")
    assert "nowhere.parquet" in missing
    assert "there is no job file" in bench.command("submit", "no.py", "--scheduler", address, code=2)
    assert "the cluster has not heard of run" in bench.command("status", "r", "--scheduler", address, code=2)


@pytest.mark.slow
def test_a_secret_of_the_submitter_reaches_the_calls_and_nothing_else(
    bench: Any, cluster: Any, tmp_path: Path, certificate: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (bench.folder / "secret_job.py").write_text(
        "import os\n"
        "import dataflow as flow\n"
        "@flow.transformation\n"
        "def seen(number: int, context: flow.Context) -> bool:\n"
        "    return context.secret('ACME_KEY') == 'canary-' + '4711' and 'ACME_KEY' not in os.environ\n"
        "api = flow.API('acme', 'http://127.0.0.1:9', auth=flow.bearer('ACME_KEY'))\n"
        "never = api.get('never', '/x/{text}', returns=str, select='x', when='text is null')\n"
        "job = flow.Job(flow.Pipeline('p', [seen, never]), source='source/*.parquet', output='numbers')\n"
    )
    for name, value in zip(("CA_FILE", "CLIENT__CERT", "CLIENT__KEY"), certificate[1::2], strict=True):
        monkeypatch.setenv(f"DASK_DISTRIBUTED__COMM__TLS__{name}", value)
    address, _ = cluster("--protocol", "tls", *certificate)
    (tmp_path / "secrets.env").write_text("ACME_KEY=canary-4711\n")
    options = ["--scheduler", address, "--env-file", str(tmp_path / "secrets.env"), "--catalog", "catalog", "--json"]
    told = json.loads(bench.command("submit", "secret_job.py", *options))
    until(bench, told["run"], "published", "--scheduler", address)
    assert all(flow.open("numbers", catalog=str(bench.catalog)).to_arrow()["seen"].to_pylist())
    for file in [one for one in bench.folder.rglob("*") if one.is_file() and one.name != "secrets.env"]:
        assert b"canary-4711" not in file.read_bytes(), file


@pytest.mark.slow
def test_two_submitted_runs_share_a_limit(bench: Any, cluster: Any) -> None:
    with serve(latency=0.02) as server:
        for name in ("one", "two"):
            (bench.folder / f"{name}.py").write_text(
                "import dataflow as flow\n"
                f"api = flow.API('shared', {server.url!r}, rate='60/s', concurrency=8)\n"
                "@flow.transformation\n"
                "def key(number: int) -> str:\n"
                f"    return f'{name}{{number}}.example'\n"
                "title = api.get('title', '/v2/companies/{key}', returns=str, select='name')\n"
                f"job = flow.Job(flow.Pipeline('p', [key, title]), source='source/part-00.parquet', output='{name}')\n"
            )
        address, _ = cluster()
        options = ["--scheduler", address, "--catalog", "catalog", "--limit", "90", "--json"]
        began = time.monotonic()
        told = [json.loads(bench.command("submit", f"{name}.py", *options)) for name in ("one", "two")]
        ended = [until(bench, one["run"], "published", "--scheduler", address) for one in told]
    assert time.monotonic() - began > 180 / 60 * 0.8
    assert sum(one["services"][1]["calls"] for one in ended) == 180


def flow_client(address: str) -> Any:
    from distributed import Client

    return Client(address, set_as_default=False)


def test_a_submission_travels_with_its_job_and_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "names.csv").write_text("name\na\n")
    (tmp_path / "job.py").write_text(
        "import dataflow as flow\n"
        "@flow.transformation\n"
        "def upper(name: str) -> str:\n"
        "    return name.upper()\n"
        "job = flow.Job(flow.Pipeline('p', [upper]), source='names.csv', output='out', key='name')\n"
    )
    found = find_job("job.py", output="other")
    assert found.program is not None
    assert found.reference is not None
    given = Submission(id="s", program=found.program, reference=found.reference)
    monkeypatch.chdir("/")
    job = job_of(msgspec.json.decode(msgspec.json.encode(given), type=Submission))
    assert (job.source, job.output, job.keys) == (str(tmp_path / "names.csv"), "other", ("name",))


@pytest.mark.parametrize(
    ("source", "there"),
    [("leads", "leads"), ("s3://x/y.csv", "s3://x/y.csv"), ("/a/b.csv", "/a/b.csv"), ("part-*.csv", "F/part-*.csv")],
)
def test_only_what_is_a_path_of_the_folder_is_placed_there(source: str, there: str, tmp_path: Path) -> None:
    assert placed(source, folder=str(tmp_path)) == there.replace("F/", f"{tmp_path}/")
    given = flow.csv("x.csv")
    (tmp_path / "x.csv").write_text("a\n")
    assert placed(given, folder=str(tmp_path)).paths == (f"{tmp_path}/x.csv",)


def test_without_a_cluster_nothing_is_submitted(tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(
        "import dataflow as flow\n@flow.transformation\ndef b(a: str) -> str:\n    return a\n"
        "job = flow.Job(flow.Pipeline('p', [b]), source='x.csv', output='out')\n"
    )
    with pytest.raises(ClusterError, match="name a cluster"):
        submit(find_job(str(tmp_path / "job.py")))


def test_an_error_comes_back_as_what_it_was() -> None:
    ended = Submitted(run="r", status="failed", page=None, dataset="d", reason="no file", error="SourceError")
    assert isinstance(error_of(ended), SourceError)
    assert str(error_of(ended)) == "no file"
    unknown = Submitted(run="r", status="failed", page=None, dataset="d", reason="x", error="KeyError")
    assert isinstance(error_of(unknown), ClusterError)
    assert error_of(Submitted(run="r", status="running", page=None, dataset="d")) is None
