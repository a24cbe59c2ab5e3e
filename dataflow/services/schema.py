"""From a declared type to the JSON schema that a model is asked to keep to. Pure; answers are checked elsewhere.

The schema is of the strict kind: every field of a record is required, others are refused, and a field that may be
null says so. What is no record is the field `answer` of one, since a strict answer is an object.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Literal, Union, get_args, get_origin

import pyarrow as pa

from dataflow.errors import DeclarationError
from dataflow.services.annotations import type_hints, unwrap
from dataflow.services.records import optional_of, reader_of
from dataflow.services.types import is_list, is_text, name_of

ANSWER = "answer"
"""The field under which a value comes that is no record."""

Schema = dict[str, Any]

_MOMENT = {"type": "string", "description": "a date and time in ISO 8601 without a zone, such as 2025-01-31T12:00:00"}
_ZONED = {"type": "string", "description": "a date and time in ISO 8601 with its zone, such as 2025-01-31T12:00:00Z"}
_TIME = {"type": "string", "description": "a time of day such as 12:00:00"}
_DATE = {"type": "string", "format": "date"}

_SCALARS: Mapping[Any, Schema] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    Decimal: {"type": "number"},
    date: _DATE,
    datetime: _MOMENT,
    time: _TIME,
}

_ARROWS: tuple[tuple[Callable[[pa.DataType], bool], Schema], ...] = (
    (is_text, _SCALARS[str]),
    (pa.types.is_integer, _SCALARS[int]),
    (pa.types.is_boolean, _SCALARS[bool]),
    (pa.types.is_floating, _SCALARS[float]),
    (pa.types.is_decimal, _SCALARS[Decimal]),
    (pa.types.is_date, _DATE),
    (lambda arrow: pa.types.is_timestamp(arrow) and arrow.tz is not None, _ZONED),
    (pa.types.is_timestamp, _MOMENT),
    (pa.types.is_time, _TIME),
)


def response_format(returns: Any, *, wrapped: bool, name: str) -> Schema:
    """What a request says of the answer that it wants.

    Args:
        returns: The declared type, or {field: type}.
        wrapped: Whether it is asked for as the field `answer` of an object.
        name: Of the service.

    Raises:
        DeclarationError: JSON has no such type.
    """
    schema = schema_of(returns, where=f"`{name}` returns")
    if wrapped:
        schema = _object({ANSWER: schema})
    told = "".join(mark if mark.isascii() and (mark.isalnum() or mark in "_-") else "_" for mark in name)[:64]
    return {"type": "json_schema", "json_schema": {"name": told, "strict": _is_strict(schema), "schema": schema}}


def schema_of(annotation: Any, *, where: str) -> Schema:
    """The schema of the values of one type.

    Raises:
        DeclarationError: JSON has no such type.
    """
    annotation = unwrap(annotation)
    if isinstance(annotation, Mapping):
        return _object({name: schema_of(one, where=where) for name, one in annotation.items()})
    if isinstance(annotation, pa.DataType):
        return _of_arrow(annotation, where=where)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation in _SCALARS:
        return dict(_SCALARS[annotation])
    if origin in (Union, types.UnionType):
        return _union(arguments, where=where)
    if origin is Literal:
        return {**_SCALARS[type(arguments[0])], "enum": list(arguments)}
    if origin in (list, tuple, Sequence):
        return {"type": "array", "items": schema_of(arguments[0], where=where)}
    if origin in (dict, Mapping):
        return {"type": "object", "additionalProperties": schema_of(arguments[1], where=where)}
    if reader_of(annotation) is not None:
        return _record(annotation, where=where)
    raise DeclarationError(f"{where} {name_of(annotation)}, which JSON has no value for; declare a text")


def _object(fields: Mapping[str, Schema]) -> Schema:
    return {
        "type": "object",
        "properties": dict(fields),
        "required": list(fields),
        "additionalProperties": False,
    }


def _record(annotation: Any, *, where: str) -> Schema:
    hints = {name: hint for name, hint in type_hints(annotation, where=where).items() if not name.startswith("_")}
    optional = optional_of(annotation, hints)
    fields = {name: schema_of(hint, where=where) for name, hint in hints.items()}
    return _object({name: _nullable(one) if name in optional else one for name, one in fields.items()})


def _union(arguments: tuple[Any, ...], *, where: str) -> Schema:
    members = [one for one in arguments if one is not type(None)]
    schema = schema_of(float if set(members) == {int, float} else members[0], where=where)
    return _nullable(schema) if len(members) < len(arguments) else schema


def _nullable(schema: Schema) -> Schema:
    kind = schema["type"]
    kinds = kind if isinstance(kind, list) else [kind]
    named = {**schema, "type": [*kinds, *([] if "null" in kinds else ["null"])]}
    if "enum" in named and None not in named["enum"]:
        named["enum"] = [*named["enum"], None]
    return named


def _of_arrow(arrow: pa.DataType, *, where: str) -> Schema:
    if pa.types.is_dictionary(arrow):
        return _of_arrow(arrow.value_type, where=where)
    if is_list(arrow):
        return {"type": "array", "items": _of_arrow(arrow.value_type, where=where)}
    if pa.types.is_struct(arrow):
        return _object({one.name: _nullable(_of_arrow(one.type, where=where)) for one in arrow})
    for test, schema in _ARROWS:
        if test(arrow):
            return dict(schema)
    raise DeclarationError(f"{where} {arrow}, which JSON has no value for; declare a text, and shape it afterwards")


def _is_strict(schema: Any) -> bool:
    """Whether all keys are known beforehand, which strict answers ask for."""
    if isinstance(schema, Mapping):
        return not isinstance(schema.get("additionalProperties"), Mapping) and all(map(_is_strict, schema.values()))
    return True
