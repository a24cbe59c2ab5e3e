"""No pickle is read from a file: it could run whatever somebody has put there."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import dataflow

HOME = Path(dataflow.__file__).parent
KNOWN = {("engine/program.py", "_unpickle")}
"""Where a pickle is loaded all the same: a job that was defined in a notebook comes with the work itself."""

MODULES = {"pickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
READERS = {"load", "loads", "Unpickler", "open", "read_pickle"}


def loads(path: Path) -> Iterator[str]:
    """The names of the functions in which something is unpickled, or `<module>`."""
    tree = ast.parse(path.read_text())
    around = {
        id(node): function.name
        for function in ast.walk(tree)
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
        for node in ast.walk(function)
    }
    yield from (around.get(id(node), "<module>") for node in ast.walk(tree) if _unpickles(node))


def _unpickles(node: ast.AST) -> bool:
    if isinstance(node, ast.ImportFrom):
        return node.module in MODULES and bool(READERS & {alias.name for alias in node.names})
    if isinstance(node, ast.Attribute):
        of_module = isinstance(node.value, ast.Name) and node.value.id in MODULES
        return node.attr == "read_pickle" or (of_module and node.attr in READERS)
    return isinstance(node, ast.keyword) and node.arg == "allow_pickle"


def test_nothing_is_unpickled_but_a_job_that_came_with_the_work() -> None:
    found = {(str(path.relative_to(HOME)), name) for path in HOME.rglob("*.py") for name in loads(path)}
    assert found == KNOWN


def test_a_pickle_that_is_read_is_seen(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(
        "import pickle, numpy\nfrom cloudpickle import load\n\n"
        "def read(path):\n    return pickle.load(path.open('rb'))\n\n"
        "def table(path):\n    return numpy.load(path, allow_pickle=True)\n"
    )
    assert sorted(loads(tmp_path / "bad.py")) == ["<module>", "read", "table"]
