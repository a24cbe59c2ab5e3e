"""How worker processes start, seen from scripts that have no main guard."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def run_script(folder: Path, text: str) -> list[str]:
    script = folder / "script.py"
    script.write_text(textwrap.dedent(text))
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"}
    return subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=True, env=env, cwd=folder
    ).stdout.splitlines()


@pytest.mark.parametrize("fork", [True, False])
def test_a_child_never_runs_the_script_of_its_parent_and_ignores_an_interrupt(tmp_path: Path, fork: bool) -> None:
    (tmp_path / "target.py").write_text(
        "import os, signal, sys\n"
        "def report(queue):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    queue.put((getattr(sys.modules['__main__'], 'GUARD', 'none'), os.environ.get('PYTHONPATH')))\n"
    )
    said = run_script(
        tmp_path,
        f"""
        import multiprocessing, os, target
        from dataflow.engine import processes
        print("script")
        GUARD = "script"
        processes.start(fork={fork})
        context = multiprocessing.get_context(processes.METHOD)
        queue = context.SimpleQueue()
        child = context.Process(target=target.report, args=(queue,))
        child.start()
        main, path = queue.get()
        child.join()
        print(main, path == os.environ["PYTHONPATH"], child.exitcode)
        """,
    )
    assert said == ["script", "none True 0"]


def test_neither_the_fork_server_nor_the_environment_of_the_user_is_touched(tmp_path: Path) -> None:
    said = run_script(
        tmp_path,
        """
        import os
        from multiprocessing import forkserver
        from dataflow.engine import processes
        before = dict(os.environ)
        processes.start()
        processes.start()
        print(forkserver._forkserver._forkserver_pid, dict(os.environ) == before)
        """,
    )
    assert said == ["None True"]


def test_what_workers_need_is_imported_before_they_are_forked_and_pandas_only_when_asked(tmp_path: Path) -> None:
    (tmp_path / "target.py").write_text(
        "import sys\n"
        "before = [name for name in ('distributed', 'pyarrow.parquet', 'pandas') if name in sys.modules]\n"
        "def report(queue):\n"
        "    queue.put(before)\n"
    )
    for pandas in (False, True):
        said = run_script(
            tmp_path,
            f"""
            import multiprocessing, target
            from dataflow.engine import processes
            processes.start(preload={["pandas"] if pandas else []})
            context = multiprocessing.get_context(processes.METHOD)
            queue = context.SimpleQueue()
            child = context.Process(target=target.report, args=(queue,))
            child.start()
            print(*queue.get())
            child.join()
            """,
        )
        assert said == ["distributed pyarrow.parquet pandas" if pandas else "distributed pyarrow.parquet"]
