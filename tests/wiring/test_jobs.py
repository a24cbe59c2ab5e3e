"""How a command finds its job: by file, by name, by module, as a function, as a pipeline."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dataflow as flow
from dataflow.engine.program import load
from dataflow.errors import DeclarationError
from dataflow.store.sources import Source
from dataflow.wiring.jobs import find_job, other_path, require_source

HEAD = """
import dataflow as flow

@flow.transformation
def double(number: int) -> int:
    return 2 * number

pipeline = flow.Pipeline("numbers", [double])
"""
JOB = f"{HEAD}\njob = flow.Job(pipeline, source='a.csv', output='out', key='number', max_failures=7)\n"

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    monkeypatch.chdir(tmp_path)

    def to(text: str, name: str = "one.py") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    return to


def test_a_file_with_a_job(write: Write) -> None:
    path = write(JOB)
    for text in (str(path), "one.py", "./one.py", "one.py:job"):
        found = find_job(text)
        assert (found.job.source, found.job.output, found.job.key, found.job.max_failures) == (
            "a.csv",
            "out",
            "number",
            7,
        )
    assert load(found.program).pipeline is found.job.pipeline


def test_another_source_and_another_output(write: Write, tmp_path: Path) -> None:
    write(JOB)
    write((tmp_path / "one.py").read_text().replace("max_failures=7", "max_failures=7, min_found={}, deadline='2h'"))
    job = find_job("one.py", source="b.csv", output="other").job
    assert (job.min_found, job.deadline) == ({}, "2h")
    assert (job.source, job.output, job.key, job.max_failures) == ("b.csv", "other", "number", 7)
    assert job.guardrails.max_failures.given
    write((tmp_path / "one.py").read_text().replace("max_failures=7, ", ""))
    assert not find_job("one.py", source="b.csv").job.guardrails.max_failures.given


def test_a_name_in_a_file_and_a_pipeline(write: Write) -> None:
    write(JOB + "\nspecial = flow.Job(pipeline, source='s.csv', output='special')\n")
    assert find_job("one.py:special").job.output == "special"
    found = find_job("one.py:pipeline", source="b.csv")
    assert (found.job.source, found.job.output) == ("b.csv", "numbers-output")
    assert require_source(found, "one.py:pipeline") is found.job
    with pytest.raises(DeclarationError, match=r"one\.py:pipeline is a pipeline; say what to run it on with --source"):
        require_source(find_job("one.py:pipeline"), "one.py:pipeline")


def test_a_module_in_the_current_folder_and_in_a_package(write: Write, tmp_path: Path) -> None:
    write(JOB, "users_jobs_a.py")
    write("", "users_package_b/__init__.py")
    write("NAME = 'helped'", "users_package_b/helper.py")
    write(JOB.replace("'out'", "helper.NAME") + "\n", "users_package_b/inner.py")
    text = (Path("users_package_b") / "inner.py").read_text()
    write(
        text.replace("import dataflow as flow", "import dataflow as flow\nfrom users_package_b import helper"),
        "users_package_b/inner.py",
    )
    assert find_job("users_jobs_a:job").job.output == "out"
    assert find_job("users_jobs_a").job.output == "out"
    assert find_job("users_package_b.inner:job").job.output == "helped"
    assert str(tmp_path) not in sys.path


def test_a_module_beside_the_job_is_found(write: Write) -> None:
    write("OUTPUT = 'from-helper'", "folder/users_helper_c.py")
    write(
        JOB.replace("'out'", "users_helper_c.OUTPUT").replace(
            "import dataflow as flow", "import dataflow as flow, users_helper_c"
        ),
        "folder/two.py",
    )
    assert find_job("folder/two.py").job.output == "from-helper"


FUNCTION = (
    HEAD
    + """
def job(source: str = "a.csv", limit: int = 1, rate: float = 1.0, zip: str = "", strict: bool = False, tags=None):
    made = flow.Job(pipeline, source=source, output="out")
    object.__setattr__(made, "key", repr((limit, rate, zip, strict, tags)))
    return made
