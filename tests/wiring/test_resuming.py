"""The same command again: goes on, starts anew and says why, takes over, or does nothing."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import dataflow as flow
from dataflow.errors import GuardrailReached, SourceError
from dataflow.outcomes import Event
from dataflow.plan.pipeline import Job
from dataflow.store.catalog import Catalog
from dataflow.wiring.jobs import find_job
from dataflow.wiring.run import Run
from dataflow.wiring.running import run as run_job

JOB = """
import pathlib
import time
import dataflow as flow
import rules

CALLS = pathlib.Path(__file__).with_name("calls.txt")
FACTOR = 2


@flow.transformation
def double(number: int) -> int:
    with CALLS.open("a") as file:
        file.write(f"{number}\\n")
    if number == 40 and CALLS.with_name("slow").exists():
        time.sleep(0.2)
    if number in rules.bad():
        raise MemoryError
    return FACTOR * number


@flow.enrichment
def label(number: int, context: flow.Context) -> str:
    return rules.name(number)


def job(source: str, key: str = "number") -> flow.Job:
    pipeline = flow.Pipeline("numbers", [double, label])
    return flow.Job(pipeline, source=source, output="numbers", key=key)
"""

RULES = """
def bad():
    return set()


def name(number):
    return f"n{number}"
"""


class Stopped(Exception):
    """Raised by a listener to end a run in the middle."""


class Project:
    """A folder with a job, a helper module and a source of one partition for each file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.catalog = Catalog(folder / "catalog")
        self.write("job.py", JOB)
        self.write("rules.py", RULES)
        for at in range(6):
            self.write(f"source/{at}.csv", _numbers(range(at * 10, at * 10 + 10)))

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def edit(self, name: str, before: str, after: str) -> None:
        text = (self.folder / name).read_text()
        assert before in text
        self.write(name, text.replace(before, after))

    def run(self, *, stop_after: int | None = None, set_: dict[str, str] | None = None, **settings: Any) -> Run:
        events: list[Event] = []

        def listen(event: Event) -> None:
            events.append(event)
            if stop_after is not None and sum(one.kind == "committed" for one in events) >= stop_after:
                raise Stopped

        found = find_job(str(self.folder / "job.py"), source=str(self.folder / "source"), parameters=set_)
        job = Job(
            **{name: getattr(found.job, name) for name in ("pipeline", "source", "output", "key")}, **_guard(settings)
        )
        given = {"catalog": self.catalog.root, "threads": 1, "on_event": listen, **settings}
        return run_job(job, program=found.program, **given)

    def stop(self, after: int = 2, **settings: Any) -> str:
        """Run until some partitions are committed, and return the id of the unfinished run."""
        self.write("slow", "")
        with pytest.raises(Stopped):
            self.run(stop_after=after, **settings)
        (self.folder / "slow").unlink()
        return self.catalog.runs("numbers")[0].id

    def calls(self) -> Counter[int]:
        """How often the service was called for each number, since the last look."""
        path = self.folder / "calls.txt"
        text = path.read_text() if path.exists() else ""
        path.unlink(missing_ok=True)
        return Counter(map(int, text.split()))

    def check(self, run: Run, numbers: Sequence[int] = range(60), *, factor: int = 2) -> None:
        output = run.to_arrow()
        assert output["number"].to_pylist() == list(numbers)
        assert output["double"].to_pylist() == [factor * number for number in numbers]
        assert run.statistics["services"]["double"]["succeeded"] == len(numbers)
        assert run.statistics["batches_processed"] == run.done == run.partitions


def _numbers(numbers: Sequence[int]) -> str:
    return "number\n" + "".join(f"{number}\n" for number in numbers)


def _guard(settings: dict[str, Any]) -> dict[str, Any]:
    return {"max_failures": settings.pop("max_failures", "1%")}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_the_same_command_goes_on_and_calls_nothing_twice(project: Project) -> None:
    stopped = project.stop(after=2)
    before = project.calls()
    committed = project.catalog.runs("numbers")[0].committed
    assert 2 <= committed < 6
    done = project.run()
    assert done.id == stopped
    project.check(done)
    again = project.calls()
    assert set(before.values()) == set(again.values()) == {1}
    assert len(set(before) & set(again)) <= 60 - 10 * committed
    assert len(again) == 60 - 10 * committed


def test_going_on_is_told_with_what_is_done(project: Project) -> None:
    project.stop(after=2)
    committed = project.catalog.runs("numbers")[0].committed
    events: list[Event] = []
    project.run(on_event=events.append)
    assert [event.kind for event in events] == ["planned", "resumed", *["committed"] * (6 - committed), "published"]
    assert (events[1].partitions, events[1].records) == (committed, 10 * committed)


