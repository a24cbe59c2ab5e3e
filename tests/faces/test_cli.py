"""The command line, in this process: what it prints, what it writes, and the code it ends with."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dataflow.faces.cli import run_command
from dataflow.store.catalog import Catalog
from dataflow.store.lock import dataset_lock

JOB = """
import dataflow as flow

@flow.transformation
def double(number: int) -> int:
    print("working on", number)
    if number == 13:
        raise ValueError("unlucky")
    return 2 * number

@flow.validation
def small(number: int) -> bool:
    return number < 15

@flow.enrichment
def label(number: int) -> str:
    if number % 5 == 0:
        raise LookupError("no label")
    return f"n{number}"

pipeline = flow.Pipeline("numbers", [double, small, label])
job = flow.Job(pipeline, source="numbers.csv", output="numbers", key="number")

def sized(limit: int, word: str = "x") -> flow.Job:
    print("making a job for", limit)
    return flow.Job(pipeline, source="numbers.csv", output=f"sized-{limit}-{word}", key="number")
"""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What stdout holds: one JSON value and nothing else."""
        assert self.out.count("\n") == 1
        return json.loads(self.out, parse_constant=lambda text: pytest.fail(f"{text} is no JSON"))


Command = Callable[..., Ended]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "jobs.py").write_text(JOB)
    (tmp_path / "numbers.csv").write_text("number,note\n" + "".join(f"{at},t{at}\n" for at in range(20)) + "x,bad\n")

    def run(*arguments: str) -> Ended:
        code = run_command(list(arguments))
        captured = capfd.readouterr()
        return Ended(code, captured.out, captured.err)

    return run


def test_a_run_prints_one_json_object_whatever_the_job_prints(command: Command) -> None:
    ended = command("run", "jobs.py", "--json")
    assert ended.code == 0
    told = ended.json
    names = ["run", "dataset", "version", "path", "status", "whole", "limit", "latest", "statistics"]
    assert list(told) == [*names, "errors", "sample_records"]
    assert (told["dataset"], told["version"], told["status"]) == ("numbers", 1, "published")
    assert told["statistics"]["total_records"] == 21
    assert len(told["sample_records"]) == 10
    assert told["sample_records"][1]["label"] == "n1"
    assert Path(told["path"]).is_dir()
    assert "working on 3" in ended.err


def test_a_run_in_words_names_the_version_and_what_went_wrong(command: Command) -> None:
    ended = command("run", "jobs.py")
    assert ended.code == 0
    assert "numbers@v1" in ended.out
    assert "double" in ended.out
    assert "warning: `label` failed for 4 records, which are marked degraded" in ended.err


def test_what_workers_print_is_kept_off_stdout_too(command: Command) -> None:
    ended = command("run", "jobs.py", "--json", "--workers", "1")
    assert (ended.code, ended.json["version"]) == (0, 1)


MAKER = """
from distributed import LocalCluster

def make():
    return LocalCluster(n_workers=0, threads_per_worker=1, dashboard_address=":0")
"""


@pytest.mark.parametrize(
    ("cluster", "size"), [("makers:make", ("--adapt", "0:2")), ("makers.py:make", ("--workers", "1"))]
)
def test_a_run_on_a_cluster_that_the_command_names(
    command: Command, tmp_path: Path, cluster: str, size: tuple[str, str]
) -> None:
    (tmp_path / "makers.py").write_text(MAKER)
    ended = command("run", "jobs.py", "--json", "--cluster", cluster, *size)
    assert (ended.code, ended.json["version"]) == (0, 1)
    assert f"starting a cluster: {cluster}" in ended.err


