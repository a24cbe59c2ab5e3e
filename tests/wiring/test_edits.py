"""A job that is edited between two runs: no version is half the one and half the other, and the reason is said."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import dataflow as flow
from dataflow.store.catalog import Catalog
from dataflow.wiring.jobs import find_job
from dataflow.wiring.planning import differing, plan_job, plan_values

JOB = """
import time, pathlib
import dataflow as flow
import rules

SLOW = pathlib.Path(__file__).with_name("slow")

@flow.transformation
def result(number: int) -> int:
    if SLOW.exists():
        time.sleep(0.002)
    return rules.R.f(number)

job = flow.Job(flow.Pipeline("edited", [result]), source="source", output="edited", key="number")
"""
RULES = """
class Rule:
    def f(self, x): return x + 0

R = Rule()
"""
HIDDEN = """
class Rule:
    def __init__(self):
        self.steps = (n for n in [0])
    def f(self, x): return x + hidden()

R = Rule()
"""


class Folder:
    """A folder with a job, its rules and eight files of 50 records."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("job.py", JOB)
        self.write("rules.py", RULES)
        for at in range(8):
            self.write(f"source/{at}.csv", "number\n" + "".join(f"{n}\n" for n in range(at * 50, at * 50 + 50)))

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def edit(self, name: str, before: str, after: str) -> None:
        text = (self.folder / name).read_text()
        assert before in text
        self.write(name, text.replace(before, after))

    def start(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "dataflow", "run", "job.py", "--threads", "1", "--catalog", "catalog"]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=self.folder, **pipes)

    def kill_after(self, commits: int) -> None:
        """Run until so many partitions are committed, and kill it."""
        self.write("slow", "")
        process = self.start()
        deadline = time.monotonic() + 60
        while len(list(self.folder.glob("catalog/edited/_runs/*/commits/*.json"))) < commits:
            assert time.monotonic() < deadline
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        (self.folder / "slow").unlink()

    def run(self) -> str:
        process = self.start()
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        return out + err

    def results(self) -> list[int]:
        return list(pq.read_table(self.folder / "catalog/edited/latest")["result"].to_pylist())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.chdir(tmp_path)
    return Folder(tmp_path)


@pytest.mark.slow
def test_a_run_that_was_killed_and_edited_publishes_no_mixed_version(folder: Folder) -> None:
    folder.kill_after(3)
    folder.edit("rules.py", "x + 0", "x + 100000")
    said = folder.run()
    assert "(changed: service `result`: its code)" in said
    assert folder.results() == [n + 100_000 for n in range(400)]


@pytest.mark.slow
def test_a_comment_lets_a_run_that_was_killed_go_on(folder: Folder) -> None:
    folder.kill_after(3)
    folder.edit("rules.py", "class Rule:", '# why\n\nclass Rule:\n    """A rule."""')
    assert "abandoned" not in folder.run()
    assert folder.results() == list(range(400))


@pytest.mark.slow
@pytest.mark.parametrize("value", ["time.time()", "uuid.uuid4().hex", "{'at': random.random()}", "datetime.now()"])
def test_a_value_that_each_loading_makes_anew_is_named_and_no_edit_is_told_of(folder: Folder, value: str) -> None:
    made = f"import random, uuid\nfrom datetime import datetime\nSTAMP = {value}\nOTHER = 7\n"
    folder.edit("job.py", "import rules\n", f"import rules\n{made}")
    folder.edit("job.py", "rules.R.f(number)", "rules.R.f(number) if STAMP else OTHER")
    folder.kill_after(1)
    said = " ".join(folder.run().split())
    assert "service `result`: each loading of its file gives another `STAMP`, such as the clock or chance do" in said
    assert "flow.Context" in said
    assert "its code" not in said
    assert "OTHER" not in said


@pytest.mark.slow
def test_what_was_edited_is_an_edit_whatever_the_clock_says(folder: Folder) -> None:
    folder.edit("job.py", "import rules\n", "import rules\nSTAMP = time.time()\n")
    folder.edit("job.py", "rules.R.f(number)", "rules.R.f(number) if STAMP else 0")
    folder.kill_after(1)
    folder.edit("rules.py", "x + 0", "x + 1")
    assert "(changed: service `result`: its code)" in folder.run()


def plan_of(folder: Folder) -> Any:
    return plan_job(find_job(str(folder.folder / "job.py")).job, Catalog(folder.folder / "catalog"))


def after(folder: Folder, before: Any) -> list[str]:
    """What differs by now from a plan, as it is read from its file."""
    return differing(json.loads(json.dumps(plan_values(before, reference=None))), plan_of(folder))


def test_what_cannot_be_seen_into_goes_with_the_text_of_the_files(folder: Folder) -> None:
    folder.write("rules.py", HIDDEN + "\ndef hidden(): return 0\nOTHER = 1\n")
    before = plan_of(folder)
    said = "`R.steps` cannot be seen into (service result); raise version= when it changes"
    assert said in find_job(str(folder.folder / "job.py")).job.explain(catalog="catalog").notes
    folder.edit("rules.py", "OTHER = 1", "# a comment\nOTHER = 1")
    assert after(folder, before) == []
    folder.edit("rules.py", "OTHER = 1", "OTHER = 2")
    assert after(folder, before) == ["service `result`: the text of rules.py, since `R.steps` cannot be seen into"]


