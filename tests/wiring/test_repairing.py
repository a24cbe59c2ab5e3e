"""What failed is tried again and nothing else: one new version, of good rows and repaired ones, with its lineage."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.errors import CatalogError, DeclarationError
from dataflow.faces.cli import run_command
from dataflow.store.catalog import Catalog
from dataflow.store.dataset import Dataset
from dataflow.wiring.run import Run

JOB = """
import dataflow as flow

api = flow.API("acme", "https://acme.example", concurrency=4, retry=1, breaker=False)
other = flow.API("other", "https://other.example", concurrency=4, retry=1, breaker=False)

@flow.validation
def short(key: str) -> str | None:
    return None if len(key) < 4 else "too long"

company = api.get("company", "/{key}", returns={"title": str}, priority="critical")
score = other.get("score", "/{key}", returns={"points": int})

@flow.enrichment
def shout(title: str) -> str:
    return title.upper()

pipeline = flow.Pipeline("companies", [short, company, score, shout])
job = flow.Job(pipeline, source="source", output="companies", key="key", max_failures=1000)
"""
KEYS = [f"c{at}" for at in range(12)]


class Desk:
    """A folder with a job over three files of four keys, and two providers that fail for some of them."""

    def __init__(self, folder: Path) -> None:
        (folder / "source").mkdir()
        self.write(JOB)
        for at in range(3):
            rows = "".join(f"{key},x\n" for key in KEYS[4 * at : 4 * at + 4])
            (folder / "source" / f"{at}.csv").write_text(f"key,more\n{rows}")
        self.down: set[str] = set()
        self.asked: list[str] = []

    def write(self, job: str) -> None:
        Path("job.py").write_text(job)

    def command(self, *arguments: str) -> int:
        def answer(request: Any) -> Any:
            place = f"{request.api}{request.path}"
            if place in self.down:
                return 503
            return {"title": f"T{request.path[1:]}"} if request.api == "acme" else {"points": len(request.path)}

        with flow.testing.offline(acme=answer, other=answer) as calls:
            code = run_command([*arguments, *([] if arguments[0] == "show" else ["--no-progress"])])
        self.asked = sorted(f"{one.api}{one.path}" for one in calls)
        return code

    def open(self, name: str = "companies") -> Dataset:
        return Catalog("datasets").open(name)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATAFLOW_JOURNAL", str(tmp_path / "journal"))
    return Desk(tmp_path)


def files(dataset: Dataset) -> set[int]:
    return {Path(path).stat().st_ino for path in dataset.files}


def test_only_what_failed_is_called_and_the_new_version_is_whole(desk: Desk) -> None:
    desk.down = {"acme/c5", "other/c6"}
    assert desk.command("run", "job.py") == 0
    assert desk.open().rejects()["key"].to_pylist() == ["c5"]
    desk.down = set()
    assert desk.command("repair", "latest") == 0
    assert desk.asked == ["acme/c5", "other/c6"]
    found = desk.open()
    found.verify()
    assert found.version == 2
    assert found.to_arrow()["key"].to_pylist() == KEYS
    assert found.to_arrow()["shout"].to_pylist() == [f"T{key.upper()}" for key in KEYS]
    assert found.to_arrow()["points"].null_count == 0
    assert (found.rejects().num_rows, found.failures().num_rows) == (0, 0)
    counts = found.statistics["services"]["company"]
    assert (counts["succeeded"], counts["cached"], counts["failed"]) == (1, 11, 0)
    assert [one["calls"] for one in found.statistics["services"].values() if one["cached"]] == [1, 1]


def test_whole_partitions_are_carried_over_and_the_lineage_names_what_was_repaired(desk: Desk) -> None:
    desk.down = {"acme/c5"}
    assert desk.command("run", "job.py") == 0
    first = desk.open()
    desk.down = set()
    assert desk.command("repair", "companies@v1") == 0
    second = desk.open()
    assert len(files(first) & files(second)) == 2
    assert second.manifest["lineage"]["repaired"] == {"run": first.manifest["run"], "version": 1, "service": None}
    assert second.manifest["lineage"]["source"] == first.manifest["lineage"]["source"]
    assert second.manifest["fingerprints"] == first.manifest["fingerprints"]


def test_nothing_to_repair_says_so_and_publishes_nothing(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    assert desk.command("run", "job.py") == 0
    assert desk.command("repair", "latest") == 0
    assert "nothing to repair in companies@v1: no outcome has failed" in capsys.readouterr().out
    assert desk.asked == []
    assert desk.open().version == 1


def test_verdicts_are_no_failures(desk: Desk) -> None:
    desk.write(JOB.replace("short, company, score, shout]", 'short, company, score, shout], invalid="reject"'))
    assert desk.command("run", "job.py") == 0
    Path("source/0.csv").write_text("key,more\nc0,x\nlonger,x\n")
    assert desk.command("run", "job.py") == 0
    assert desk.open().rejects()["key"].to_pylist() == ["longer"]
    assert desk.command("repair", "latest") == 0
    assert desk.open().version == 2


def test_one_service_is_repaired_and_the_failures_of_others_stay_without_a_call(desk: Desk) -> None:
    desk.down = {"acme/c5", "other/c5", "other/c6", "other/c0"}
    assert desk.command("run", "job.py") == 0
    before = {row["key"]: row for row in desk.open().failures().to_pylist() if row["service"] == "score"}
    desk.down = set()
    assert desk.command("repair", "latest", "--service", "company") == 0
    assert desk.asked == ["acme/c5"]
    found = desk.open()
    assert found.to_arrow()["title"].null_count == 0
    after = {row["key"]: row for row in found.failures().to_pylist()}
    assert after.keys() == before.keys() == {"c0", "c5", "c6"}
    for key, row in after.items():
        assert {name: row[name] for name in ("status", "reason", "http_status")} == {
            name: before[key][name] for name in ("status", "reason", "http_status")
        }
    assert found.manifest["lineage"]["repaired"]["service"] == "company"
    assert desk.command("repair", "latest") == 0
    assert desk.asked == ["other/c0", "other/c5", "other/c6"]


def test_a_critical_service_that_is_left_alone_still_rejects_with_its_error(desk: Desk) -> None:
    desk.down = {"acme/c5", "other/c6"}
    assert desk.command("run", "job.py") == 0
    before = desk.open().rejects().to_pylist()
    desk.down = set()
    assert desk.command("repair", "latest", "--service", "score") == 0
    assert desk.asked == ["other/c6"]
    assert desk.open().rejects().to_pylist() == before


def test_what_still_fails_stays_failed_and_can_be_repaired_later(desk: Desk) -> None:
    desk.down = {"acme/c5", "acme/c9"}
    assert desk.command("run", "job.py") == 0
    desk.down = {"acme/c9"}
    assert desk.command("repair", "latest") == 0
    assert desk.open().rejects()["key"].to_pylist() == ["c9"]
    desk.down = set()
    assert desk.command("repair", "companies") == 0
    assert desk.asked == ["acme/c9"]
    assert (desk.open().version, desk.open().rejects().num_rows) == (3, 0)


def test_an_unpublished_run_is_not_repaired(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.write(JOB.replace("max_failures=1000", "max_failures=0"))
    desk.down = {"acme/c5"}
    assert desk.command("run", "job.py") == 3
    assert desk.command("repair", "latest") == 2
    assert "run its job again to go on, or publish it as it is" in capsys.readouterr().err
    assert desk.command("publish", "latest") == 0
    desk.down = set()
    assert desk.command("repair", "latest") == 0
    assert desk.open().to_arrow()["key"].to_pylist() == KEYS
    assert desk.open().statistics["not_attempted_records"] == 0


def test_an_interrupted_repair_goes_on_by_the_same_command_or_by_the_next_run(desk: Desk) -> None:
    for number, command in enumerate([("repair", "latest"), ("run", "job.py"), ("publish", "latest")]):
        job = JOB.replace("max_failures=1000", "max_failures=0")
        desk.write(job.replace("title.upper()", f'title.upper() + "{number}"'))
        desk.down = {"acme/c5", "other/c9"}
        assert desk.command("run", "job.py", "--no-resume") == 3
        assert desk.command("publish", "latest") == 0
        first = desk.open()
        assert desk.command("repair", "latest") == 3
        desk.down = set()
        assert desk.command(*command) == 0
        found = desk.open()
        assert found.version == first.version + 1
        assert found.manifest["lineage"]["repaired"]["version"] == first.version
        if command[0] != "publish":
            assert found.to_arrow()["key"].to_pylist() == KEYS
            assert found.failures().num_rows == 0


def test_a_changed_job_and_a_wrong_name_are_refused_with_advice(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.down = {"acme/c5"}
    assert desk.command("run", "job.py") == 0
    assert desk.command("repair", "latest", "--service", "compny") == 2
    assert "did you mean 'company'?" in capsys.readouterr().err
    assert desk.command("repair", "nothing") == 2
    desk.write(JOB.replace("title.upper()", "title.lower()"))
    assert desk.command("repair", "latest") == 2
    assert "cannot be repaired, since its plan has changed: service `shout`" in capsys.readouterr().err
    assert desk.open().version == 1


def test_json_prints_one_object(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.down = {"acme/c5"}
    assert desk.command("run", "job.py") == 0
    desk.down = set()
    capsys.readouterr()
    assert desk.command("repair", "latest", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["status"], told["version"]) == ("published", 2)


def test_a_run_of_python_repairs_itself_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATAFLOW_JOURNAL", str(tmp_path / "journal"))
    api = flow.API("acme", "https://acme.example", retry=1, breaker=False)
    company = api.get("company", "/{key}", returns={"title": str}, priority="optional")
    failing = {"/a", "/b"}
    asked: Counter[str] = Counter()

    def answer(request: Any) -> Any:
        asked[request.path] += 1
        return 503 if request.path in failing else {"title": request.path}

    with flow.testing.offline(acme=answer):
        run = flow.Pipeline("p", [company]).run(pa.table({"key": ["a", "b", "c"]}), output="out", key="key")
        failing.remove("/a")
        second = run.repair()
        failing.clear()
        third = second.repair(service="company")
        assert third.repair().status == "unchanged"
    assert third.to_arrow()["title"].to_pylist() == ["/a", "/b", "/c"]
    assert asked == {"/a": 2, "/b": 3, "/c": 1}
    with pytest.raises(DeclarationError, match="no service 'x'"):
        third.repair(service="x")
    with pytest.raises(CatalogError, match="published nothing"):
        Run(id="x", output="out", catalog="datasets").repair()


EFFECTS = """
import dataflow as flow

