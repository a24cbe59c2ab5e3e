"""From a Python annotation to an Arrow type and a check.

Each rule takes one family of annotations and leaves the rest to the others. Which columns a service reads
or writes is not known here.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NotRequired, Required, Union, get_args, get_origin

import pyarrow as pa

from dataflow.errors import DeclarationError
from dataflow.services.records import MISSING, build_of, check_of, optional_of, plain_of, reader_of
from dataflow.services.types import ANYTHING, SCALARS, Declared, kind_of, name_of


def declare(annotation: Any, *, where: str) -> Declared:
    """What the annotation means.

    Args:
        annotation: A resolved annotation (no strings), or an Arrow type.
        where: Who says so, for the error: "`company` returns".

    Raises:
        DeclarationError: The annotation has no Arrow type.
    """
    if annotation is Any:
        return ANYTHING
    if isinstance(annotation, pa.DataType):
        return _arrow(annotation)
    if annotation in SCALARS:
        return SCALARS[annotation]
    inner = unwrap(annotation)
    if inner is not annotation:
        return declare(inner, where=where)
    for rule in (_union, _literal, _list, _map, _record):
        declared = rule(annotation, where)
        if declared is not None:
            return declared
    raise DeclarationError(
        f"{where} {name_of(annotation)}, which has no Arrow type; use str, int, float, bool, bytes, datetime, date, "
        "Decimal, Literal, list[...], a TypedDict, a dataclass, a pydantic model, or an Arrow type"
    )


def declare_fields(returns: Mapping[str, Any], *, where: str) -> Declared:
    """What `returns={name: type}` means: a record type without a class."""
    fields = {name: declare(hint, where=f"{where} a record whose field `{name}` is") for name, hint in returns.items()}
    untyped = [name for name, field in fields.items() if field.arrow is None]
    if untyped or not fields:
        raise DeclarationError(f"{where} a record whose fields need types: {', '.join(untyped) or 'there are none'}")
    get: Callable[[Any, str], Any] = lambda value, name: value.get(name, MISSING)  # noqa: E731
    return Declared(
        text="{" + ", ".join(f"{name}: {field.text}" for name, field in fields.items()) + "}",
        arrow=pa.struct([pa.field(name, field.arrow) for name, field in fields.items()]),
        mismatch=check_of(dict, fields, frozenset(), get),
        plain=plain_of(fields, get),
        fields=fields,
        model=dict,
    )


def type_hints(thing: Any, *, where: str) -> dict[str, Any]:
    """The resolved annotations of a function or class.

    Raises:
        DeclarationError: An annotation names something that is not at the top of a module.
    """
    try:
        return typing.get_type_hints(thing, include_extras=True)
    except NameError as error:
        raise DeclarationError(
            f"{where} a type called `{error.name}` that cannot be found: annotations are looked up at the top of "
            "their module, so move the type out of the function, and import it outside `if TYPE_CHECKING`"
        ) from error
    except (TypeError, SyntaxError, AttributeError) as error:
        raise DeclarationError(f"{where} an annotation that is no type: {error}") from error


def _arrow(arrow: pa.DataType) -> Declared:
    for declared in SCALARS.values():
        if declared.arrow == arrow:
            return declared

    if pa.types.is_floating(arrow):
        return dataclasses.replace(SCALARS[float], text=str(arrow), arrow=arrow, exact=frozenset())

    def mismatch(value: Any) -> str | None:
        wrong = f"expected {arrow}, got {kind_of(value)}"
        try:
            back = pa.array([value], arrow).to_pylist()[0]
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            return wrong
        return None if back is not None and _same(back, value) else wrong

    return Declared(text=str(arrow), arrow=arrow, mismatch=mismatch)


def _same(back: Any, value: Any) -> bool:
    if isinstance(back, list):
        items = list(value) if isinstance(value, (list, tuple)) else None
        return items is not None and len(items) == len(back) and all(map(_same, back, items))
    if isinstance(back, dict):
        known = isinstance(value, dict) and set(value) <= set(back)
        return known and all(_same(back[key], value[key]) for key in value)
    same = back == value or str(back) == str(value) == "nan"
    return bool(same) and isinstance(back, bool) == isinstance(value, bool)


def unwrap(annotation: Any) -> Any:
    """The annotation itself, without what is only said about it."""
    origin = get_origin(annotation)
    if origin in (typing.Annotated, Required, NotRequired, typing.Final):
        return get_args(annotation)[0]
    if isinstance(annotation, typing.NewType):
        return annotation.__supertype__
    return getattr(annotation, "__value__", annotation) if type(annotation).__name__ == "TypeAliasType" else annotation


def _union(annotation: Any, where: str) -> Declared | None:
    if get_origin(annotation) not in (Union, types.UnionType):
        return None
    members = [member for member in get_args(annotation) if member is not type(None)]
    if set(members) == {int, float}:
        members = [float]
    if len(members) != 1:
        raise DeclarationError(
            f"{where} {name_of(annotation)}; a column has one type, so only `X | None` and `int | float` are unions"
        )
    inner = declare(members[0], where=where)
    if type(None) not in get_args(annotation):
        return inner
    mismatch, plain, build = inner.mismatch, inner.plain, inner.build
    return dataclasses.replace(
        inner,
        text=f"{inner.text} | None",
        nullable=True,
        exact=inner.exact | {type(None)} if inner.exact else inner.exact,
        mismatch=lambda value: None if value is None else mismatch(value),
        plain=plain and (lambda value: None if value is None else plain(value)),
        build=build and (lambda value: None if value is None else build(value)),
    )


def _literal(annotation: Any, where: str) -> Declared | None:
    if get_origin(annotation) is not Literal:
        return None
    values = get_args(annotation)
    kinds = {type(value) for value in values}
    if len(kinds) != 1 or not kinds <= {str, int, bool}:
        raise DeclarationError(f"{where} {name_of(annotation)}; the values of a Literal must all be str, int or bool")
    allowed = frozenset(values)
    scalar = SCALARS[kinds.pop()]
    message = "expected one of " + ", ".join(repr(value) for value in values)

    def mismatch(value: Any) -> str | None:
        return scalar.mismatch(value) or (None if value in allowed else message)

    return Declared(text=name_of(annotation), arrow=scalar.arrow, mismatch=mismatch, among=values)


def _list(annotation: Any, where: str) -> Declared | None:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation in (list, tuple, set):
        raise DeclarationError(f"{where} {annotation.__name__} without saying of what; write list[str], list[int], ...")
    if origin not in (list, tuple, Sequence) or (origin is tuple and arguments[1:] != (Ellipsis,)):
        return None
    item = declare(arguments[0], where=where)
    if item.arrow is None:
        raise DeclarationError(f"{where} {name_of(annotation)}; the items of a list need a type")
    each, plain, build = item.mismatch, item.plain, item.build

    def mismatch(value: Any) -> str | None:
        if not isinstance(value, (list, tuple)):
            return f"expected list, got {kind_of(value)}"
        return next((f"item {at}: {wrong}" for at, one in enumerate(value) if (wrong := each(one))), None)

    return Declared(
        text=name_of(annotation),
        arrow=pa.list_(item.arrow),
        mismatch=mismatch,
        plain=plain and (lambda value: [plain(one) for one in value]),
        build=build and (lambda value: [None if one is None else build(one) for one in value]),
        item=item,
    )


def _map(annotation: Any, where: str) -> Declared | None:
    if annotation is dict:
        raise DeclarationError(f"{where} dict without saying of what; write a TypedDict, or dict[str, int]")
    if get_origin(annotation) not in (dict, Mapping):
        return None
    keys, item = get_args(annotation)
    declared = declare(item, where=where)
    if keys is not str or declared.arrow is None:
        raise DeclarationError(f"{where} {name_of(annotation)}; keys must be str and values need a type")
    each, plain, build = declared.mismatch, declared.plain or (lambda value: value), declared.build

    def mismatch(value: Any) -> str | None:
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            return f"expected dict with text keys, got {kind_of(value)}"
        return next((f"a value: {wrong}" for one in value.values() if (wrong := each(one))), None)

    return Declared(
        text=name_of(annotation),
        arrow=pa.map_(pa.string(), declared.arrow),
        mismatch=mismatch,
        plain=lambda value: [(key, plain(one)) for key, one in value.items()],
        build=lambda pairs: _dict(pairs, build),
        item=declared,
    )


def _dict(pairs: Sequence[tuple[str, Any]], build: Callable[[Any], Any] | None) -> dict[str, Any]:
    made = {key: one if one is None or build is None else build(one) for key, one in pairs}
    if len(made) < len(pairs):
        raise ValueError("a map holds a key twice, which a dict cannot")
    return made


def _record(annotation: Any, where: str) -> Declared | None:
    reader = reader_of(annotation)
    if reader is None:
        return None
    hints = type_hints(annotation, where=where)
    fields = {
        name: declare(hint, where=f"{where} {name_of(annotation)}, whose field `{name}` is")
        for name, hint in hints.items()
        if not name.startswith("_")
    }
    untyped = [name for name, field in fields.items() if field.arrow is None]
    if untyped or not fields:
        raise DeclarationError(
            f"{where} {name_of(annotation)}, whose fields need types: {', '.join(untyped) or 'none'}"
        )
    optional = optional_of(annotation, hints)
    return Declared(
        text=name_of(annotation),
        arrow=pa.struct([pa.field(name, field.arrow) for name, field in fields.items()]),
        mismatch=check_of(annotation, fields, optional, reader),
        plain=plain_of(fields, reader),
        build=build_of(annotation, fields),
        fields=fields,
        optional=optional,
        model=annotation,
    )