def test_what_is_imported_by_a_call_goes_with_the_text_of_the_files(folder: Folder) -> None:
    folder.edit("job.py", "import rules\n", "")
    folder.edit("job.py", "return rules", "import rules\n    return rules")
    before = plan_of(folder)
    folder.edit("rules.py", "x + 0", "x + 1")
    assert after(folder, before) == ["service `result`: the text of rules.py"]


@pytest.mark.parametrize(
    "call", ['importlib.import_module("rules")', '__import__("rules")', "importlib.import_module(NAME)"]
)
def test_what_is_imported_by_its_name_goes_with_the_text_of_the_files(folder: Folder, call: str) -> None:
    folder.edit("job.py", "import rules\n", 'import importlib\nNAME = "rules"\n')
    folder.edit("job.py", "rules.R", f"{call}.R")
    before = plan_of(folder)
    folder.edit("rules.py", "x + 0", "x + 1")
    assert after(folder, before) == ["service `result`: the text of rules.py"]


def test_what_a_module_does_when_it_is_loaded_goes_with_its_text(folder: Folder) -> None:
    folder.edit("rules.py", "class Rule:", "import decimal\ndecimal.getcontext().prec = 5\nclass Rule:")
    before = plan_of(folder)
    folder.edit("rules.py", "prec = 5", "prec = 6")
    assert after(folder, before) == ["service `result`: the text of rules.py"]


def test_a_type_of_the_file_in_a_list_is_the_same_after_an_edit_elsewhere(folder: Folder) -> None:
    folder.edit("job.py", "@flow", "class Part(TypedDict):\n    number: int\n\n@flow")
    folder.edit("job.py", "import time", "from typing import TypedDict\nimport time")
    folder.edit("job.py", "-> int:", "-> list[Part | None]:")
    folder.edit("job.py", "rules.R.f(number)", "[Part(number=rules.R.f(number))]")
    before = plan_of(folder)
    folder.edit("job.py", "\njob =", "\n# a comment\njob =")
    assert after(folder, before) == []


def test_a_plan_of_before_is_read(folder: Folder) -> None:
    plan = plan_values(plan_of(folder), reference=None)
    plan["fingerprints"]["service result"] = "0123456789abcdef"
    del plan["texts"]
    assert differing(plan, plan_of(folder)) == ["service `result`"]


def test_a_cell_that_is_run_again_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("number\n1\n")
    scope: dict[str, Any] = {"__name__": "__main__", "flow": flow, "kept": open(os.devnull)}  # noqa: SIM115, PTH123

    def cell(text: str) -> None:
        exec(compile(text, "<ipython-input-1>", "exec", dont_inherit=True), scope)

    def fingerprint() -> str:
        job = flow.Job(scope["p"], source=str(tmp_path / "s.csv"), output="o")
        return plan_job(job, Catalog(tmp_path / "catalog")).fingerprints["service add"]

    cell("def plus(x): return x + 1")
    cell("@flow.transformation\ndef add(number: int) -> int:\n    return plus(number)")
    cell("p = flow.Pipeline('p', [add])")
    first = fingerprint()
    assert fingerprint() == first
    cell("def plus(x): return x + 2")
    assert fingerprint() != first
    cell("def plus(x): return x + len(kept.name)")
    hidden = fingerprint()
    assert fingerprint() == hidden
    scope["kept"].close()
    scope["kept"] = open(os.devnull)  # noqa: SIM115, PTH123
    assert fingerprint() != hidden
    scope["kept"].close()


SEEN: dict[int, int] = {}
COUNT, ADD = 0, 0


@flow.transformation
def counted(number: int) -> int:
    global COUNT  # noqa: PLW0603 - what services of notebooks do
    COUNT += 1
    SEEN[number] = COUNT
    return number + ADD


def test_what_a_run_has_counted_and_remembered_is_no_edit_for_the_next(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "s.csv").write_text("number\n1\n2\n")
    place = {"catalog": str(tmp_path / "catalog"), "incremental": True}
    job = flow.Job(flow.Pipeline("p", [counted]), source=str(tmp_path / "s.csv"), output="o", key="number")
    job.run(**place)
    assert COUNT == len(SEEN) == 2
    job.run(**place)
    assert COUNT == 2
    monkeypatch.setattr(sys.modules[__name__], "ADD", 1)
    assert job.run(**place).dataset.to_arrow()["counted"].to_pylist() == [2, 3]  # type: ignore[union-attr]
    SEEN.clear()
    job.run(**place)
    assert len(SEEN) == 2


@flow.transformation(constants={"step": None})
def stepped(number: int, step: Any) -> int:
    return number


@flow.transformation
class Stepping:
    def __init__(self, step: Any = None) -> None:
        self.step = step

    def __call__(self, number: int) -> int:
        return int(self.step(number))


@pytest.mark.parametrize(("service", "option"), [(stepped, "constants"), (Stepping, "setup")])
def test_a_function_among_the_options_counts_by_its_code(service: flow.Service, option: str, tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("number\n1\n")

    def fingerprint(step: Any) -> dict[str, str]:
        pipeline = flow.Pipeline("p", [service.with_(**{option: {"step": step}})])
        job = flow.Job(pipeline, source=str(tmp_path / "s.csv"), output="o")
        return plan_job(job, Catalog(tmp_path / "catalog")).fingerprints

    assert fingerprint(lambda x: x) == fingerprint(lambda x: x)
    assert fingerprint(lambda x: x) != fingerprint(lambda x: -x)
