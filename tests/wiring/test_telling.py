"""The story of one record: where it ended and why, with what its job can tell and what it cannot; never a call."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.errors import CatalogError, DeclarationError
from dataflow.faces.cli import run_command
from dataflow.wiring import memory
from dataflow.wiring.story import Chapter, Story, cut

JOB = """
import dataflow as flow

api = flow.API("acme", "https://acme.example", concurrency=4, retry=1, breaker=False)
other = flow.API("other", "https://other.example", retry=1, breaker=False)

@flow.transformation
def domain(key: str) -> str | None:
    return None if key == "c3" else f"{key}.example"

@flow.validation
def short(key: str) -> str | None:
    return None if key != "c2" else "too long"

@flow.validation
def decent(key: str) -> bool:
    return key != "c7"

company = api.get("company", "/{domain}", returns={"title": str}, price=0.5)
score = other.get("score", "/{key}", returns={"points": int}, priority="critical")

@flow.enrichment
def shout(title: str) -> str:
    return title.upper()

pipeline = flow.Pipeline("companies", [domain, short, decent, company, score, shout])
job = flow.Job(pipeline, source="source", output="companies", key="key", max_failures=1000)
"""


def answer(request: Any) -> Any:
    failing = {"/c5.example": 503, "/c1.example": 404, "/c6": 500}
    if request.path in failing:
        return failing[request.path]
    return {"title": f"T{request.path[1:]}"} if request.api == "acme" else {"points": 7}


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATAFLOW_JOURNAL", str(tmp_path / "journal"))
    Path("source").mkdir()
    Path("job.py").write_text(JOB)
    Path("source/0.csv").write_text("key,more\n" + "".join(f"c{at},x\n" for at in range(8)))
    Path("source/1.csv").write_text("key,more\nd0,x\n")
    with flow.testing.offline(acme=answer, other=answer):
        assert run_command(["run", "job.py", "--no-progress"]) == 0
    return tmp_path / "datasets"


def chapters(story: Story) -> dict[str, Chapter]:
    return {chapter.service: chapter for chapter in story.chapters}


def told(key: Any, **settings: Any) -> Story:
    """The story, without the network: a call would have no handler and fail."""
    with flow.testing.offline() as calls:
        story = flow.why("companies", key, **settings)
    assert list(calls) == []
    return story


def test_a_record_of_the_output_is_told_with_what_each_service_did(catalog: Path) -> None:
    story = told("c0")
    assert (story.ended, story.version, story.source_row, story.part_row) == ("output", 1, 1, 0)
    assert story.source_file is not None
    assert story.source_file.endswith("source/0.csv")
    assert [chapter.service for chapter in story.chapters] == ["domain", "short", "decent", "company", "score", "shout"]
    found = chapters(story)
    assert {chapter.status for chapter in story.chapters} == {"succeeded"}
    assert found["company"].wrote == {"title": "Tc0.example"}
    assert found["company"].answer_cost == 0.5
    assert found["company"].age is not None
    assert 0 <= found["company"].age < 60
    assert found["shout"].wrote == {"shout": "TC0.EXAMPLE"}
    assert found["short"].verdict == ()
    assert story.record["title"] == "Tc0.example"
    assert story.notes == ()


@pytest.mark.parametrize(
    ("key", "service", "status", "reason"),
    [
        ("c1", "company", "not_found", None),
        ("c1", "shout", "skipped", "missing input"),
        ("c3", "company", "skipped", "missing input"),
        ("c5", "company", "failed", "HTTP 503"),
        ("c5", "shout", "skipped", "company failed"),
        ("c5", "score", "succeeded", None),
    ],
)
def test_what_did_not_succeed_is_told_with_its_reason(
    catalog: Path, key: str, service: str, status: str, reason: str | None
) -> None:
    chapter = chapters(told(key))[service]
    assert (chapter.status, chapter.reason) == (status, reason)


def test_a_failure_is_told_with_its_status_attempts_and_duration(catalog: Path) -> None:
    chapter = chapters(told("c5"))["company"]
    assert (chapter.http_status, chapter.attempts) == (503, 1)
    assert chapter.duration is not None
    assert chapter.cost == 0.5


def test_verdicts_are_told(catalog: Path) -> None:
    assert chapters(told("c2"))["short"].verdict == ("too long",)
    assert chapters(told("c7"))["decent"].verdict == ("",)
    assert "short: succeeded, invalid: too long" in str(told("c2"))
    assert "decent: succeeded, invalid: false" in str(told("c7"))


def test_a_rejected_record_is_told_with_who_rejected_it_and_what_the_others_did(catalog: Path) -> None:
    story = told("c6")
    assert story.ended == "rejects"
    assert story.rejected == {"service": "score", "reason": "HTTP 500", "error": "answered 500"}
    assert story.source_row == 7
    assert chapters(story)["company"].wrote == {"title": "Tc6.example"}
    assert story.record == {"key": "c6", "more": "x"}
    assert "rejected by score: HTTP 500 (answered 500)" in str(story)
    assert told("c7").source_row == 8


def test_file_and_row_name_a_record_too(catalog: Path) -> None:
    for name in ("0.csv:8", "source/0.csv:8", f"{Path('source/0.csv').absolute()}:8"):
        assert told(name).record["key"] == "c7"
    assert told("0.csv:7").ended == "rejects"
    assert told("1.csv:1").record["key"] == "d0"


def test_a_key_that_is_not_there_suggests_others(catalog: Path, capsys: pytest.CaptureFixture[str]) -> None:
    story = told("D0")
    assert (story.ended, story.near[0]) == ("nowhere", "d0")
    assert run_command(["why", "companies", "D0"]) == 1
    assert "there is no record key=D0 in companies@v1; did you mean d0" in capsys.readouterr().out
    assert told("0.csv:99").ended == "nowhere"


def test_a_remembered_answer_of_an_earlier_run_is_told_as_cached_with_its_age(catalog: Path) -> None:
    Path("source/2.csv").write_text("key,more\nc0,again\nd1,x\n")
    with flow.testing.offline(acme=answer, other=answer):
        assert run_command(["run", "job.py", "--no-progress", "--incremental"]) == 0
    story = told("d0")
    assert (story.dataset, story.version) == ("companies@v2", 1)
    assert "version 1, carried over since" in str(story)
    assert told("c0").count == 2
    assert "2 records have this key" in str(told("c0"))
    assert told("c0", version=1).count == 1


def test_without_its_job_the_files_are_told_and_what_is_missing_is_said(catalog: Path) -> None:
    Path("job.py").unlink()
    story = told("c5")
    found = chapters(story)
    assert (found["company"].status, found["company"].reason) == ("failed", "HTTP 503")
    assert found["domain"].status == "succeeded"
    assert found["score"].status == "succeeded"
    assert found["shout"].status is None
    assert found["shout"].reason == "succeeded or skipped: only its job can tell which"
    assert "cannot be told" in story.notes[0]
    assert chapters(told("c2"))["short"].verdict == ("too long",)


def test_a_changed_job_tells_nothing_it_cannot_know(catalog: Path) -> None:
    Path("job.py").write_text(JOB.replace("title.upper()", "title.lower()"))
    story = told("c0")
    assert story.notes == ("declared otherwise since, so told from the files: shout",)
    found = chapters(story)
    assert (found["domain"].status, found["company"].status) == ("succeeded", "succeeded")
    assert found["shout"].reason == "succeeded or skipped: it is declared otherwise by now"
    assert found["shout"].wrote == {"shout": "TC0.EXAMPLE"}
    Path("job.py").write_text(JOB.replace('key="key"', 'key="more"'))
    assert "the job has changed since: key" in told("c0").notes[0]


def test_without_its_plan_and_source_a_record_is_still_found(catalog: Path) -> None:
    shutil.rmtree("source")
    assert "cannot be told" in told("c5").notes[0]
    assert chapters(told("c5"))["company"].status == "failed"
    shutil.rmtree(catalog / "companies" / "_runs")
    story = told("c0")
    assert (story.ended, story.source_row) == ("output", None)
    assert "the plan of its run is gone" in story.notes[0]


def test_when_answers_are_forgotten_it_says_so(catalog: Path) -> None:
    memory._apart.clear()
    chapter = chapters(told("c0"))["company"]
    assert chapter.status is None
    assert chapter.reason == "succeeded or not found or skipped: its answer is not remembered any more"
    assert chapter.wrote == {"title": "Tc0.example"}
    assert chapters(told("c5"))["company"].reason == "HTTP 503"


def test_json_is_one_object(catalog: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["why", "companies", "c6", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["rejected"]["service"] == "score"
    assert {"service", "status", "reason", "wrote"} <= values["chapters"][0].keys()


def test_a_run_of_python_is_told_with_its_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    @flow.transformation
    def double(number: int) -> int:
        return 2 * number

    pipeline = flow.Pipeline("p", [double])
    table = pa.table({"a": [1, 1], "b": ["x", "y"], "number": [3, 4]})
    pipeline.run(table, output="out", key=["a", "b"])
    for key in ("1,y", "b=y,a=1", (1, "y"), {"a": 1, "b": "y"}):
        assert flow.why("out", key).record["double"] == 8
    assert "started from Python" in flow.why("out", "1,y").notes[0]
    with pytest.raises(DeclarationError, match="a=VALUE,b=VALUE"):
        flow.why("out", "1")
    with pytest.raises(CatalogError):
        flow.why("outt", "1,y")
    job = flow.Job(pipeline, source=table, output="out", key=["a", "b"])
    story = flow.why("out", (1, "x"), job=job)
    assert (story.notes, story.chapters[0].wrote) == ((), {"double": 6})


def test_a_value_is_cut_to_what_people_read() -> None:
    long = {"text": "x" * 10_000, "items": list(range(1000)), "deep": [{"text": "y" * 1000}]}
    found = cut(long)
    assert len(json.dumps(found)) < 1500
    assert "(10,000 characters)" in found["text"]
    assert "(1,000 items)" in found["items"][-1]


def test_controls_of_a_terminal_do_not_get_through() -> None:
    story = Story(dataset="x@v1", key={"k": "a\x1b[2J"}, ended="output", record={"v": "\x1b[31m"}, run="r")
    assert "\x1b" not in str(story)
