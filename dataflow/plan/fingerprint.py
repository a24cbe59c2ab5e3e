"""Fingerprints: what a run was planned from, part by part, so that a change can be named.

Two plans with the same fingerprints give the same data. Limits, workers and budgets are no part of a plan.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from types import CodeType, FunctionType
from typing import Any

import pyarrow as pa

from dataflow.plan.graph import Graph, Step
from dataflow.plan.partitions import SourceFile

_CONSTANTS = (str, bytes, int, float, complex, bool, type(None))
_HAS_DOCSTRING = 0x4000000


def fingerprints(
    graph: Graph, *, files: Iterable[SourceFile], options: Mapping[str, Any], key: tuple[str, ...]
) -> dict[str, str]:
    """A digest for each part of a plan.

    Args:
        graph: The bound pipeline.
        files: The files of the source.
        options: How they are read.
        key: The key columns.

    Returns:
        Digests by part: `source`, `reading`, `schema`, `key`, `invalid`, `order`, and `service NAME` for each one.
    """
    parts: dict[str, Any] = {
        "source": [(file.path, file.fingerprint) for file in files],
        "reading": {name: str(value) for name, value in sorted(options.items())},
        "schema": [str(field) for field in graph.source],
        "key": list(key),
        "invalid": graph.invalid,
        "order": [step.service.name for step in graph.steps],
    }
    parts |= {f"service {step.service.name}": _describe(step) for step in graph.steps}
    return {name: _digest(part) for name, part in parts.items()}


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """The parts that differ, as people call them: `source`, `service domain`, ..."""
    names = dict.fromkeys([*before, *after])
    return [name for name in names if before.get(name) != after.get(name)]


def _describe(step: Step) -> list[str]:
    service = step.service
    options = {key: value for key, value in service.options.items() if key not in ("threads", "timeout", "isolate")}
    function = service.function
    return [
        service.kind,
        service.form,
        json.dumps({key: _stable(value) for key, value in sorted(options.items())}, sort_keys=True),
        "" if function is None else code_digest(function),
        ""
        if service.lookup is None
        else f"{_stable(service.lookup.table)} {service.lookup.on} {service.lookup.select}",
    ]


def _stable(value: Any) -> str:
    if isinstance(value, pa.Table):
        return _digest([str(value.schema), value.num_rows, *(str(column) for column in value.columns)])
    if isinstance(value, Mapping):
        return json.dumps({str(key): _stable(one) for key, one in value.items()}, sort_keys=True)
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    text = repr(value) if not callable(value) else getattr(value, "__qualname__", type(value).__name__)
    return re.sub(r" at 0x[0-9a-f]+", "", text)


def code_digest(function: Callable[..., Any]) -> str:
    """A digest of what a function or class does, blind to comments, docstrings and line numbers.

    It follows the functions and constants of the same module that the code names, so that editing a function
    beside a service counts as a change of the service.
    """
    seen: set[int] = set()
    return _digest(list(_walk(function, getattr(function, "__module__", ""), seen)))


def _walk(thing: Any, module: str, seen: set[int]) -> Iterable[str]:
    thing = getattr(thing, "__wrapped__", thing)
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, type):
        for name, member in sorted(vars(thing).items()):
            if isinstance(member, (FunctionType, *_CONSTANTS)) and not name.startswith("__doc"):
                yield name
                yield from _walk(member, module, seen)
    elif isinstance(thing, FunctionType):
        yield from _code(thing.__code__)
        yield repr([_plain(value) for value in thing.__defaults__ or ()])
        yield from _named(thing, module, seen)
    else:
        yield _plain(thing)


def _named(function: FunctionType, module: str, seen: set[int]) -> Iterable[str]:
    for name in sorted(_names(function.__code__)):
        value = function.__globals__.get(name)
        value = getattr(value, "__wrapped__", value)
        if isinstance(value, (FunctionType, type)) and getattr(value, "__module__", "") == module:
            yield from _walk(value, module, seen)
        elif name in function.__globals__ and _is_plain(value):
            yield f"{name}={_plain(value)}"
    for cell in function.__closure__ or ():
        yield from _walk(cell.cell_contents, module, seen)


def _names(code: CodeType) -> set[str]:
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= _names(constant)
    return found


def _code(code: CodeType) -> Iterable[str]:
    yield hashlib.sha256(code.co_code).hexdigest()
    yield repr(code.co_names)
    documentation = _documentation(code)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _code(constant)
        elif constant is not documentation:
            yield _plain(constant)


def _documentation(code: CodeType) -> str | None:
    first = code.co_consts[0] if code.co_consts else None
    documented = sys.version_info < (3, 13) or code.co_flags & _HAS_DOCSTRING
    return first if isinstance(first, str) and documented else None


def _is_plain(value: Any) -> bool:
    return isinstance(value, (*_CONSTANTS, tuple, list, set, frozenset, dict, re.Pattern))


def _plain(value: Any) -> str:
    if isinstance(value, re.Pattern):
        return f"{value.pattern!r}{value.flags}"
    if isinstance(value, (set, frozenset)):
        return repr(sorted(_plain(one) for one in value))
    if isinstance(value, dict):
        return repr(sorted((_plain(key), _plain(one)) for key, one in value.items()))
    if isinstance(value, (tuple, list)):
        return repr([_plain(one) for one in value])
    return repr(value) if isinstance(value, _CONSTANTS) else type(value).__qualname__


def _digest(part: Any) -> str:
    return hashlib.sha256(json.dumps(part, default=str).encode()).hexdigest()[:16]
