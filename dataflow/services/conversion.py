"""From plain JSON values to what Arrow would give for a declared type; types are checked, never coerced. Pure."""

from __future__ import annotations

import datetime
import functools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow as pa

from dataflow.errors import DeclarationError
from dataflow.services.records import MISSING, defaults_of
from dataflow.services.selection import Path, UnexpectedAnswer, follow
from dataflow.services.types import Declared, is_list, is_text, kind_of

Convert = Callable[[Any], Any]
_EXACT_FLOAT = 2**53
_DIGITS = 76  # of Arrow's longest decimal
_NUMBER = re.compile(r"-?[0-9]{1,100}(?:\.[0-9]{1,100})?(?:[eE][+\-]?[0-9]{1,4})?")
_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME = r"(?:[01][0-9]|2[0-3]):[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6}0*)?)?"
_ZONE = r"(?:Z|[+\-][0-9]{2}:?[0-9]{2})?"


def build_record(returns: Declared, value: Any) -> Any:
    """The record that the fields make; its class may check more, and its own words may hold values."""
    try:
        assert returns.build is not None
        return returns.build(value)
    except Exception as error:
        places = [one["loc"] for one in error.errors()] if hasattr(error, "errors") else []
        said = f" at {'.'.join(map(str, places[0]))}" if places else ""
        raise UnexpectedAnswer(f"{returns.text} does not take it{said}: {type(error).__name__}") from None


