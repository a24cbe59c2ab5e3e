"""Where in an answer a value is: paths, and what is wrong with an answer. Pure; bodies are decoded elsewhere."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dataflow.errors import DeclarationError, NotFound
from dataflow.services.records import MISSING
from dataflow.services.types import Declared, kind_of

_STEP = re.compile(r'(?:^|(?<=.)\.)(?P<name>[^.\[\]"]+)|\["(?P<quoted>[^"]+)"\]')


class MalformedAnswer(ValueError):
    """The body is no JSON, or was cut; the same call may well answer properly."""


class NotUTF8(MalformedAnswer):
    """The text of the body is not in UTF-8, which calling again does not heal."""


class EmptyAnswer(NotFound):
    """The body holds nothing at all; whether that says that nothing is known is the business of its status."""


class UnexpectedAnswer(ValueError):
    """The body is JSON of another shape or type than declared, which calling again does not heal."""


class NotFinite(UnexpectedAnswer):
    """The body is JSON but for NaN or an infinity, which JSON does not have; the text says which one, and where."""


class RefusedAnswer(ValueError):
    """The service's `accept=` found an error inside a successful answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """Where in an answer something is.

    Attributes:
        text: As written.
        steps: Each a name, and the same as a place in a list, or -1 where it is none.
    """

    text: str
    steps: tuple[tuple[str, int], ...]


ROOT = Path(text="the answer", steps=())
"""The path of the whole answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Where in an answer the value of a service is.

    Attributes:
        root: The whole value.
        fields: Fields of a record that are elsewhere than under their own names, seen from the root.
    """

    root: Path = ROOT
    fields: Mapping[str, Path] = field(default_factory=dict)


def read_path(text: str, *, where: str) -> Path:
    """A path such as `data.items.0.name`: names joined by dots, whole numbers for places in a list.

    A whole number is also the key of that name where it meets an object. A key with a dot or a bracket
    in it is written `["a.b"]`: `data["a.b"].name`.

    Raises:
        DeclarationError: It is no such path.
    """
    steps: list[tuple[str, int]] = []
    at = 0
    while isinstance(text, str) and (found := _STEP.match(text, at)) is not None:
        name, at = found["name"], found.end()
        steps.append((name or found["quoted"], int(name) if name and re.fullmatch("[0-9]{1,9}", name) else -1))
    if not steps or at < len(text) or text.startswith("$."):
        raise DeclarationError(
            f'{where} {text!r} is no path; write data.items.0.name, and ["a.b"] for a key with a dot in it'
        )
    return Path(text=text, steps=tuple(steps))


def read_select(value: Any, returns: Declared, *, where: str) -> Selection:
    """Where the value is: one path for the whole of it, or {field: path} for fields that are elsewhere.

    Raises:
        DeclarationError: A path cannot be read, or a field is not declared.
    """
    if not isinstance(value, Mapping):
        return Selection(root=read_path(value, where=where))
    if returns.fields is None:
        raise DeclarationError(f"{where} names fields, but {returns.text} has none; give one path")
    for name in value:
        if name not in returns.fields:
            near = difflib.get_close_matches(str(name), returns.fields, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"it has {', '.join(returns.fields)}"
            raise DeclarationError(f"{where} names `{name}`, which {returns.text} does not have; {hint}")
    return Selection(fields={name: read_path(path, where=f"{where} `{name}`") for name, path in value.items()})


def follow(path: Path, value: Any) -> Any:
    """What is at the path, or `MISSING`; what a null would hold is missing too.

    Raises:
        UnexpectedAnswer: Something on the way is neither an object nor a list that has such a place.
    """
    for name, at in path.steps:
        if isinstance(value, dict):
            value = value.get(name, MISSING)
        elif isinstance(value, list) and at >= 0:
            value = value[at] if at < len(value) else MISSING
        elif value is None:
            return MISSING
        else:
            raise UnexpectedAnswer(f"`{path.text}`: expected an object that has `{name}`, got {kind_of(value)}")
        if value is MISSING:
            break
    return value
