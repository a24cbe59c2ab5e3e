"""A stopped run that is published as it is: no new call, every record accounted for, and the run is over."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.errors import CatalogError, DeclarationError, GuardrailReached, OutputLocked
from dataflow.faces.cli import run_command
from dataflow.faces.render import dataset_text
from dataflow.faces.view import view_dataset
from dataflow.outcomes import Priority
from dataflow.store.catalog import Catalog
from dataflow.store.ledger import RunState
from dataflow.testing import memory_catalog
from dataflow.wiring.run import Run
from dataflow.wiring.running import publish_run

JOB = """
import dataflow as flow

api = flow.API("acme", "https://acme.example", concurrency=1, retry=1)

@flow.transformation
def size(key: str) -> int:
    return len(key)

company = api.get("company", "/{{key}}", returns={{"title": str}}, priority="{priority}")

@flow.enrichment
def shout(title: str) -> str:
    return title.upper()

pipeline = flow.Pipeline("companies", [size, company, shout])

def job(word: str = "x") -> flow.Job:
    return flow.Job(pipeline, source="source", output="companies", key="key")
"""
ENDS = ("succeeded", "cached", "not_found", "failed", "timed_out", "skipped", "not_attempted")


class Desk:
    """A folder with a job over three files of four keys, and a provider that breaks at the seventh key."""

    def __init__(self, folder: Path, priority: str = "important") -> None:
        self.folder = folder
        (folder / "source").mkdir()
        (folder / "job.py").write_text(JOB.format(priority=priority))
        for at in range(3):
            keys = "".join(f"c{key},{key % 2 == 0}\n" for key in range(4 * at, 4 * at + 4))
            (folder / "source" / f"{at}.csv").write_text(f"key,status\n{keys}")

    @property
    def catalog(self) -> Catalog:
        return Catalog(self.folder / "datasets")

    def command(self, *arguments: str, breaks_at: str | None = None) -> tuple[int, list[str]]:
        """The exit code of a command, and the keys that the provider was asked for."""

        broken: list[str] = []

        def answer(request: Any) -> Any:
            if request.path == f"/{breaks_at}" or broken:
                broken.append(request.path)
                raise RuntimeError("the test ends the run here")
            return {"title": f"T{request.path[1:]}"}

        with flow.testing.offline(acme=answer) as calls:
            return run_command([*arguments]), [one.path[1:] for one in calls]

    def stop(self, *options: str) -> str:
        """A run of which one partition is committed and half of the next is remembered; gives its id."""
        code, asked = self.command("run", "job.py:job", "--threads", "1", *options, breaks_at="c6")
        assert (code, asked[:7]) == (2, [f"c{at}" for at in range(7)])
        return self.catalog.runs("companies")[0].id

    def check_sums(self, version: int = 1) -> dict[str, Any]:
        """The statistics of a version, which add up and agree with its tables."""
        found = self.catalog.open(f"companies@v{version}")
        found.verify()
        kept, rejected = found.to_arrow()["key"].to_pylist(), found.rejects()["key"].to_pylist()
        assert sorted(kept + rejected) == sorted(f"c{at}" for at in range(12))
        for service in found.statistics["services"].values():
            assert sum(service[end] for end in ENDS) == service["records"] == 12
        return found.statistics


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Desk]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATAFLOW_JOURNAL", str(tmp_path / "journal"))
    # One partition after the other, so that the seventh key is always the same one.
    monkeypatch.setattr("dataflow.engine.turns.SIDE_BY_SIDE", 1)
    return lambda **options: Desk(tmp_path, **options)


def test_what_is_left_computes_locally_and_answers_from_what_is_remembered_without_a_call(
    desk: Callable[..., Desk],
) -> None:
    one = desk()
    one.stop()
    assert one.command("publish", "latest") == (0, [])
    found = one.catalog.open("companies@v1")
    assert found.to_arrow()["key"].to_pylist() == [f"c{at}" for at in range(12)]
    assert found.to_arrow()["size"].to_pylist() == [2] * 10 + [3] * 2
    assert found.to_arrow()["title"].to_pylist() == [f"Tc{at}" for at in range(6)] + [None] * 6
    assert found.to_arrow()["degraded"].to_pylist() == [False] * 6 + [True] * 6
    assert found.to_arrow()["completeness"].to_pylist() == [1.0] * 6 + [0.0] * 6
    statistics = one.check_sums()
    assert (statistics["not_attempted_records"], statistics["degraded_records"]) == (6, 6)
    assert (found.is_whole, found.limit, one.catalog.open("companies").version) == (False, None, 1)
    company, shout = statistics["services"]["company"], statistics["services"]["shout"]
    assert [company[end] for end in ("succeeded", "cached", "not_attempted", "calls")] == [6, 0, 6, 7]
    assert company["errors"] == {}
    assert (shout["succeeded"], shout["skipped"]) == (6, 6)


def test_what_a_stopped_run_has_is_shown_with_how_far_it_has_come(
    desk: Callable[..., Desk], capfd: pytest.CaptureFixture[str]
) -> None:
    one = desk()
    stopped = one.stop()
    for name in (stopped, "latest"):
        found = flow.open(name)
        assert found.to_arrow()["title"].to_pylist() == ["Tc0", "Tc1", "Tc2", "Tc3"]
        assert (len(found.to_pandas()), found.head(2).num_rows, found.failures().num_rows) == (4, 2, 0)
        capfd.readouterr()
        assert one.command("show", name) == (0, [])
        assert "state:   unfinished, 1 of 3 partitions\n" in capfd.readouterr().out
    one.command("publish", stopped)
    one.command("show", stopped)
    assert "state:" not in capfd.readouterr().out


def test_a_run_is_published_where_it_is_whatever_its_job_says_by_now(desk: Callable[..., Desk]) -> None:
    one = desk()
    one.stop()
    Path("job.py").write_text(JOB.format(priority="important").replace('output="companies"', 'output="others"'))
    assert one.command("publish", "latest") == (0, [])
    assert [info.name for info in one.catalog.datasets()] == ["companies"]
    assert not Path("datasets/others").exists()


def test_the_failures_tell_what_was_not_attempted_and_why(desk: Callable[..., Desk]) -> None:
    one = desk()
    one.stop()
    one.command("publish", "latest")
    failures = one.catalog.open("companies").failures().to_pylist()
    assert [row["key"] for row in failures] == [f"c{at}" for at in range(6, 12)]
    assert {(row["service"], row["status"], row["reason"], row["attempts"], row["cost"]) for row in failures} == {
        ("company", "not_attempted", "run stopped", 0, 0.0)
    }


def test_a_record_that_lacks_a_critical_service_goes_to_the_rejects(desk: Callable[..., Desk]) -> None:
    one = desk(priority="critical")
    one.stop()
    assert one.command("publish", "latest")[0] == 0
    found = one.catalog.open("companies@v1")
    assert found.to_arrow()["key"].to_pylist() == [f"c{at}" for at in range(6)]
    rejects = found.rejects().to_pylist()
    assert {(row["service"], row["reason"]) for row in rejects} == {("company", "run stopped")}
    assert one.check_sums()["not_attempted_records"] == 6


def test_the_run_is_over_and_the_next_one_does_what_was_left_only(desk: Callable[..., Desk]) -> None:
    one = desk()
    stopped = one.stop()
    one.command("publish", stopped)
    assert one.catalog.unfinished("companies") is None
    code, asked = one.command("run", "job.py:job", "--if-changed")
    assert (code, sorted(asked)) == (0, sorted(f"c{at}" for at in range(6, 12)))
    assert one.catalog.open("companies").version == 2
    assert one.check_sums(2)["not_attempted_records"] == 0
    assert one.command("run", "job.py:job", "--if-changed") == (0, [])
    assert one.catalog.open("companies").version == 2


def test_a_new_run_that_is_asked_for_pays_anew(desk: Callable[..., Desk]) -> None:
    one = desk()
    one.stop()
    one.command("publish", "latest")
    assert len(one.command("run", "job.py:job", "--no-resume")[1]) == 12


def test_a_run_is_published_once(desk: Callable[..., Desk], capfd: pytest.CaptureFixture[str]) -> None:
    one = desk()
    stopped = one.stop()
    one.command("publish", stopped)
    Path("job.py").unlink()
    capfd.readouterr()
    assert one.command("publish", stopped, "--json") == (0, [])
    told = json.loads(capfd.readouterr().out)
    assert (told["status"], told["version"]) == ("unchanged", 1)
    assert told["statistics"]["not_attempted_records"] == 6
    assert one.catalog.open("companies").version == 1


class Ended(Exception):
    """Raised by a listener in the middle of publishing."""


def test_a_run_whose_publication_was_stopped_can_still_be_done_to_its_end(desk: Callable[..., Desk]) -> None:
    one = desk()
    stopped = one.stop()

    def end(event: Any) -> None:
        if event.kind == "committed":
            raise Ended

    with pytest.raises(Ended):
        publish_run(stopped, catalog="datasets", threads=1, on_event=end)
    assert flow.open(stopped).statistics["not_attempted_records"] > 0
    assert one.command("run", "job.py:job", "--threads", "1") == (0, [f"c{at}" for at in range(6, 12)])
    assert one.catalog.runs("companies")[0].id == stopped
    assert one.check_sums()["not_attempted_records"] == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda: Path("job.py").write_text(JOB.format(priority="optional")), "its plan has changed: service `company`"),
        (lambda: Path("source/2.csv").write_text("key,status\nc8,True\n"), "its plan has changed: source"),
        (lambda: Path("job.py").unlink(), "cannot be loaded: there is no job file job.py; put it back as it was"),
        (lambda: Path("job.py").write_text("import nowhere_to_be_found"), "cannot be loaded: .*job.py"),
        (lambda: os.chdir("source"), "the run was started in .*, publish it there"),
    ],
)
def test_a_job_that_is_not_what_it_was_is_refused_and_the_run_stays(
    desk: Callable[..., Desk],
    capfd: pytest.CaptureFixture[str],
    change: Callable[[], Any],
    said: str,
) -> None:
    one = desk()
    stopped = one.stop("--set", "word=y")
    change()
    capfd.readouterr()
    assert one.command("publish", stopped, "--catalog", str(one.folder / "datasets"))[0] == 2
    assert re.search(said, capfd.readouterr().err)
    assert one.catalog.unfinished("companies") is not None


def test_an_abandoned_run_and_an_unknown_one_are_refused(
    desk: Callable[..., Desk], capfd: pytest.CaptureFixture[str]
) -> None:
    one = desk()
    stopped = one.stop()
    one.command("run", "job.py:job", "--no-resume")
    assert one.command("publish", stopped)[0] == 2
    assert "was abandoned (a new run was asked for)" in capfd.readouterr().err
    assert one.command("publish", "2026")[0] == 2
    assert "there is no run '2026'" in capfd.readouterr().err


def test_a_live_run_is_refused_with_6(desk: Callable[..., Desk], capfd: pytest.CaptureFixture[str]) -> None:
    one = desk()
    stopped = one.stop()
    with one.catalog.lock("companies", run=stopped):
        assert one.command("publish", stopped)[0] == 6
    assert f"run {stopped} holds this dataset" in capfd.readouterr().err


def test_the_limit_and_the_parameters_of_the_command_are_kept(desk: Callable[..., Desk]) -> None:
    one = desk()
    one.stop("--limit", "7", "--set", "word=y")
    assert one.command("publish", "latest") == (0, [])
    assert one.catalog.open("companies").to_arrow()["key"].to_pylist() == [f"c{at}" for at in range(7)]


@flow.transformation
def half(number: int) -> int:
    if number % 2:
        raise ValueError("odd")
    return number // 2


def guarded(folder: Path) -> tuple[flow.Job, dict[str, Any]]:
    for at in range(3):
        (folder / f"{at}.csv").write_text("number\n" + "".join(f"{10 * at + number}\n" for number in range(10)))
    source = str(folder / "*.csv")
    job = flow.Job(flow.Pipeline("halves", [half]), source=source, output="halves", max_failures=3)
    return job, {"catalog": str(folder / "datasets"), "threads": 1}


def test_an_error_that_ends_a_run_has_the_run_which_shows_and_publishes_what_there_is(tmp_path: Path) -> None:
    job, settings = guarded(tmp_path)
    with pytest.raises(GuardrailReached) as raised:
        job.run(**settings)
    run = raised.value.run
    assert isinstance(run, Run)
    assert run.status == "stopped"
    assert run.failures().num_rows == run.rejects().num_rows >= 5
    with pytest.raises(CatalogError, match="has published nothing"):
        run.to_arrow()
    events: list[str] = []
    published = run.publish(threads=2, on_event=lambda event: events.append(event.kind))
    assert published is run
    assert (events[0], events[-1]) == ("planned", "published")
    assert (run.status, run.version) == ("published", 1)
    assert run.to_arrow()["half"].to_pylist() == list(range(15))
    assert run.statistics["not_attempted_records"] == 0
    assert run.publish() is run
    assert Catalog(tmp_path / "datasets").runs()[0].state is RunState.PUBLISHED


def test_a_catalog_in_an_object_store_takes_it_too(tmp_path: Path) -> None:
    job, settings = guarded(tmp_path)
    with pytest.raises(GuardrailReached) as raised:
        job.run(**{**settings, "catalog": memory_catalog()})
    run = raised.value.run.publish()
    assert run.to_arrow()["half"].to_pylist() == list(range(15))
    assert run.rejects(inputs=True)["number"].to_pylist() == list(range(1, 30, 2))


def test_a_stopped_run_says_why_it_was_stopped(tmp_path: Path) -> None:
    job, settings = guarded(tmp_path)
    with pytest.raises(GuardrailReached) as raised:
        job.run(**settings)
    shown = dataset_text(view_dataset(flow.open(raised.value.run)))
    assert re.search(r"state:   stopped, [123] of 3 partitions: ", shown)


def test_a_run_from_python_is_not_published_by_the_command_which_says_how(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    job, settings = guarded(tmp_path)
    with pytest.raises(GuardrailReached):
        job.run(**settings)
    assert run_command(["publish", "latest", "--catalog", settings["catalog"]]) == 2
    assert "was started from Python" in capfd.readouterr().err


def test_a_run_that_goes_on_in_the_background_is_not_published(tmp_path: Path) -> None:
    go_on = threading.Event()

    @flow.transformation
    def slow(number: int) -> int:
        go_on.wait(30)
        return number

    run = flow.Pipeline("slow", [slow]).run(pa.table({"number": [1]}), "slow", catalog=tmp_path, wait=False)
    with pytest.raises(OutputLocked, match="has not ended"):
        run.publish()
    go_on.set()
    assert run.wait().publish().version == 1


def test_a_run_of_another_process_says_how_it_is_published(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="use `dataflow publish r1`"):
        Run(id="r1", output="halves", catalog=str(tmp_path)).publish()


def test_a_run_that_never_began_is_not_published(tmp_path: Path) -> None:
    job = flow.Job(flow.Pipeline("halves", [half]), source=str(tmp_path / "*.csv"), output="halves")
    with pytest.raises(flow.DataflowError) as raised:
        job.run(catalog=str(tmp_path))
    with pytest.raises(CatalogError, match="there is no run"):
        raised.value.run.publish()


@pytest.mark.parametrize("priority", Priority)
def test_every_priority_keeps_the_sums(desk: Callable[..., Desk], priority: Priority) -> None:
    one = desk(priority=priority.value)
    one.stop()
    assert one.command("publish", "latest") == (0, [])
    statistics = one.check_sums()
    assert statistics["degraded_records"] == (6 if priority is Priority.IMPORTANT else 0)
    assert statistics["rejected_records"] == (6 if priority is Priority.CRITICAL else 0)


def test_worker_processes_publish_it_too(desk: Callable[..., Desk]) -> None:
    one = desk()
    stopped = one.stop()
    command = [sys.executable, "-m", "dataflow", "publish", stopped, "--workers", "1", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    # What is answered in a block of `flow.testing.offline` stays in its process.
    assert json.loads(done.stdout)["statistics"]["services"]["company"]["not_attempted"] == 8
    one.check_sums()


def test_a_changed_source_file_between_plan_and_publication_is_named(desk: Callable[..., Desk]) -> None:
    one = desk()
    one.stop()
    found = flow.open("latest")
    (one.folder / "source" / "0.csv").write_text("key,status\nc0,changed\n")
    assert found.head().num_rows == 4
    with pytest.raises(DeclarationError, match="plan has changed: source"):
        publish_run("latest", catalog="datasets")


SWEEP = """
import os, shutil, signal, sys
sys.path.insert(0, {store!r})
from committing import broken_at
from dataflow.faces.cli import run_command
import dataflow.wiring.running, dataflow.engine.http.callers, dataflow.store.cache.cache

