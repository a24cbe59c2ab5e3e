"""What a function's signature says: which columns it reads, in which form, and what it returns.

The signature is the contract; nothing is called to find it out. How columns are bound to versions is not
known here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, get_origin

from dataflow.errors import DeclarationError
from dataflow.services.annotations import declare, type_hints
from dataflow.services.records import defaults_of
from dataflow.services.types import ANYTHING, Declared

REQUIRED: Any = type("Required", (), {"__repr__": lambda self: "REQUIRED", "__reduce__": lambda self: "REQUIRED"})()
"""The default of a parameter that has none."""

ALL = "*"
"""`reads=flow.ALL`: the whole record, as the services listed before left it."""


class Form(StrEnum):
    """How a service is called, read off its signature."""

    RECORD = "record"
    COLUMN = "column"
    ASYNC = "async"
    LOOKUP = "lookup"
    HTTP = "http"
    LLM = "llm"
    COMPOSITE = "composite"
    EACH = "each"


class Container(StrEnum):
    """What a column-form parameter wants its values in."""

    SERIES = "Series"
    ARRAY = "Array"
    CHUNKED = "ChunkedArray"
    NUMPY = "ndarray"
    DATAFRAME = "DataFrame"
    TABLE = "Table"


class Injected(StrEnum):
    """What a parameter gets that is no column."""

    CONTEXT = "Context"
    OUTCOMES = "Outcomes"
    CLIENT = "AsyncClient"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter of a service.

    Attributes:
        name: As the function calls it.
        columns: The columns it reads: one, or the fields of a record, or those of a frame (`ALL` for every one).
        declared: What it expects of a value.
        container: The column form's container, or None in the record form.
        default: What it gets where its column does not exist; `REQUIRED` where it must exist.
        injected: What it gets instead of a column, or None.
        keyword: Whether it can only be given by name.
        is_record: Whether it reads the fields of a record type, each from a column of its own.
    """

    name: str
    columns: tuple[str, ...] = ()
    declared: Declared = ANYTHING
    container: Container | None = None
    default: Any = REQUIRED
    injected: Injected | None = None
    keyword: bool = False
    is_record: bool = False

    def field_defaults(self) -> Mapping[str, Any]:
        """The defaults of the fields of a record parameter, by column."""
        if not self.is_record or self.declared.fields is None:
            return {}
        optional = dict.fromkeys(self.declared.optional)
        defaults = {**optional, **defaults_of(self.declared.model)}
        names = zip(self.declared.fields, self.columns, strict=True)
        return {column: defaults[name] for name, column in names if name in defaults}


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What was read off a function.

    Attributes:
        form: How it is called.
        parameters: In the order of the function.
        returns: Its return annotation, or `REQUIRED` where there is none.
    """

    form: Form
    parameters: tuple[Parameter, ...]
    returns: Any = field(default=REQUIRED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """What the author said beside the signature.

    Attributes:
        columns: Parameter (or field) to column name, where they differ.
        reads: The columns of a whole-frame parameter.
        constants: Parameters that get a value instead of a column.
    """

    columns: Mapping[str, str]
    reads: Sequence[str] | str | None
    constants: Mapping[str, Any]


def read_signature(function: Callable[..., Any], binding: Binding, *, name: str) -> Signature:
    """Read the contract of a function, or of the `__call__` of a class.

    Raises:
        DeclarationError: A parameter or annotation cannot be bound to columns; the text says which and why.
    """
    called = _called(function, name)
    hints = type_hints(called, where=f"`{name}` names")
    listed = list(inspect.signature(called).parameters.values())
    if listed and listed[0].name == "self":
        if not inspect.isclass(function):
            raise DeclarationError(f"`{name}` is a method; declare a function, or a class with __call__")
        listed = listed[1:]
    _check_names(binding, {one.name for one in listed}, name)
    parameters = tuple(_parameter(one, hints, binding, name) for one in listed if one.name not in binding.constants)
    if not any(one.columns or one.injected is Injected.OUTCOMES for one in parameters):
        raise DeclarationError(f"`{name}` reads no column; a service's parameters are the columns it reads")
    return Signature(form=_form(called, parameters, name), parameters=parameters, returns=hints.get("return", REQUIRED))


def _called(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    if inspect.isclass(function):
        if "__call__" not in vars(function) and not any("__call__" in vars(one) for one in function.__mro__[:-1]):
            raise DeclarationError(f"`{name}` is a class without __call__; its parameters are the columns it reads")
        called: Callable[..., Any] = function.__call__
    else:
        called = function
    if not hasattr(called, "__annotations__") or not inspect.isroutine(called):
        raise DeclarationError(
            f"`{name}` is a {type(function).__name__}, which does not say what it reads and returns; "
            "wrap it in a function with annotated parameters"
        )
    if inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called):
        raise DeclarationError(f"`{name}` is a generator; return one value for each record, or a list")
    return called


def _check_names(binding: Binding, known: set[str], name: str) -> None:
    unknown = set(binding.constants) - known
    if unknown:
        raise DeclarationError(
            f"`{name}` has no parameter {_listed(unknown)}, which constants= names; it has {_listed(known)}"
        )


def _parameter(one: inspect.Parameter, hints: Mapping[str, Any], binding: Binding, name: str) -> Parameter:
    if one.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
        raise DeclarationError(f"`{name}` takes *{one.name}; name each column it reads, or read a record type")
    hint = hints.get(one.name, Any)
    default = REQUIRED if one.default is inspect.Parameter.empty else one.default
    keyword = one.kind is inspect.Parameter.KEYWORD_ONLY
    injected = _injected(hint)
    if injected is not None:
        return Parameter(name=one.name, injected=injected, keyword=keyword)
    container = container_of(hint)
    if container in (Container.DATAFRAME, Container.TABLE):
        columns = _frame_columns(binding, one.name, name)
        return Parameter(name=one.name, columns=columns, container=container, keyword=keyword)
    column = binding.columns.get(one.name, one.name)
    if container is not None:
        return Parameter(name=one.name, columns=(column,), container=container, default=default, keyword=keyword)
    declared = declare(hint, where=f"`{name}` reads `{one.name}` as")
    # What is made of several columns is never null, so a record that may be null is one column.
    if declared.fields is not None and not declared.nullable and binding.columns.get(one.name) is None:
        columns = tuple(binding.columns.get(key, key) for key in declared.fields)
        return Parameter(name=one.name, columns=columns, declared=declared, keyword=keyword, is_record=True)
    return Parameter(name=one.name, columns=(column,), declared=declared, default=default, keyword=keyword)


def _frame_columns(binding: Binding, parameter: str, name: str) -> tuple[str, ...]:
    if binding.reads is None:
        raise DeclarationError(
            f"`{name}` reads a whole frame as `{parameter}`; say which columns with reads=[...], or reads=flow.ALL"
        )
    return (binding.reads,) if isinstance(binding.reads, str) else tuple(binding.reads)


def _form(called: Callable[..., Any], parameters: Sequence[Parameter], name: str) -> Form:
    columns = [parameter for parameter in parameters if parameter.container is not None]
    if not columns:
        return Form.ASYNC if inspect.iscoroutinefunction(called) else Form.RECORD
    if inspect.iscoroutinefunction(called):
        raise DeclarationError(f"`{name}` is async and reads whole columns; an async service reads one record")
    single = [one.name for one in parameters if one.container is None and one.injected is not Injected.CONTEXT]
    if single:
        raise DeclarationError(
            f"`{name}` reads {_listed(single)} by record and the rest by column; annotate all of them alike, "
            "or give it a value with constants={...}"
        )
    return Form.COLUMN


def container_of(hint: Any) -> Container | None:
    """The container that an annotation asks for, found by its name so that no library is imported for it."""
    kind = get_origin(hint) or hint
    if not isinstance(kind, type):
        return None
    for one in kind.__mro__:
        found = _CONTAINERS.get((one.__module__.partition(".")[0], one.__name__))
        if found is not None:
            return found
    return None


_CONTAINERS = {
    ("pandas", "Series"): Container.SERIES,
    ("pandas", "DataFrame"): Container.DATAFRAME,
    ("pyarrow", "Array"): Container.ARRAY,
    ("pyarrow", "ChunkedArray"): Container.CHUNKED,
    ("pyarrow", "Table"): Container.TABLE,
    ("numpy", "ndarray"): Container.NUMPY,
}


def _injected(hint: Any) -> Injected | None:
    if not isinstance(hint, type):
        return None
    if hint.__module__ == "dataflow.services.context":
        return Injected(hint.__name__)
    # Found by its name, so that httpx is not imported for it.
    client = hint.__name__ == Injected.CLIENT and hint.__module__.partition(".")[0] == "httpx"
    return Injected.CLIENT if client else None


def _listed(names: Sequence[str] | set[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))