"""
)


def test_a_function_gets_its_parameters_under_its_annotations(write: Write) -> None:
    write(FUNCTION)
    given = {"limit": "5", "rate": "2", "zip": "01234", "strict": "true", "tags": '["a", 1]'}
    found = find_job("one.py", parameters=given)
    assert found.job.key == repr((5, 2, "01234", True, ["a", 1]))
    assert found.parameters == {"limit": 5, "rate": 2, "zip": "01234", "strict": True, "tags": ["a", 1]}
    assert find_job("one.py:job", parameters={"zip": "12345"}).job.key == repr((1, 1.0, "12345", False, None))
    assert find_job("one.py", parameters={"tags": "plain text"}).job.key == repr((1, 1.0, "", False, "plain text"))


@pytest.mark.parametrize(
    ("name", "text", "annotation"),
    [
        ("limit", "many", "int"),
        ("limit", "1.5", "int"),
        ("limit", "true", "int"),
        ("strict", "1", "bool"),
        ("rate", "x", "float"),
    ],
)
def test_a_parameter_of_another_type_is_refused(write: Write, name: str, text: str, annotation: str) -> None:
    write(FUNCTION)
    with pytest.raises(DeclarationError, match=f"parameter `{name}` is {annotation}, which '{text}' is not"):
        find_job("one.py", parameters={name: text})


def test_a_function_with_a_source_is_given_the_one_of_the_command(write: Write) -> None:
    write(FUNCTION)
    found = find_job("one.py", source="b.csv", parameters={"limit": "2"})
    assert found.job.source == "b.csv"
    assert load(found.program).source == "b.csv"
    assert found.parameters == {"limit": 2}


def test_a_function_without_a_source_keeps_the_options_of_its_own(write: Write) -> None:
    write(HEAD + "\ndef job():\n    return flow.Job(pipeline, source=flow.csv('a.csv', delimiter=';'), output='out')\n")
    source = find_job("one.py", source="b.csv").job.source
    assert (source.paths, source.options["delimiter"]) == (("b.csv",), ";")


@pytest.mark.parametrize(
    ("path", "kept"),
    [("b.csv", True), ("b.csv.gz", True), ("folder", True), ("*.txt", True), ("s3://bucket/b", True),
     ("b.parquet", False), ("leads-processed", False), ("leads@v2", False)],
)  # fmt: skip
def test_the_options_of_a_source_hold_at_another_path_of_its_kind(write: Write, path: str, kept: bool) -> None:
    write("a,b", "folder/a.csv")
    given = flow.csv("a.csv", delimiter=";")
    found = other_path(given, path)
    assert isinstance(found, Source) is kept
    if isinstance(found, Source):
        assert (found.paths, found.options) == ((path,), given.options)


def test_the_folder_of_a_dataset_is_read_as_what_it_is(write: Write) -> None:
    write("number\n1\n", "a.csv")
    find_job(str(write(JOB))).job.run(catalog="datasets")
    assert other_path(flow.csv("a.csv", delimiter=";"), "datasets/out") == "datasets/out"


ERRORS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "syntax": ("x = (\n", r"one\.py, line 1: ", {}),
    "raises": ("a = 1\nb = a / 0\n", r"one\.py, line 2: ZeroDivisionError: division by zero", {}),
    "missing module": ("import no_such_module\n", r"one\.py, line 1: .*no_such_module.*install it", {}),
    "nothing": ("x = 1\n", r"one\.py defines neither `job` nor `pipeline`", {}),
    "another thing": ("job = 5\n", r"one\.py is a int; a job file defines a Job or a Pipeline", {}),
    "wiring": (HEAD.replace("number: int", "number: object"), r"one\.py, line \d+: `double` reads", {}),
    "exit": ("import sys\nsys.exit(0)\n", r"one\.py, line 2: SystemExit", {}),
    "no function": (JOB, r"is no function, so it takes no parameters \(given: x\)", {"x": "1"}),
    "unknown parameter": (FUNCTION, r"`job` in .*one\.py takes \(source: .*'x'", {"x": "1"}),
    "function raises": (HEAD + "\ndef job():\n    raise ValueError('no')\n", r"one\.py, line \d+: ValueError: no", {}),
}


@pytest.mark.parametrize(("text", "message", "parameters"), ERRORS.values(), ids=ERRORS)
def test_a_fault_of_the_job_file_names_file_and_line(
    write: Write, text: str, message: str, parameters: dict[str, str]
) -> None:
    write(text.lstrip("\n"))
    with pytest.raises(DeclarationError, match=message):
        find_job("one.py", parameters=parameters)


def test_a_fault_in_a_module_beside_the_job_names_that_module(write: Write) -> None:
    write("\n\n1 / 0\n", "users_broken_d.py")
    write("import users_broken_d\n")
    with pytest.raises(DeclarationError, match=r"users_broken_d\.py, line 3: ZeroDivisionError"):
        find_job("one.py")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("missing.py", r"there is no job file missing\.py"),
        ("missing.py:job", r"there is no job file missing\.py"),
        ("folder", "there is no job file folder"),
        ("no_such_module:job", "'no_such_module:job' is no job: there is neither a file nor a module no_such_module"),
        ("sys:path", "there is neither a file nor a module sys"),
        ("no_such.module:job", "neither a file nor a module"),
        ("users_broken_e.inner:job", r"a package around users_broken_e\.inner cannot be imported: NameError"),
        ("", "is no job"),
        ("one.py:jbo", "has no `jbo`; did you mean `job`"),
    ],
)
def test_what_is_no_job_is_refused(write: Write, text: str, message: str) -> None:
    write(JOB)
    write("oops", "users_broken_e/__init__.py")
    (Path("folder")).mkdir()
    with pytest.raises(DeclarationError, match=message):
        find_job(text)


def test_a_name_that_no_dataset_can_have_is_refused(write: Write) -> None:
    write(JOB)
    for output in ("../up", "a/b", "größe", "_x", ".x", "a b"):
        with pytest.raises(DeclarationError, match="is no name for a dataset"):
            find_job("one.py", output=output)


@pytest.mark.parametrize("key", [5, [], ["a", "a"], ["a", 1], ""])
def test_a_key_that_names_no_columns_is_refused(write: Write, key: Any) -> None:
    write(JOB.replace("'number'", repr(key)))
    with pytest.raises(DeclarationError, match=r"one\.py, line \d+: (key takes|the key names a column twice)"):
        find_job("one.py")