def test_comments_docstrings_and_limits_are_no_change(project: Project) -> None:
    stopped = project.stop(max_failures="1%")
    project.edit("job.py", "    return FACTOR", "    # why\n    return FACTOR")
    project.edit("rules.py", "def bad():", 'def bad():\n    """None of them."""')
    project.edit("rules.py", '    """None of them."""\n', "")
    done = project.run(max_failures=5, threads=2)
    assert done.id == stopped
    assert done.notes == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("job.py", "FACTOR * number", "FACTOR * number + 0"), "service `double`: its code"),
        (("job.py", "FACTOR = 2", "FACTOR = 3"), "service `double`: its code"),
        (("job.py", "-> int:", "-> int | None:"), "service `double`: how it is declared and its code"),
        (("rules.py", 'f"n{number}"', 'f"m{number}"'), "service `label`: its code"),
        (("job.py", "[double, label]", "[label, double]"), "order"),
        (("job.py", "[double, label]", '[double, label], invalid="reject"'), "invalid"),
        (("source/3.csv", "number\n", "number\n1\n"), "source"),
    ],
)
def test_a_change_starts_a_new_run_and_is_named(project: Project, change: tuple[str, str, str], named: str) -> None:
    stopped = project.stop()
    project.edit(*change)
    done = project.run()
    assert done.id != stopped
    assert [note for note in done.notes if stopped in note] == [
        f"run {stopped} is abandoned (changed: {named}); a new run starts"
    ]
    states = {record.id: record.state for record in project.catalog.runs("numbers")}
    assert states == {stopped: "abandoned", done.id: "published"}


def test_a_new_column_in_the_source_is_a_change_of_source_reading_and_schema(project: Project) -> None:
    stopped = project.stop()
    for at in range(6):
        project.write(f"source/{at}.csv", f"number,more\n{at},x\n")
    done = project.run()
    assert f"run {stopped} is abandoned (changed: source, reading, schema); a new run starts" in done.notes
    assert done.to_arrow()["more"].to_pylist() == ["x"] * 6


def test_another_key_or_other_parameters_start_a_new_run(project: Project) -> None:
    first = project.stop()
    second = project.stop(set_={"key": "double"})
    third = project.stop(set_={"key": "double"}, parameters={"tag": 1})
    done = project.run(set_={"key": "double"}, parameters={"tag": 2})
    assert len({first, second, third, done.id}) == 4
    reasons = {record.id: record.reason for record in project.catalog.runs("numbers")}
    assert (reasons[first], reasons[second], reasons[third]) == (
        "changed: key",
        "changed: parameters",
        "changed: parameters",
    )


def test_no_resume_starts_anew_and_takes_nothing_over(project: Project) -> None:
    stopped = project.stop()
    project.calls()
    done = project.run(resume=False)
    assert done.id != stopped
    assert done.notes == [f"run {stopped} is abandoned (a new run was asked for); a new run starts"]
    assert project.calls() == Counter(range(60))
    project.run(resume=False, incremental=True)
    assert project.calls() == Counter(range(60))


def test_a_poison_record_fails_alone(project: Project) -> None:
    project.edit("rules.py", "return set()", "return {35}")
    done = project.run()
    assert done.rejects().select(["number", "reason"]).to_pylist() == [{"number": 35, "reason": "MemoryError"}]
    assert done.to_arrow().num_rows == 59


def test_if_changed_does_nothing_for_the_same_plan_and_runs_for_another(project: Project) -> None:
    project.edit("job.py", ", context: flow.Context", "")
    first = project.run(if_changed=True)
    project.calls()
    same = project.run(if_changed=True)
    assert (same.status, same.version, same.path) == ("unchanged", 1, first.path)
    assert same.notes == ["nothing has changed since numbers@v1"]
    assert same.statistics == first.dataset.statistics  # type: ignore[union-attr]
    assert not project.calls()
    project.edit("job.py", "FACTOR = 2", "FACTOR = 3")
    changed = project.run(if_changed=True)
    assert changed.version == 2
    project.check(changed, factor=3)


def test_unchanged_partitions_are_taken_over_by_hard_links(project: Project) -> None:
    project.edit("job.py", ", context: flow.Context", "")
    first = project.run()
    project.calls()
    project.write("source/6.csv", _numbers(range(60, 70)))
    project.write("source/2.csv", _numbers(range(20, 25)))
    second = project.run(incremental=True)
    assert sorted(project.calls()) == [*range(20, 25), *range(60, 70)]
    assert "5 of 7 partitions taken over from v1" in second.notes
    project.check(second, [*range(25), *range(30, 70)])
    inodes = [{os.stat(part).st_ino for part in Path(str(run.path)).iterdir()} for run in (first, second)]  # noqa: PTH116
    assert len(inodes[0] & inodes[1]) == 5
    second.dataset.verify()  # type: ignore[union-attr]


