"""Imports go one way, and each heavy library has its room."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import dataflow

HOME = Path(dataflow.__file__).parent
MODULES = sorted(HOME.rglob("*.py"))
ROOMS = ("errors", "outcomes", "policies", "services", "plan", "telemetry", "engine", "store", "wiring", "faces")
LEVELS = {room: level for level, room in enumerate(ROOMS)} | {"errors": 0, "outcomes": 0, "testing": 9, "__main__": 9}
UPWARDS = {
    "services/service.py": {"faces"},  # the repr of a service
    "services/api.py": {"faces"},  # the repr of an API
    "plan/pipeline.py": {"wiring", "faces"},  # the running methods and reprs of Pipeline and Job
    "plan/explain.py": {"faces"},  # the repr of an explanation
    "plan/quote.py": {"faces"},  # the repr of a quote
    "telemetry/report.py": {"faces"},  # the repr of statistics
    "store/dataset.py": {"faces"},  # the repr of a dataset
    "wiring/board.py": {"faces"},  # the picture of the graph on the board
    "wiring/run.py": {"faces"},  # the reprs of what a run returns
    "wiring/result.py": {"faces"},
    "wiring/story.py": {"faces"},
    "wiring/trial.py": {"faces"},
    "__init__.py": {*ROOMS, "testing"},  # the public names, each loaded when it is used
}
"""Who may import a higher room, inside a function or for type checking only."""

LIBRARIES = {
    "distributed": {"engine"},
    "dask": {"engine", "store"},
    "pandas": {"engine", "store", "wiring"},
    "fsspec": {"store"},
    "datasketches": {"telemetry"},
    "opentelemetry": {"engine"},
    "click": {"faces"},
    "rich": {"faces"},
    "bokeh": {"faces"},
}
LAZY = {
    "dask": {"store"},
    "pandas": {"engine", "store", "wiring"},
    "fsspec": {"store"},
    "rich": {"faces"},
    "opentelemetry": {"engine"},
}
"""Libraries that these rooms import inside functions only."""


def room_of(path: Path) -> str:
    return path.relative_to(HOME).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Every imported module of a file, and whether it is imported as soon as the file is."""
    tree = ast.parse(path.read_text())
    later = {
        id(node)
        for scope in ast.walk(tree)
        if isinstance(scope, (ast.FunctionDef, ast.AsyncFunctionDef)) or _is_for_type_checking(scope)
        for node in ast.walk(scope)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) not in later) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "dataflow":
            yield from ((f"dataflow.{alias.name}", id(node) not in later) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield str(node.module), id(node) not in later


def _is_for_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(HOME)))
def test_a_module_imports_its_own_room_and_lower_ones(path: Path) -> None:
    level = LEVELS.get(room_of(path), -1)
    allowed = UPWARDS.get(str(path.relative_to(HOME)), set())
    for name, at_once in imports(path):
        package, _, rest = name.partition(".")
        room = rest.partition(".")[0]
        if package == "dataflow" and room in LEVELS and LEVELS[room] > level:
            assert room in allowed, f"{path.relative_to(HOME)} imports {name}"
            assert not at_once, f"{path.relative_to(HOME)} imports {name} outside of a function"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(HOME)))
def test_heavy_libraries_stay_in_their_rooms(path: Path) -> None:
    for name, at_once in imports(path):
        library = name.partition(".")[0]
        assert name != "pyarrow.dataset", "it imports pandas"
        assert room_of(path) in LIBRARIES.get(library, {room_of(path)}), f"{path.relative_to(HOME)} imports {name}"
        lazy = room_of(path) in LAZY.get(library, set())
        assert not (lazy and at_once), f"{path.relative_to(HOME)} imports {name} outside of a function"


@pytest.mark.parametrize(
    "path",
    [path for path in MODULES if room_of(path) in ("errors", "outcomes", "policies")],
    ids=lambda path: path.stem,
)
def test_what_the_scheduler_imports_needs_the_standard_library_only(path: Path) -> None:
    for name, _ in imports(path):
        package, _, rest = name.partition(".")
        fine = package in sys.stdlib_module_names or rest.partition(".")[0] in ("errors", "outcomes", "policies")
        assert fine, f"{path.relative_to(HOME)} imports {name}"


def test_every_room_is_known_and_every_exception_is_needed() -> None:
    assert {room_of(path) for path in MODULES} - {"__init__"} <= set(LEVELS)
    for name, rooms in UPWARDS.items():
        found = {one.split(".")[1] for one, _ in imports(HOME / name) if one.startswith("dataflow.")}
        assert rooms & found, f"{name} no longer needs its exception"
