"""What a code object does and what it names, read off its bytecode: blind to comments, docstrings and line numbers."""

from __future__ import annotations

import dis
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType
from typing import Any

_CONSTANTS = frozenset(dis.hasconst)
_EXTENDED = dis.opmap["EXTENDED_ARG"]
_CACHE = dis.opmap["CACHE"]
_ATTRIBUTE = {dis.opmap[name] for name in ("LOAD_ATTR", "LOAD_METHOD") if name in dis.opmap}
_IMPORT = dis.opmap["IMPORT_NAME"]
_GLOBAL = dis.opmap["LOAD_GLOBAL"]
_NAMED = {dis.opmap["LOAD_NAME"]}
_CELLS = {dis.opmap[name] for name in ("LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF") if name in dis.opmap}
_NOTHING = dis.opmap["NOP"]

_AT_WILL = {
    "eval",
    "exec",
    "globals",
    "locals",
    "vars",
    "__import__",
    "import_module",
    "modules",
    "run_path",
    "run_module",
    "__globals__",
    "__subclasses__",
}
"""Names by which code may reach what nothing in it names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """An import statement inside of a function.

    Attributes:
        name: The module, as written.
        level: Dots before it.
        names: What is imported from it; empty for the module itself.
    """

    name: str
    level: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A function's code with all that is nested in it.

    Attributes:
        text: What it does; the same for the same instructions.
        names: Globals and attributes that it names, sorted.
        whole: Those globals of which more than an attribute is taken, so that a module may go anywhere.
        imports: The import statements inside.
        at_will: Whether it may reach what it does not name: `eval`, `globals`, `import_module`.
    """

    text: str
    names: tuple[str, ...]
    whole: frozenset[str]
    imports: tuple[Import, ...]
    at_will: bool


def read_body(code: CodeType) -> Body:
    """What a code object does and names."""
    parts: list[str] = []
    names: set[str] = set()
    whole: set[str] = set()
    imports: list[Import] = []
    for one in _nested(code):
        names.update(one.co_names)
        parts.append(_text(one))
        steps = list(_steps(one))
        whole.update(_escaping(one, steps))
        imports += _imports(one, steps)
    return Body(
        text="".join(parts),
        names=tuple(sorted(names)),
        whole=frozenset(whole),
        imports=tuple(imports),
        at_will=not names.isdisjoint(_AT_WILL),
    )


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nested(constant)


def _steps(code: CodeType) -> Iterator[tuple[int, int]]:
    """The instructions with their whole arguments."""
    raw, high = code.co_code, 0
    for operation, low in zip(raw[::2], raw[1::2], strict=True):
        if operation == _EXTENDED:
            high = (high | low) << 8
        elif operation != _CACHE:
            yield operation, high | low
            high = 0


def _text(code: CodeType) -> str:
    """The instructions, with constants by what they are: a docstring moves their places, and nothing loads it."""
    parts = [f"{code.co_flags & ~0x4000000}/{code.co_argcount}/{code.co_posonlyargcount}/{code.co_kwonlyargcount}"]
    parts += [
        *code.co_varnames[: _arguments(code)],
        "/",
        *code.co_names,
        "/",
        *code.co_freevars,
        "/",
        *code.co_cellvars,
    ]
    parts.append(code.co_exceptiontable.hex())
    for operation, argument in _steps(code):
        if operation in _CONSTANTS:
            parts.append(f"{operation}={constant_text(code.co_consts[argument])}")
        else:
            parts.append(f"{operation}.{argument}")
    return " ".join(parts)


def _arguments(code: CodeType) -> int:
    return code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & 4) + bool(code.co_flags & 8)


def constant_text(value: Any) -> str:
    """A constant of code as a text; nested code stands for itself elsewhere."""
    if isinstance(value, CodeType):
        return "code"
    if isinstance(value, frozenset):
        return f"{{{', '.join(sorted(map(constant_text, value)))}}}"
    if isinstance(value, tuple):
        return f"({', '.join(map(constant_text, value))})"
    return repr(value)


def _escaping(code: CodeType, steps: list[tuple[int, int]]) -> Iterator[str]:
    """The globals that are loaded for more than one of their attributes; what is local counts by its name too."""
    cells = code.co_varnames + tuple(name for name in code.co_cellvars if name not in code.co_varnames)
    for place, (operation, argument) in enumerate(steps):
        following = next((one for one, _ in steps[place + 1 :] if one != _NOTHING), None)
        if following in _ATTRIBUTE:
            continue
        if operation == _GLOBAL:
            yield code.co_names[argument >> 1]
        elif operation in _NAMED:
            yield code.co_names[argument]
        elif operation in _CELLS:
            yield (cells + code.co_freevars)[argument]


def _imports(code: CodeType, steps: list[tuple[int, int]]) -> Iterator[Import]:
    for place, (operation, argument) in enumerate(steps):
        if operation != _IMPORT:
            continue
        level, names = (code.co_consts[steps[place - back][1]] for back in (2, 1))
        yield Import(name=code.co_names[argument], level=level, names=tuple(names or ()))
