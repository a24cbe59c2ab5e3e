"""`dataflow doctor`: what it prints, and the code it ends with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dataflow.faces.cli import run_command

JOB = """
import dataflow as flow

@flow.transformation
def double(number: int) -> int:
    return 2 * number

print("loading")
job = flow.Job(flow.Pipeline("numbers", [double]), source="numbers.csv", output="numbers")
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "numbers_job.py").write_text(JOB)
    (tmp_path / "numbers.csv").write_text("number\n1\n")
    return tmp_path


def test_each_finding_is_a_line(capfd: pytest.CaptureFixture[str]) -> None:
    assert run_command(["doctor", "numbers_job.py"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert "ok       job: numbers_job.py loads: 1 service for numbers" in lines
    assert "ok       source: 1 file, 9 B, 1 column" in lines
    assert "ok       cluster: none is named, so a run uses this machine" in lines


def test_json_is_one_object_whatever_the_job_prints(capfd: pytest.CaptureFixture[str]) -> None:
    assert run_command(["doctor", "numbers_job.py", "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert list(told) == ["findings", "ok"]
    assert told["ok"] is True
    assert {"level": "ok", "subject": "runs", "fact": "none is unfinished", "advice": ""} in told["findings"]


def test_the_exit_code_says_what_kind_of_problem_there_is(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_command(["doctor", "nothing.py", "--json"]) == 2
    assert json.loads(capfd.readouterr().out)["ok"] is False
    assert run_command(["doctor", "--scheduler-file", "nothing.json"]) == 75
    (folder / "numbers.csv").write_text("another\n1\n")
    assert run_command(["doctor", "numbers_job.py"]) == 1


def test_an_env_file_brings_what_is_looked_for(folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    # Set before it is deleted, so that it is gone again after the test.
    monkeypatch.setenv("ACME_KEY", "")
    monkeypatch.delenv("ACME_KEY")
    (folder / "numbers_job.py").write_text(
        "import dataflow as flow\n"
        "api = flow.API('acme', 'http://127.0.0.1:9', auth=flow.bearer('ACME_KEY'))\n"
        "services = [api.get('a', '/a/{number}', returns=str)]\n"
        "job = flow.Job(flow.Pipeline('p', services), source='numbers.csv', output='p')\n"
    )
    (folder / ".env").write_text("ACME_KEY=canary-4711\n")
    # The key is found; the API is not reached.
    assert run_command(["doctor", "numbers_job.py", "--env-file", ".env"]) == 1
    out = capfd.readouterr().out
    assert "secrets of acme: set here: ACME_KEY" in out
    assert "canary" not in out