def test_the_options_of_a_run(command: Command, tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("number\n1\n2\n3\n")
    given = ["--source", "other.csv", "--output", "other", "--catalog", "elsewhere", "--limit", "2", "--threads", "1"]
    told = command("run", "jobs.py", "--json", "--profile", "--no-progress", *given).json
    assert told["path"] == str(tmp_path / "elsewhere" / "other" / "v1")
    assert [record["number"] for record in told["sample_records"]] == [1, 2]
    assert told["statistics"]["columns"]["number"]["distinct"]["estimate"] == 2
    again = command("run", "jobs.py", "--json", "--if-changed", *given).json
    assert (again["status"], again["version"], again["statistics"]["total_records"]) == ("unchanged", 1, 2)
    assert command("run", "jobs.py", "--json", "--no-resume", *given).json["version"] == 2


def test_parameters_of_a_job_are_set_with_their_types(command: Command) -> None:
    assert (
        command("run", "jobs.py:sized", "--json", "--set", "limit=3", "--set", "word=7").json["dataset"] == "sized-3-7"
    )
    refused = command("run", "jobs.py:sized", "--set", "limit=many")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == "DeclarationError: the job's parameter `limit` is int, which 'many' is not\n"
    assert "--set takes KEY=VALUE, not 'limit'" in command("run", "jobs.py:sized", "--set", "limit").err
    assert "takes (limit: int, word: str = 'x')" in command("run", "jobs.py:sized").err


def test_a_pipeline_runs_on_the_source_of_the_command(command: Command) -> None:
    assert command("run", "jobs.py:pipeline", "--source", "numbers.csv", "--json").json["dataset"] == "numbers-output"
    refused = command("run", "jobs.py:pipeline")
    assert (refused.code, "say what to run it on with --source" in refused.err) == (2, True)


def test_explain_shows_the_graph_with_and_without_a_source(command: Command) -> None:
    ended = command("explain", "jobs.py")
    assert ended.code == 0
    assert "numbers: 3 services in 1 levels" in ended.out
    assert "note string" in ended.out
    bare = command("explain", "jobs.py:pipeline")
    assert "no source was given" in bare.out
    told = command("explain", "jobs.py:sized", "--set", "limit=1", "--json").json
    assert [line["name"] for line in told["lines"]] == ["double", "small", "label"]
    assert ["note", "string"] in told["columns"]


def test_sample_shows_the_fate_of_each_record(command: Command, tmp_path: Path) -> None:
    ended = command("sample", "jobs.py", "-n", "4")
    assert ended.code == 0
    assert "failed: LookupError" in ended.out
    told = command("sample", "jobs.py", "-n", "2", "--json").json
    assert [len(told[name]) for name in ("records", "fates")] == [2, 2]
    assert not (tmp_path / "datasets").exists()
    assert command("sample", "jobs.py:pipeline").code == 2


def test_a_new_job_is_drafted_from_the_header_and_runs(command: Command, tmp_path: Path) -> None:
    (tmp_path / "leads.csv").write_text("lead_id,Email Address\n1, A@B.example \n")
    drafted = command("new", "leads.csv", "--output", "draft.py")
    assert (drafted.code, drafted.out) == (0, "")
    assert "next: dataflow explain draft.py" in drafted.err
    assert command("new", "leads.csv").out == (tmp_path / "draft.py").read_text()
    assert command("run", "draft.py", "--json").json["sample_records"][0]["Email Address"] == "a@b.example"
    again = command("new", "leads.csv", "--output", "draft.py")
    assert (again.code, "exists already" in again.err) == (2, True)
    assert command("new", "nothing.csv").code == 2


def test_datasets_are_listed(command: Command) -> None:
    assert command("datasets").out == "no datasets in datasets\n"
    assert command("datasets", "--json").json == []
    command("run", "jobs.py")
    (told,) = command("datasets", "--json").json
    assert (told["name"], told["version"], told["rows"]) == ("numbers", 1, 19)
    assert "numbers" in command("datasets").out


def test_a_dataset_a_version_and_a_run_are_shown(command: Command) -> None:
    run = command("run", "jobs.py", "--json").json
    for name in ("numbers", "numbers@v1", run["run"], "latest", run["path"]):
        shown = command("show", name, "-n", "3")
        assert (shown.code, "19" in shown.out, "double" in shown.out) == (0, True, True)
    told = command("show", "numbers", "--json", "-n", "3").json
    assert (told["rows"], len(told["sample_records"]), told["statistics"]["rejected_records"]) == (19, 3, 2)
    missing = command("show", "number")
    assert (missing.code, "did you mean numbers?" in missing.err) == (2, True)


def test_failures_are_listed_as_a_table_as_csv_and_as_json(command: Command) -> None:
    run = command("run", "jobs.py", "--json").json["run"]
    rows = command("failures", run, "--json").json
    assert [(row["number"], row["service"], row["status"]) for row in rows] == [
        *[(13, "double", "failed")],
        *[(number, "label", "failed") for number in (0, 5, 10, 15)],
        *[(13, "double", "rejected"), (None, "source", "rejected")],
    ]
    assert rows[-1]["raw"] == "x,bad"
    table = list(csv.DictReader(io.StringIO(command("failures", "numbers", "--csv").out)))
    assert [row["service"] for row in table] == [row["service"] for row in rows]
    assert {row["service"] for row in command("failures", run, "--service", "label", "--json").json} == {"label"}
    assert "LookupError" in command("failures", run).out
    assert command("failures", run, "--service", "small").out == "nothing failed\n"


def test_failures_are_listed_with_their_rows_of_the_source(command: Command, tmp_path: Path) -> None:
    run = command("run", "jobs.py", "--json").json["run"]
    table = list(csv.DictReader(io.StringIO(command("failures", run, "--inputs", "--csv").out)))
    assert [(row["number"], row["note"]) for row in table] == [
        ("13", "t13"),
        *[(str(number), f"t{number}") for number in (0, 5, 10, 15)],
        ("13", "t13"),
        ("", ""),
    ]
    (tmp_path / "numbers.csv").write_text("number,note\n13,other\n")
    refused = command("failures", run, "--inputs")
    assert (refused.code, refused.out) == (2, "")
    assert "numbers.csv: the file has changed since the run was planned" in refused.err


def test_old_versions_are_pruned(command: Command) -> None:
    for _ in range(3):
        command("run", "jobs.py", "--no-resume")
    assert command("prune", "numbers", "--keep", "0").code == 2
    removed = command("prune", "numbers", "--keep", "1", "--json").json["removed"]
    assert removed[:2] == ["v1", "v2"]
    assert command("prune", "numbers", "--keep", "1").out == "nothing to remove\n"
    assert command("show", "numbers@v2").code == 2


def test_a_guardrail_ends_with_3_and_says_how_to_look_and_go_on(command: Command, tmp_path: Path) -> None:
    text = JOB.replace('key="number")\n\ndef', 'key="number", max_failures=2)\n\ndef')
    (tmp_path / "jobs.py").write_text(text)
    ended = command("run", "jobs.py", "--json")
    run = Catalog("datasets").runs("numbers")[0].id
    assert ended.code == 3
    assert [ended.json[name] for name in ("run", "version", "path", "status")] == [run, None, None, "stopped"]
    assert ended.json["statistics"]["services"]["label"]["failed"] == 4
    assert len(ended.json["sample_records"]) == 10
    assert "GuardrailReached: `label` failed for 4 records, more than the 2 that max_failures allows" in ended.err
    assert f"`dataflow failures {run}` lists them" in ended.err
    assert ended.err.count("max_failures allows") == 1
    assert command("run", "jobs.py").out == ""
    assert "LookupError" in command("failures", run).out
    assert command("show", run).code == 0
    (tmp_path / "jobs.py").write_text(text.replace("max_failures=2", "max_failures=20"))
    assert command("run", "jobs.py", "--json").json["run"] == run


def test_a_held_output_ends_with_6(command: Command, tmp_path: Path) -> None:
    with dataset_lock(str(tmp_path / "datasets" / "numbers"), run="the-first"):
        ended = command("run", "jobs.py")
    assert ended.code == 6
    assert "the-first" in ended.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["run", "missing.py"], 2, "there is no job file missing.py"),
        (["run", "jobs.py", "--source", "missing.csv"], 2, "missing.csv"),
        (["run", "jobs.py", "--output", "a/b"], 2, "is no name for a dataset"),
        (["run", "jobs.py", "--limit", "0"], 2, "--limit"),
        (["run", "jobs.py", "--limt", "1"], 2, "--limit"),
        (["run", "jobs.py", "--scheduler-file", "missing.json"], 75, "missing.json is no scheduler file"),
        (["run", "jobs.py", "--cluster", "absent:make"], 2, "there is no module absent"),
        (["run", "jobs.py", "--cluster", "jobs.py:sized"], 2, "is called without arguments"),
        (["run", "jobs.py", "--cluster", "a:b", "--scheduler", "tcp://h:1"], 2, "name two clusters"),
        (["run", "jobs.py", "--cluster", "a:b", "--workers", "1", "--adapt", "0:1"], 2, "give one of them"),
        (["run", "jobs.py", "--adapt", "0:1"], 2, "name that too"),
        (["run"], 2, "JOB"),
        (["rum"], 2, "rum"),
        (["failures", "nothing"], 2, "there is no dataset 'nothing'"),
        (["prune", "numbers"], 2, "--keep"),
        (["explain", "broken.py"], 2, "broken.py, line 3: NameError"),
        (["sample", "broken.py"], 2, "broken.py, line 3: NameError"),
    ],
)
def test_errors_have_their_codes_and_one_line_on_stderr(
    command: Command, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    (tmp_path / "broken.py").write_text("a = 1\n\noops\n")
    ended = command(*arguments)
    assert (ended.code, ended.out) == (code, "")
    assert message in ended.err
    assert "Traceback" not in ended.err


def test_help_of_every_command_and_the_version(command: Command) -> None:
    listed = command("--help")
    assert listed.code == 0
    names = ["datasets", "explain", "failures", "new", "prune", "run", "sample", "show"]
    for name in names:
        assert f"  {name} " in listed.out
        assert command(name, "--help").code == 0
    assert command("--version").out.strip() == "0.1.0"
    assert "75 cluster unreachable" in " ".join(listed.out.split())


def run_python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DASK_")}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_module_is_a_program_and_a_command_of_dask(command: Command, tmp_path: Path) -> None:
    assert "Usage: dataflow" in run_python(tmp_path, "-m", "dataflow", "--help").stdout
    listed = run_python(tmp_path, "-m", "dask", "dataflow", "--help")
    assert (listed.returncode, "Exit codes: 0 done" in listed.stdout) == (0, True)
    refused = run_python(tmp_path, "-m", "dask", "dataflow", "show", "nothing")
    assert refused.returncode == 2
    assert refused.stderr.startswith("CatalogError: there is no dataset 'nothing'")
    assert "Traceback" not in refused.stderr


LIGHT = """
import sys
from dataflow.faces.cli import run_command
code = run_command(["run", "light.py", "--json"])
heavy = {"pandas", "dask", "dask.dataframe", "distributed", "bokeh", "fsspec", "rich"}
print(code, sorted(heavy & set(sys.modules)), file=sys.stderr)
"""


def test_a_small_run_imports_neither_pandas_nor_dask(command: Command, tmp_path: Path) -> None:
    table = 'import pyarrow as pa\nCODES = pa.table({"number": [1, 2], "code": ["a", None]})\n'
    lookup = 'code = flow.lookup("code", table=CODES, on="number", priority="optional")\n'
    text = JOB.replace("pipeline = ", f"{table}{lookup}pipeline = ").replace(
        "[double, small, label]", "[double, small, label, code]"
    )
    (tmp_path / "light.py").write_text(text)
    done = run_python(tmp_path, "-c", LIGHT)
    assert done.stderr.splitlines()[-1] == "0 []"
    assert json.loads(done.stdout)["status"] == "published"


def test_the_package_is_imported_without_anything_heavy(tmp_path: Path) -> None:
    heavy = {"pandas", "dask", "distributed", "bokeh", "pyarrow"}
    text = f"import sys, dataflow; print({heavy} & set(sys.modules))"
    assert run_python(tmp_path, "-c", text).stdout == "set()\n"
