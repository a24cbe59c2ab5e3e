"""Digests of code: what a function or class does, blind to comments, docstrings and line numbers.

The functions, classes and constants of the user's own modules that the code names count as part of it, so that
editing a function beside a service is a change of the service. Pure: code is read, never run.
"""

from __future__ import annotations

import dis
import hashlib
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from functools import partial
from pathlib import Path, PurePath
from types import CodeType, FunctionType, ModuleType
from typing import Any
from uuid import UUID

_CONSTANTS = (str, bytes, int, float, complex, bool, type(None))
_EXACT = (Decimal, Fraction, date, time, timedelta, PurePath, UUID, range)
_CONTAINERS = (tuple, list, set, frozenset, dict)
_INSTALLED = {"site-packages", "dist-packages"}


def code_digest(function: Callable[..., Any]) -> str:
    """A digest of a function or class, and of all of the user's own code and constants that it names."""
    digest = hashlib.sha256()
    for part in _walk(function, set()):
        digest.update(f"{len(part)}:{part}".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:16]


def stable(value: Any) -> str:
    """A text for a value that is the same in every process: no addresses, no order of sets, no module names."""
    if isinstance(value, re.Pattern):
        return f"{value.pattern!r}{value.flags}"
    if isinstance(value, Enum):
        return f"{type(value).__qualname__}.{value.name}={stable(value.value)}"
    if isinstance(value, (set, frozenset)):
        return f"{{{', '.join(sorted(map(stable, value)))}}}"
    if isinstance(value, Mapping):
        return f"{{{', '.join(sorted(f'{stable(key)}: {stable(one)}' for key, one in value.items()))}}}"
    if isinstance(value, (tuple, list)):
        return f"{type(value).__name__}({', '.join(map(stable, value))})"
    if isinstance(value, (*_CONSTANTS, *_EXACT)):
        return repr(value)
    if is_dataclass(value) and not isinstance(value, type):
        return f"{type(value).__qualname__}{[stable(getattr(value, one.name)) for one in fields(value)]}"
    if callable(value):
        return getattr(value, "__qualname__", type(value).__qualname__)
    if getattr(type(value), "__repr__", None) is object.__repr__:
        return type(value).__qualname__
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def _walk(thing: Any, seen: set[int]) -> Iterable[str]:
    thing = _unwrapped(thing)
    if isinstance(thing, partial):
        yield stable([thing.args, thing.keywords])
        thing = thing.func
    if not isinstance(thing, (FunctionType, type)):
        yield stable(thing)
        return
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, type):
        yield from _class(thing, seen)
    else:
        yield from _code(thing.__code__)
        yield stable([thing.__defaults__, thing.__kwdefaults__])
        yield from _named(thing, seen)


def _unwrapped(thing: Any) -> Any:
    """The function behind a service, a cache, a property or a static method."""
    if isinstance(thing, property):
        return thing.fget
    for name in ("__func__", "__wrapped__"):
        thing = getattr(thing, name, None) or thing
    return thing


def _class(kind: type, seen: set[int]) -> Iterable[str]:
    yield kind.__qualname__
    if issubclass(kind, Enum):
        yield stable([(one.name, one.value) for one in kind])
    for base in kind.__mro__:
        for name, member in sorted(vars(base).items()) if _is_own(base.__module__) else ():
            found = _unwrapped(member)
            if isinstance(found, FunctionType) or (not name.startswith("__") and _is_value(found)):
                yield name
                yield from _walk(found, seen)


def _named(function: FunctionType, seen: set[int]) -> Iterable[str]:
    names = sorted(_names(function.__code__))
    for name in names:
        value = function.__globals__.get(name)
        if isinstance(value, ModuleType) and _is_own(value.__name__):
            for attribute in names:
                yield from _global(attribute, vars(value).get(attribute), seen)
        elif name in function.__globals__:
            yield from _global(name, value, seen)
    for cell in function.__closure__ or ():
        yield from _global("", _content(cell), seen)


def _global(name: str, value: Any, seen: set[int]) -> Iterable[str]:
    found = _unwrapped(value)
    if isinstance(found, (FunctionType, type)):
        if _is_own(found.__module__):
            yield name
            yield from _walk(found, seen)
    elif _is_value(found) or isinstance(found, partial):
        yield name
        yield from _walk(found, seen)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _is_own(module: str | None) -> bool:
    """Whether a module is the user's: neither Python's, nor installed, nor dataflow's."""
    head = (module or "").partition(".")[0]
    if head in ("", "dataflow", "builtins") or head in sys.stdlib_module_names:
        return False
    file = getattr(sys.modules.get(str(module)), "__file__", None)
    return file is None or _INSTALLED.isdisjoint(Path(file).parts)


def _is_value(value: Any) -> bool:
    """Whether a value is told by its text alone, so that another text means another value."""
    parameters = getattr(type(value), "__dataclass_params__", None)
    frozen = parameters is not None and bool(parameters.frozen)
    return frozen or isinstance(value, (*_CONSTANTS, *_EXACT, *_CONTAINERS, re.Pattern, Enum))


def _names(code: CodeType) -> set[str]:
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= _names(constant)
    return found


def _code(code: CodeType) -> Iterable[str]:
    yield repr(code.co_names)
    for step in dis.get_instructions(code):
        # Constants by what they are, not by their place, which a docstring moves; nothing loads the docstring itself.
        if step.opcode not in dis.hasconst:
            yield f"{step.opname} {step.arg}"
        elif isinstance(step.argval, CodeType):
            yield from _code(step.argval)
        else:
            yield f"{step.opname} {stable(step.argval)}"