api = flow.API("acme", "https://acme.example", concurrency=1, retry=1, breaker=False)
mail = api.post("mail", "/{key}", returns={"title": str}, idempotent=False)
other = flow.API("other", "https://other.example", concurrency=4, retry=1, breaker=False)
score = other.get("score", "/{key}", returns={"points": int})
job = flow.Job(flow.Pipeline("mails", [mail, score]), source="source", output="companies", key="key", max_failures=1000)
"""


def test_what_may_be_sent_once_is_not_sent_by_a_repair_unless_it_has_surely_done_nothing(
    desk: Desk,
) -> None:
    desk.write(EFFECTS)
    told: Counter[str] = Counter()
    statuses = {"/c1": 503, "/c2": 429, "/c3": 400}

    def answer(request: Any) -> Any:
        if request.api == "other":
            return 503 if statuses and request.path == "/c0" else {"points": 1}
        told[request.path] += 1
        status = statuses.get(request.path)
        return {"title": "sent"} if status is None else status

    with flow.testing.offline(acme=answer, other=answer):
        assert run_command(["run", "job.py", "--no-progress"]) == 0
        statuses.clear()
        assert run_command(["repair", "latest", "--no-progress"]) == 0
    assert told == {f"/{key}": 2 if key in ("c2", "c3") else 1 for key in KEYS}
    found = Catalog("datasets").open("companies")
    assert [(row["key"], row["reason"]) for row in found.failures().to_pylist()] == [("c1", "HTTP 503")]


def test_good_answers_of_a_service_without_a_cache_serve_its_repair(desk: Desk) -> None:
    desk.write(JOB.replace('returns={"points": int}', 'returns={"points": int}, cache=False'))
    desk.down = {"other/c5", "acme/c9"}
    assert desk.command("run", "job.py") == 0
    desk.down = {"acme/c9"}
    assert desk.command("repair", "latest") == 0
    assert desk.asked == ["acme/c9", "other/c5"]
    desk.down = set()
    assert desk.command("repair", "latest") == 0
    assert desk.asked == ["acme/c9"]
    assert desk.open().failures().num_rows == 0


def test_a_catalog_in_an_object_store_is_repaired_and_told_too() -> None:
    api = flow.API("acme", "https://acme.example", retry=1, breaker=False)
    mail = api.post("mail", "/mail/{key}", returns={"title": str}, idempotent=False)
    score = api.get("score", "/score/{key}", returns={"points": int})
    failing = {"/score/b": 503, "/mail/a": 503}
    asked: Counter[str] = Counter()

    def answer(request: Any) -> Any:
        asked[request.path] += 1
        return failing.get(request.path) or {"title": request.path, "points": 1}

    with flow.testing.offline(acme=answer):
        pipeline, table = flow.Pipeline("p", [mail, score]), pa.table({"key": ["a", "b"]})
        catalog = flow.testing.memory_catalog()
        run = pipeline.run(table, output="out", key="key", catalog=catalog, max_failures=9)
        failing.clear()
        repaired = run.repair()
        story = flow.why("out", "a", catalog=catalog, job=flow.Job(pipeline, source=table, output="out", key="key"))
    assert asked == {"/mail/a": 1, "/mail/b": 1, "/score/a": 1, "/score/b": 2}
    assert [row["service"] for row in repaired.failures().to_pylist()] == ["mail"]
    assert [(one.service, one.status, one.reason) for one in story.chapters] == [
        ("mail", "failed", "HTTP 503"),
        ("score", "cached", None),
    ]
