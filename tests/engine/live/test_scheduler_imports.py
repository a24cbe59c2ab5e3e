"""What the scheduler imports is there on every scheduler."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import dataflow

HOME = Path(dataflow.__file__).parent
NEEDED = [f"engine/live/{name}.py" for name in ("boards", "scheduler", "pages", "metrics", "sight")]
NEEDED += [f"faces/{name}.py" for name in ("page", "panels", "meters", "queues", "style", "texts")]
ROOMS = ("errors", "outcomes", "policies")
LIBRARIES = {*sys.stdlib_module_names, "distributed", "tornado"}
FINE = {"dataflow." + name.removesuffix(".py").replace("/", ".") for name in NEEDED} | {"dataflow.engine.control.plane"}


def imported(path: Path) -> Iterator[str]:
    """What a file imports at once, outside of functions and of what is for type checking."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module)


@pytest.mark.parametrize("name", [*NEEDED, "engine/control/plane.py"])
def test_it_imports_the_standard_library_distributed_and_tornado_only(name: str) -> None:
    for module in imported(HOME / name):
        package, _, rest = module.partition(".")
        room = rest.partition(".")[0]
        fine = package in LIBRARIES or (package == "dataflow" and room in ROOMS)
        assert fine or module in FINE or module.startswith("dataflow.engine.control."), f"{name} imports {module}"
