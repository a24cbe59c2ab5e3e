"""How jobs travel: as source with their local modules, or as one pickle."""

from __future__ import annotations

import functools
import os
import pickle
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from dataflow.engine.program import Program, load, pack_file, pack_object
from dataflow.errors import CatalogError, DeclarationError


def write(folder: Path, files: dict[str, str]) -> Path:
    """Write Python files, named without their suffix, and return the folder."""
    for name, text in files.items():
        path = folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return folder


def paths(program: Program) -> list[str]:
    assert program.tree is not None
    return [file for file, _ in program.tree.files]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").touch()
    return tmp_path


def test_the_default_entry_is_job_and_then_pipeline(tmp_path: Path) -> None:
    write(tmp_path, {"one": "job = 1\npipeline = 2", "two": "pipeline = 2"})
    assert load(pack_file(tmp_path / "one.py")) == 1
    assert load(pack_file(tmp_path / "two.py")) == 2


def test_neighbours_and_modules_of_the_project_travel_along(project: Path) -> None:
    write(
        project,
        {
            "jobs/leads": "import common\nfrom rules.mail import check\njob = common.NAME + check()",
            "jobs/common": "NAME = 'leads'",
            "rules/mail": "from rules import words\ndef check():\n    return words.OK",
            "rules/words": "OK = '!'",
            "unused": "1 / 0",
        },
    )
    program = pack_file(project / "jobs" / "leads.py")
    assert load(program) == "leads!"
    assert paths(program) == ["jobs/common.py", "jobs/leads.py", "rules/mail.py", "rules/words.py"]


def test_packages_relative_imports_and_their_init_files_travel(project: Path) -> None:
    write(
        project,
        {
            "shop/__init__": "SCALE = 2",
            "shop/jobs/__init__": "",
            "shop/jobs/daily": "from ..prices import price\nfrom . import terms\njob = price(terms.DAYS)",
            "shop/jobs/terms": "DAYS = 3",
            "shop/prices": "from shop import SCALE\ndef price(days):\n    return days * SCALE",
        },
    )
    program = pack_file(project / "shop" / "jobs" / "daily.py")
    assert load(program) == 6
    assert "shop/__init__.py" in paths(program)
    assert "shop/jobs/__init__.py" in paths(program)


def test_all_spellings_of_import_find_shipped_modules(project: Path) -> None:
    write(
        project,
        {
            "job": """
            import tools.text
            import tools.text as short
            from tools import text
            from tools.text import *

            def late():
                import tools.late
                return tools.late.VALUE

            job = (tools.text.A, short.A, text.A, A, late())
        """,
            "tools/text": "A = 1",
            "tools/late": "VALUE = 2",
        },
    )
    assert load(pack_file(project / "job.py")) == (1, 1, 1, 1, 2)


def test_two_versions_of_a_module_live_in_one_process(project: Path) -> None:
    write(
        project,
        {
            "job": "import version\nclass Job:\n    def n(self):\n        return version.N\njob = Job()",
            "version": "N = 1",
        },
    )
    old = load(pack_file(project / "job.py"))
    write(project, {"version": "N = 2"})
    new = load(pack_file(project / "job.py"))
    assert (old.n(), new.n()) == (1, 2)


def test_a_program_is_loaded_once_per_process(tmp_path: Path) -> None:
    write(tmp_path, {"job": "job = object()"})
    program = pack_file(tmp_path / "job.py")
    assert load(program) is load(pickle.loads(pickle.dumps(program)))


def test_caches_classes_and_globals_work_in_a_loaded_module(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "job": """
            import functools
            from dataclasses import dataclass

            calls = []

            @functools.lru_cache
            def double(x):
                calls.append(x)
                return 2 * x

            @dataclass
            class Job:
                name: "str"

                def run(self):
                    return double(2) + double(2), calls, __name__ == type(self).__module__

            job = Job("a").run
        """,
        },
    )
    assert load(pack_file(tmp_path / "job.py", "Job"))("a").run() == (8, [2], True)


def test_a_function_entry_is_called_with_its_parameters(tmp_path: Path) -> None:
    write(tmp_path, {"job": "def job(limit, *, name='x'):\n    return name * limit"})
    assert load(pack_file(tmp_path / "job.py", "job", parameters={"limit": 3})) == "xxx"


def test_wrong_parameters_are_named_with_those_that_exist(tmp_path: Path) -> None:
    write(tmp_path, {"job": "def job(limit):\n    return limit", "plain": "job = 1"})
    with pytest.raises(DeclarationError, match=r"takes \(limit\).*'limt'"):
        load(pack_file(tmp_path / "job.py", parameters={"limt": 3}))
    with pytest.raises(DeclarationError, match="no function"):
        load(pack_file(tmp_path / "plain.py", parameters={"limit": 3}))


def test_a_missing_entry_suggests_the_likely_name(tmp_path: Path) -> None:
    write(tmp_path, {"job": "leads_job = 1", "none": "x = 1"})
    with pytest.raises(DeclarationError, match="did you mean `leads_job`"):
        load(pack_file(tmp_path / "job.py", "lead_job"))
    with pytest.raises(DeclarationError, match="neither `job` nor `pipeline`"):
        load(pack_file(tmp_path / "none.py"))