for number in range(1, 2000, 3):
    folder = f"swept/{{number}}"
    shutil.copytree("datasets", folder, symlinks=True)
    child = os.fork()
    if child == 0:
        with broken_at(number, lambda: os.kill(os.getpid(), signal.SIGKILL)):
            os._exit(run_command(["publish", "latest", "--catalog", folder, "--threads", "1", "--no-progress"]))
    if os.waitpid(child, 0)[1] == 0:
        break
print(number)
"""


@pytest.mark.slow
def test_a_publication_killed_before_any_operation_is_finished_by_the_same_command_or_the_run_goes_on(
    desk: Callable[..., Desk],
) -> None:
    one = desk()
    stopped = one.stop()
    script = SWEEP.format(store=str(Path(__file__).parents[1] / "store"))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    numbers = range(1, int(done.stdout.split()[-1]), 3)
    assert len(numbers) > 50
    for number in numbers:
        catalog = Catalog(one.folder / "swept" / str(number))
        given = ["--catalog", catalog.root, "--threads", "1"]
        if number % 2:
            assert one.command("publish", stopped, *given) == (0, [])
            assert catalog.open("companies").version == 1
            assert catalog.open("companies").statistics["not_attempted_records"] == 8
        else:
            assert one.command("run", "job.py:job", *given)[0] == 0
            assert catalog.open("companies").statistics["not_attempted_records"] == 0
        found = catalog.open("companies")
        found.verify()
        assert sorted(found.to_arrow()["key"].to_pylist()) == sorted(f"c{at}" for at in range(12))
        assert {record.state for record in catalog.runs("companies")} == {RunState.PUBLISHED}


@pytest.mark.slow
def test_a_killed_publication_leaves_the_output_free(desk: Callable[..., Desk]) -> None:
    one = desk()
    stopped = one.stop()
    process = subprocess.Popen([sys.executable, "-m", "dataflow", "publish", stopped], stderr=subprocess.DEVNULL)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert one.command("publish", stopped) == (0, [])
