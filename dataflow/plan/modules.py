"""Whose a module is: the user's own, or Python's, an installed library's, or ours; and what an import in a body means.

Pure: nothing is imported here, it is only looked for among what is loaded.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

SHIPPED = "_dataflow_"
"""What the names of all shipped modules begin with; the hash of their program follows."""

_INSTALLED = {"site-packages", "dist-packages"}
_known: dict[tuple[str, str | None], bool] = {}


def is_own(module: str | None) -> bool:
    """Whether a module is the user's: neither Python's, nor installed, nor dataflow's."""
    name = str(module or "")
    head = name.partition(".")[0]
    if name == "__main__":
        # Whatever program stands behind it: cells and pickles name it for what was typed in.
        return True
    if head in ("", "dataflow", "builtins") or head in sys.stdlib_module_names:
        return False
    place = _place(sys.modules.get(name))
    known = _known.get((name, place))
    if known is None:
        known = _known[name, place] = place is None or _is_local(place)
    return known


def imported(name: str, level: int, scope: Mapping[str, Any]) -> tuple[str, ModuleType | None]:
    """The full name of what an import statement names, and the module where it is loaded.

    Args:
        name: As written, without its dots.
        level: How many dots.
        scope: The globals of the code that imports.
    """
    if level:
        package = str(scope.get("__package__") or str(scope.get("__name__", "")).rpartition(".")[0])
        above = package.split(".")[: len(package.split(".")) - level + 1]
        full = ".".join([*above, *([name] if name else [])])
        return full, sys.modules.get(full)
    root = str(scope.get("__name__", "")).partition(".")[0]
    if root.startswith(SHIPPED) and (shipped := sys.modules.get(f"{root}.{name}")) is not None:
        return f"{root}.{name}", shipped
    return name, sys.modules.get(name)


def may_be_own(name: str) -> bool:
    """Whether a module that is not loaded may be the user's."""
    head = name.partition(".")[0]
    if head == "dataflow" or head in sys.stdlib_module_names:
        return False
    if head in sys.modules:
        return is_own(head)
    try:
        spec = importlib.util.find_spec(head)
    except (ImportError, ValueError):
        return True
    return spec is None or spec.origin is None or _is_local(spec.origin)


def _place(module: ModuleType | None) -> str | None:
    file = getattr(module, "__file__", None)
    folders = None if file else getattr(module, "__path__", None)
    try:
        return file or (next(iter(folders), None) if folders else None)
    except Exception:
        # A package may answer for its path with code of its own.
        return None


def _is_local(place: str) -> bool:
    return _INSTALLED.isdisjoint(Path(place).parts)