def test_an_error_while_importing_names_file_and_line(project: Path) -> None:
    write(project, {"job": "import broken\njob = 1", "broken": "a = 1\nb = a / 0"})
    with pytest.raises(DeclarationError, match=r"broken\.py, line 2: ZeroDivisionError"):
        load(pack_file(project / "job.py"))


def test_a_missing_library_names_the_line_that_imports_it(tmp_path: Path) -> None:
    write(tmp_path, {"job": "x = 1\nimport no_such_library_at_all\njob = 1"})
    program = pack_file(tmp_path / "job.py")
    assert program.libraries == ("no_such_library_at_all",)
    with pytest.raises(DeclarationError, match=r"job\.py, line 2: No module named .* install it"):
        load(program)


def test_a_syntax_error_names_file_and_line_when_packed(project: Path) -> None:
    write(project, {"job": "import broken\njob = 1", "broken": "a = 1\nb = = 2"})
    with pytest.raises(DeclarationError, match=r"broken\.py, line 2: invalid syntax"):
        pack_file(project / "job.py")


def test_a_missing_job_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match=r"absent\.py cannot be read"):
        pack_file(tmp_path / "absent.py")


def test_an_exit_while_importing_is_an_error_with_its_line(tmp_path: Path) -> None:
    write(tmp_path, {"job": "import sys\nsys.exit(3)"})
    with pytest.raises(DeclarationError, match=r"line 2: SystemExit"):
        load(pack_file(tmp_path / "job.py"))


def test_errors_of_dataflow_keep_their_class_and_declarations_gain_their_line(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "wiring": "from dataflow.errors import DeclarationError\nraise DeclarationError('b reads a')",
            "catalog": "from dataflow.errors import CatalogError\nraise CatalogError('no folder')",
        },
    )
    with pytest.raises(DeclarationError, match=r"wiring\.py, line 2: b reads a"):
        load(pack_file(tmp_path / "wiring.py"))
    with pytest.raises(CatalogError, match=r"^no folder$"):
        load(pack_file(tmp_path / "catalog.py"))


def test_a_failed_import_is_tried_again(tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    write(tmp_path, {"job": f"from pathlib import Path\nassert Path({str(flag)!r}).exists()\njob = 1"})
    program = pack_file(tmp_path / "job.py")
    with pytest.raises(DeclarationError):
        load(program)
    flag.touch()
    assert load(program) == 1


def test_a_folder_never_hides_an_installed_package(project: Path) -> None:
    (project / "toolz").mkdir()
    write(project, {"job": "import toolz\nimport json\njob = toolz.identity(json.loads('1'))", "json": "1 / 0"})
    program = pack_file(project / "job.py")
    assert load(program) == 1
    assert paths(program) == ["job.py"]
    assert program.libraries == ("json", "toolz")


def test_a_job_file_may_have_any_name_and_knows_its_place(tmp_path: Path) -> None:
    write(tmp_path, {"my-first job": "job = __file__"})
    assert load(pack_file(tmp_path / "my-first job.py")) == str(tmp_path / "my-first job.py")


def test_the_hash_depends_on_the_text_of_every_file(project: Path) -> None:
    write(project, {"job": "import other\njob = 1", "other": "A = 1"})
    before = pack_file(project / "job.py")
    assert pack_file(project / "job.py").hash == before.hash
    write(project, {"other": "A = 2"})
    assert pack_file(project / "job.py").hash != before.hash


def test_what_was_loaded_travels_as_the_program_it_came_from(tmp_path: Path) -> None:
    write(tmp_path, {"job": "job = object()"})
    program = pack_file(tmp_path / "job.py")
    assert pack_object(load(program)) == program


def test_an_object_of_a_local_module_travels_as_source(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(project, {"importable_jobs": "class Job:\n    pass\n\nnightly = Job()"})
    monkeypatch.syspath_prepend(project)
    import importable_jobs  # type: ignore[import-not-found]

    program = pack_object(importable_jobs.nightly)
    assert (program.kind, program.entry) == ("source", "nightly")
    unnamed = pack_object(importable_jobs.Job())
    assert unnamed.kind == "blob"
    monkeypatch.delitem(sys.modules, "importable_jobs")
    assert type(load(unnamed)).__name__ == "Job"


def test_interactive_definitions_with_a_cache_travel_to_another_process(tmp_path: Path) -> None:
    script = write(
        tmp_path,
        {
            "script": """
            import functools, subprocess, sys, pickle
            from dataflow.engine.program import pack_object

            seen = []

            @functools.lru_cache(maxsize=7)
            def grow(x):
                seen.append(x)
                return x if x > 9 else grow(x + 1)

            class Job:
                def run(self):
                    return grow(1), grow(1), len(seen), grow.cache_info().maxsize

            sys.stdout.buffer.write(pickle.dumps(pack_object(Job())))
        """,
        },
    )
    done = subprocess.run([sys.executable, script / "script.py"], capture_output=True, check=True, env=_env())
    program = pickle.loads(done.stdout)
    assert load(program).run() == (10, 10, 10, 7)
    assert load(program) is load(program)


def test_what_cannot_be_pickled_is_refused_with_a_way_out() -> None:
    with pytest.raises(DeclarationError, match="cannot travel to worker processes"):
        pack_object(functools.partial(print, threading.Lock()))


def test_a_pickle_that_does_not_load_says_why() -> None:
    with pytest.raises(DeclarationError, match="No module named 'absent_library'"):
        load(Program(kind="blob", blob=b"cabsent_library\nname\n."))


def _env() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
