"""What the commands around the cache say and do."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from dataflow.faces.cli import run_command
from dataflow.outcomes import Status
from dataflow.store.cache.answers import Answer, Origin
from dataflow.store.cache.cache import Cache

DAY = 86_400.0


@pytest.fixture
def root(tmp_path: Path) -> str:
    root = str(tmp_path / "catalog")
    with Cache(root) as cache:
        for at, (service, age, status) in enumerate(
            [
                ("company", 40, Status.SUCCEEDED),
                ("company", 1, Status.SUCCEEDED),
                ("company", 1, Status.NOT_FOUND),
                ("news", 40, Status.SUCCEEDED),
            ]
        ):
            origin = Origin(service=service, version="1", definition="0123456789ab")
            answer = Answer(status, b'"x"', time.time() - age * DAY, 0.25)
            cache.put(bytes([at]) * 20, answer, origin=origin)
    return root


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run_command(["cache", *arguments]) == 0
    return capsys.readouterr().out


def test_stats_count_answers_and_money_by_service(root: str, capsys: pytest.CaptureFixture[str]) -> None:
    company, news = json.loads(told(capsys, "stats", "--catalog", root, "--json"))
    assert (company["service"], company["answers"], company["not_found"], company["cost"]) == ("company", 3, 1, 0.75)
    assert (news["service"], news["answers"], news["segments"]) == ("news", 1, 1)
    assert "company" in told(capsys, "stats", "--catalog", root)
    assert told(capsys, "stats", "--catalog", f"{root}/none") == f"no answers are kept in {root}/none\n"


@pytest.mark.parametrize(
    ("options", "answers", "segments"),
    [
        ([], 4, 2),
        (["--service", "company"], 3, 1),
        (["--older", "30d"], 2, 2),
        (["--service", "news", "--older", "30d"], 1, 1),
        (["--service", "news", "--older", "50d"], 0, 0),
        (["--version", "2"], 0, 0),
        (["--service", "nobody"], 0, 0),
    ],
)
def test_purge_removes_what_fits_all_that_is_given(
    root: str, capsys: pytest.CaptureFixture[str], options: list[str], answers: int, segments: int
) -> None:
    purged = json.loads(told(capsys, "purge", "--catalog", root, "--json", *options))
    assert purged == {"answers": answers, "segments": segments}
    left = json.loads(told(capsys, "stats", "--catalog", root, "--json"))
    assert sum(one["answers"] for one in left) == 4 - answers
    assert told(capsys, "purge", "--catalog", root, *options) == "removed 0 answers, 0 segments\n"


def test_a_damaged_segment_is_named_and_removed_with_its_service(root: str, capsys: pytest.CaptureFixture[str]) -> None:
    spoiled = next(Path(root).glob("_cache/news/*/*.parquet"))
    spoiled.write_bytes(b"no parquet")
    assert run_command(["cache", "stats", "--catalog", root, "--json"]) == 0
    out, err = capsys.readouterr()
    assert [one["service"] for one in json.loads(out)] == ["company"]
    assert f"warning: {spoiled} cannot be read" in err
    assert "1 segments" in told(capsys, "purge", "--catalog", root, "--service", "news")
    assert not spoiled.exists()


def test_an_age_that_is_none_is_refused(root: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["cache", "purge", "--catalog", root, "--older", "soon"]) == 2
    assert "--older takes seconds or a duration" in capsys.readouterr().err