def converter(declared: Declared, *, fields: Mapping[str, Path], where: str) -> Convert:
    """What turns JSON into what Arrow would give for the type, for `Declared.build` and `mismatch` to go on from."""
    if declared.fields is None:
        return _of_arrow(declared.arrow, where=where)
    defaults = declared.optional | frozenset(defaults_of(declared.model))
    entries = [
        _Entry(
            name=name,
            path=fields.get(name),
            convert=converter(one, fields={}, where=f"{where} `{name}`"),
            build=one.build if declared.model is dict else None,
            nullable=one.nullable,
            optional=name in declared.optional,
            default=name in defaults,
        )
        for name, one in declared.fields.items()
    ]
    return functools.partial(_record, entries, declared.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """How one field of a record is read; `build` only where the record type has none to do it."""

    name: str
    path: Path | None
    convert: Convert
    build: Convert | None
    nullable: bool
    optional: bool
    default: bool


def _record(entries: Sequence[_Entry], text: str, value: Any) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if not isinstance(value, dict):
        raise UnexpectedAnswer(f"expected {text}, got {kind_in_json(value)}")
    for entry in entries:
        name, path = entry.name, entry.path
        found = value.get(name, MISSING) if path is None else follow(path, value)
        if found is None and not entry.nullable and not entry.optional:
            raise UnexpectedAnswer(f"{_named(entry)}: null, which is not declared")
        if found is MISSING and not entry.nullable and not entry.default:
            raise UnexpectedAnswer(f"{_named(entry)}: missing")
        if found is None or found is MISSING:
            if entry.nullable and not (found is MISSING and entry.default):
                out[name] = None
            continue
        try:
            made = entry.convert(found)
            out[name] = made if entry.build is None else entry.build(made)
        except UnexpectedAnswer as error:
            raise UnexpectedAnswer(f"{_named(entry)}: {error}") from None
    return out


def _named(entry: _Entry) -> str:
    return f"field `{entry.name}`" + ("" if entry.path is None else f" (`{entry.path.text}`)")


def holds_any(test: Callable[[pa.DataType], bool], arrow: pa.DataType | None) -> bool:
    """Whether the type, or one within it, passes the test."""
    if arrow is None or test(arrow):
        return arrow is not None
    if pa.types.is_map(arrow):
        return holds_any(test, arrow.item_type)
    if pa.types.is_dictionary(arrow):
        return holds_any(test, arrow.value_type)
    return any(holds_any(test, arrow.field(at).type) for at in range(arrow.num_fields))


def _of_arrow(arrow: pa.DataType | None, *, where: str) -> Convert:
    if arrow is None or pa.types.is_null(arrow):
        return lambda value: value
    if pa.types.is_dictionary(arrow):
        return _of_arrow(arrow.value_type, where=where)
    if is_list(arrow):
        return functools.partial(_list, _of_arrow(arrow.value_type, where=where))
    if pa.types.is_map(arrow):
        return functools.partial(_map, _of_arrow(arrow.item_type, where=where))
    if pa.types.is_struct(arrow):
        return functools.partial(_struct, {one.name: _of_arrow(one.type, where=where) for one in arrow})
    for test, convert in _SCALARS:
        if test(arrow):
            return convert
    raise DeclarationError(f"{where} {arrow}, which JSON has no value for; declare a text, and shape it afterwards")


def _list(item: Convert, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise UnexpectedAnswer(f"expected list, got {kind_of(value)}")
    out: list[Any] = []
    try:
        for one in value:
            out.append(None if one is None else item(one))  # noqa: PERF401
    except UnexpectedAnswer as error:
        raise UnexpectedAnswer(f"item {len(out)}: {error}") from None
    return out


def _map(item: Convert, value: Any) -> list[tuple[str, Any]]:
    if not isinstance(value, dict):
        raise UnexpectedAnswer(f"expected dict, got {kind_of(value)}")
    try:
        return [(key, None if one is None else item(one)) for key, one in value.items()]
    except UnexpectedAnswer as error:
        raise UnexpectedAnswer(f"a value: {error}") from None


def _struct(fields: Mapping[str, Convert], value: Any) -> dict[str, Any]:
    """A record in a list, of which only Arrow's type is known; what is missing is for `build` and `mismatch`."""
    if not isinstance(value, dict):
        raise UnexpectedAnswer(f"expected a record, got {kind_of(value)}")
    out = {}
    for name, convert in fields.items():
        if name in value:
            try:
                out[name] = None if value[name] is None else convert(value[name])
            except UnexpectedAnswer as error:
                raise UnexpectedAnswer(f"field `{name}`: {error}") from None
    return out


def _just(kind: type) -> Convert:
    def convert(value: Any) -> Any:
        if type(value) is kind:
            return value
        raise UnexpectedAnswer(f"expected {kind.__name__}, got {kind_in_json(value)}")

    return convert


def kind_in_json(value: Any) -> str:
    """The type of a value as JSON knows it."""
    return "float" if isinstance(value, Decimal) else kind_of(value)


def _float(value: Any) -> float:
    if type(value) is float:
        return value
    if type(value) is int and abs(value) <= _EXACT_FLOAT:
        return float(value)
    if isinstance(value, Decimal) and math.isfinite(found := float(value)):
        return found
    odd = "a number that a float cannot hold" if type(value) in (int, Decimal) else kind_in_json(value)
    raise UnexpectedAnswer(f"expected float, got {odd}")


def _decimal(value: Any) -> Decimal:
    if type(value) is int or (isinstance(value, str) and _NUMBER.fullmatch(value)):
        value = Decimal(value)
    if not isinstance(value, Decimal):
        raise UnexpectedAnswer(
            f"expected Decimal, got {'another text' if isinstance(value, str) else kind_in_json(value)}"
        )
    if abs(value.adjusted()) > _DIGITS:
        raise UnexpectedAnswer("expected Decimal, got a number that no column holds")
    return value


def _iso(kind: Any, pattern: str) -> Convert:
    form, name = re.compile(pattern), kind.__name__

    def convert(value: Any) -> Any:
        if not isinstance(value, str):
            raise UnexpectedAnswer(f"expected {name} in ISO 8601, got {kind_in_json(value)}")
        try:
            return kind.fromisoformat(value if form.fullmatch(value) else "")
        except ValueError:
            raise UnexpectedAnswer(f"expected {name} in ISO 8601, to the microsecond, got another text") from None

    return convert


_SCALARS: tuple[tuple[Callable[[pa.DataType], bool], Convert], ...] = (
    (is_text, _just(str)),
    (pa.types.is_integer, _just(int)),
    (pa.types.is_boolean, _just(bool)),
    (pa.types.is_floating, _float),
    (pa.types.is_decimal, _decimal),
    (pa.types.is_date, _iso(datetime.date, _DATE)),
    (pa.types.is_timestamp, _iso(datetime.datetime, f"{_DATE}[T ]{_TIME}{_ZONE}")),
    (pa.types.is_time, _iso(datetime.time, _TIME)),
)
