"""A run of the first records only: its version says so, and never stands for the dataset beside a whole one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import dataflow as flow
from dataflow.faces.cli import run_command
from dataflow.store.catalog import Catalog
from dataflow.wiring.running import run as run_job

JOB = """
import dataflow as flow

@flow.transformation
def double(number: int) -> int:
    return 2 * number

job = flow.Job(flow.Pipeline("numbers", [double]), source="source", output="numbers")
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATAFLOW_JOURNAL", str(tmp_path / "journal"))
    Path("job.py").write_text(JOB)
    Path("source").mkdir()
    for at in range(3):
        Path(f"source/{at}.csv").write_text("number\n" + "".join(f"{10 * at + row}\n" for row in range(10)))
    return tmp_path


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command and gives what it prints."""

    def command(*arguments: str) -> Any:
        capsys.readouterr()
        assert run_command([*arguments]) == 0
        printed = capsys.readouterr().out
        return json.loads(printed) if "--json" in arguments else printed

    return command


def run(*options: str) -> None:
    assert run_command(["run", "job.py", "--no-progress", *options]) == 0


def latest() -> tuple[str, str, int | None]:
    """What the link, the file and the name say."""
    link = Path("datasets/numbers/latest").resolve().name
    return link, Path("datasets/numbers/LATEST").read_text().strip(), flow.open("numbers").version


def test_a_limited_version_says_so_and_leaves_the_whole_one_as_it_is(told: Any) -> None:
    run()
    said = told("run", "job.py", "--no-progress", "--limit", "10")
    assert "note: numbers@v2 is limited to the first 10 records; latest stays v1" in said
    assert latest() == ("v1", "v1", 1)
    limited = flow.open("numbers@v2")
    assert (limited.rows, limited.limit, limited.is_whole) == (10, 10, False)
    assert (limited.manifest["limit"], limited.manifest["whole"]) == (10, False)
    whole = flow.open("datasets/numbers")
    assert (whole.version, whole.rows, whole.limit, whole.is_whole) == (1, 30, None, True)
    assert (whole.manifest["limit"], whole.manifest["whole"]) == (None, True)
    assert flow.open("datasets/numbers/latest").version == 1


def test_commands_say_and_do_the_same(told: Any) -> None:
    run()
    summary = told("run", "job.py", "--limit", "10", "--json")
    assert [summary[name] for name in ("version", "whole", "limit", "latest")] == [2, False, 10, 1]
    assert "limited to the first 10 records" in told("show", "numbers@v2")
    assert "limited" not in told("show", "numbers")
    assert told("show", "numbers@v2", "--json")["limit"] == 10
    assert told("show", "numbers", "--json")["version"] == 1
    (listed,) = told("datasets", "--json")
    assert [listed[name] for name in ("version", "versions", "rows", "limit")] == [1, 2, 30, None]


def test_where_there_is_no_whole_version_the_newest_limited_one_stands_for_the_dataset(told: Any) -> None:
    run("--limit", "5")
    assert latest() == ("v1", "v1", 1)
    said = told("run", "job.py", "--no-progress", "--limit", "10")
    assert "latest stays" not in said
    assert latest() == ("v2", "v2", 2)
    (listed,) = told("datasets", "--json")
    assert [listed[name] for name in ("version", "rows", "limit")] == [2, 10, 10]
    run()
    assert latest() == ("v3", "v3", 3)
    run("--limit", "5")
    assert latest() == ("v3", "v3", 3)


@pytest.mark.parametrize("limit", ["30", "31", "1000"])
def test_a_limit_that_leaves_nothing_out_is_none(limit: str) -> None:
    run()
    run("--limit", limit)
    found = flow.open("numbers")
    assert (found.version, found.rows, found.limit, found.is_whole) == (2, 30, None, True)
    run("--if-changed")
    assert flow.open("numbers").version == 2


@pytest.mark.parametrize(("limit", "whole"), [("10", False), ("20", True)])
def test_empty_files_leave_nothing_out(limit: str, whole: bool) -> None:
    Path("source/2.csv").write_text("number\n")
    run("--limit", limit)
    assert (flow.open("numbers").rows, flow.open("numbers").is_whole) == (int(limit), whole)


def test_a_record_that_cannot_be_read_counts_as_one() -> None:
    for at in range(1, 3):
        Path(f"source/{at}.csv").unlink()
    Path("source/0.csv").write_text("number\n1\n2\nx\n")
    run("--limit", "2")
    assert flow.open("numbers").limit == 2
    run("--limit", "3")
    assert flow.open("numbers").is_whole


def test_a_limited_version_is_no_reason_to_leave_a_whole_run_out(told: Any) -> None:
    run("--limit", "10")
    assert "numbers@v1 may differ: it is limited to the first 10 records" in told(
        "run", "job.py", "--no-progress", "--if-changed"
    )
    assert told("run", "job.py", "--if-changed", "--json")["status"] == "unchanged"
    assert told("run", "job.py", "--if-changed", "--limit", "10", "--json")["version"] == 3
    again = told("run", "job.py", "--if-changed", "--limit", "10", "--json")
    assert (again["status"], again["version"], again["latest"]) == ("unchanged", 3, 2)
    whole = told("run", "job.py", "--if-changed", "--json")
    assert (whole["status"], whole["version"]) == ("unchanged", 2)


def test_nothing_goes_over_between_limited_and_whole_versions(told: Any) -> None:
    run("--limit", "15")
    assert "0 of 3 partitions taken over from v1; not the others: changed: reading" in told(
        "run", "job.py", "--no-progress", "--incremental"
    )
    assert flow.open("numbers").to_arrow()["double"].to_pylist() == [2 * at for at in range(30)]
    assert "3 of 3 partitions taken over from v2" in told("run", "job.py", "--no-progress", "--incremental")
    run("--limit", "15", "--incremental")
    assert flow.open("numbers@v4").rows == 15


def test_prune_keeps_what_the_name_stands_for() -> None:
    run()
    for _ in range(3):
        run("--limit", "5")
    assert Catalog("datasets").prune("numbers", keep=1)[:2] == ["v2", "v3"]
    assert latest() == ("v1", "v1", 1)
    assert flow.open("numbers@v4").rows == 5
    run("--limit", "5")
    assert latest() == ("v1", "v1", 1)


def test_a_dataset_as_a_source_or_a_table_is_the_whole_one() -> None:
    run()
    run("--limit", "5")
    found = flow.lookup("found", table="numbers", on="number", select=["double"], overwrite="always")
    copy = flow.Pipeline("copy", [found])
    done = copy.run("numbers", "copy", catalog="datasets")
    assert done.to_arrow()["double"].to_pylist() == [2 * at for at in range(30)]


def test_a_limited_run_of_python_stays_beside_the_whole_one() -> None:
    namespace: dict[str, Any] = {}
    exec(JOB, namespace)
    first = run_job(namespace["job"], catalog="datasets")
    second = run_job(namespace["job"], catalog="datasets", limit=7)
    assert (first.version, second.version, second.to_arrow().num_rows) == (1, 2, 7)
    assert "numbers@v2 is limited to the first 7 records; latest stays v1" in second.notes
    assert flow.open(second).limit == 7
    assert latest() == ("v1", "v1", 1)


def test_a_repaired_limited_version_is_limited_too() -> None:
    Path("job.py").write_text(
        JOB.replace(
            "    return 2 * number", "    if number == 3:\n        raise ValueError('no')\n    return 2 * number"
        ).replace('output="numbers")', 'output="numbers", max_failures="100%")')
    )
    run()
    run("--limit", "5")
    assert run_command(["repair", "numbers@v2", "--no-progress"]) == 0
    assert flow.open("numbers@v3").limit == 5
    assert latest() == ("v1", "v1", 1)