def test_nothing_is_taken_over_when_a_service_has_changed(project: Project) -> None:
    project.edit("job.py", ", context: flow.Context", "")
    project.run()
    project.calls()
    project.edit("job.py", "FACTOR = 2", "FACTOR = 3")
    project.check(project.run(incremental=True), factor=3)
    assert project.calls() == Counter(range(60))


def test_a_profile_of_partitions_that_were_taken_over_says_what_it_can(project: Project) -> None:
    project.edit("job.py", ", context: flow.Context", "")
    project.run()
    project.write("source/6.csv", _numbers(range(60, 70)))
    project.check(project.run(profile=True, incremental=True), range(70))


def test_too_many_failures_end_the_run_and_a_higher_limit_goes_on(project: Project) -> None:
    project.edit("rules.py", "return set()", "return range(0, 60, 5)")
    with pytest.raises(GuardrailReached, match=r"`double` failed for 4 records, more than the 3") as caught:
        project.run(max_failures=3)
    stopped = project.catalog.runs("numbers")[0]
    assert f"`dataflow failures {stopped.id}` lists them" in str(caught.value)
    assert (stopped.state, stopped.reason) == ("stopped", caught.value.plain)
    committed = flow.open(stopped.id, catalog=project.catalog.root)
    assert set(committed.failures()["number"].to_pylist()) <= set(range(0, 60, 5))
    done = project.run(max_failures=50)
    assert done.id == stopped.id
    assert done.rejects()["number"].to_pylist() == list(range(0, 60, 5))
    assert set(project.calls().values()) == {1}


def test_the_limit_holds_when_all_partitions_are_done(project: Project) -> None:
    project.edit("rules.py", "return set()", "return {58, 59}")
    for _ in range(2):
        with pytest.raises(GuardrailReached, match="`double` failed for 2 records"):
            project.run(max_failures=1)
    assert project.catalog.datasets() == []
    assert project.run(max_failures=2).rejects().num_rows == 2


def test_unreadable_records_count_for_the_limit(project: Project) -> None:
    project.write("source/5.csv", "number\n1\nx\ny\n")
    with pytest.raises(
        GuardrailReached,
        match="2 records were rejected since a service failed or they could not be read, more than the 1",
    ):
        project.run(max_failures=1)


def test_a_file_that_changes_while_it_is_read_is_named_and_nothing_of_it_is_committed(project: Project) -> None:
    def change(event: Event) -> None:
        if event.kind == "planned":
            project.write("source/3.csv", _numbers(range(30, 38)))

    with pytest.raises(SourceError, match=r"3\.csv: the file has changed since the run was planned"):
        project.run(on_event=change)
    done = project.run()
    project.check(done, [*range(38), *range(40, 60)])
    assert any("changed: source" in note for note in done.notes)


def test_the_table_of_a_lookup_is_part_of_the_plan(tmp_path: Path) -> None:
    (tmp_path / "names.csv").write_text("number,name\n1,one\n2,two\n")
    (tmp_path / "numbers.jsonl").write_text('{"number": "1"}\n{"number": "2"}\n')
    pipeline = flow.Pipeline("p", [flow.lookup("named", table=tmp_path / "names.csv", on="number")])

    def run() -> Run:
        return pipeline.run(tmp_path / "numbers.jsonl", "named", catalog=str(tmp_path / "catalog"), if_changed=True)

    assert [run().version, run().version] == [1, 1]
    (tmp_path / "names.csv").write_text("number,name\n1,eins\n2,zwei\n")
    assert run().to_arrow()["name"].to_pylist() == ["eins", "zwei"]


def test_the_same_frame_goes_on_and_another_one_starts_anew(tmp_path: Path) -> None:
    import pandas as pd

    @flow.transformation
    def double(number: int) -> int:
        return 2 * number

    pipeline = flow.Pipeline("p", [double])

    def run(numbers: list[int]) -> Run:
        settings: dict[str, Any] = {"catalog": str(tmp_path / "catalog"), "if_changed": True}
        return pipeline.run(pd.DataFrame({"number": numbers}), "numbers", **settings)

    assert [run([1, 2]).version, run([1, 2]).version, run([1, 3]).version] == [1, 1, 2]


def test_a_listener_that_fails_ends_the_run_with_its_own_error(project: Project) -> None:
    def listen(event: Event) -> None:
        raise Stopped(event.kind)

    with pytest.raises(Stopped, match="planned"):
        project.run(on_event=listen)
    project.check(project.run())
