"""Record types: how TypedDicts, dataclasses, NamedTuples and pydantic models are read, checked and built.

How their annotations become Arrow types is not known here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NotRequired, Required, get_origin, is_typeddict

from dataflow.services.types import Declared, kind_of, name_of

MISSING = object()


def build_of(model: Any, fields: Mapping[str, Declared]) -> Callable[[dict[str, Any]], Any] | None:
    """What makes a value of the record type from a dict of its fields, or None where the dict is one already."""
    nested = {name: field.build for name, field in fields.items() if field.build is not None}
    make = _maker(model)
    if not nested:
        return make

    def build(values: dict[str, Any]) -> Any:
        built = {name: inner(values[name]) for name, inner in nested.items() if values.get(name) is not None}
        return make({**values, **built}) if make is not None else {**values, **built}

    return build


def _maker(model: Any) -> Callable[[dict[str, Any]], Any] | None:
    if is_typeddict(model):
        return None
    if hasattr(model, "model_validate"):
        validate: Callable[[dict[str, Any]], Any] = model.model_validate
        return validate
    return lambda fields: model(**fields)


def defaults_of(model: Any) -> dict[str, Any]:
    """The default of each field of the record type that has one."""
    if hasattr(model, "model_fields"):
        fields = model.model_fields.items()
        return {name: field.get_default(call_default_factory=True) for name, field in fields if not field.is_required()}
    if dataclasses.is_dataclass(model):
        found: dict[str, Any] = {}
        for field in dataclasses.fields(model):
            if field.default is not dataclasses.MISSING:
                found[field.name] = field.default
            elif field.default_factory is not dataclasses.MISSING:
                found[field.name] = field.default_factory()
        return found
    return dict(getattr(model, "_field_defaults", {}))


def optional_of(annotation: Any, hints: Mapping[str, Any]) -> frozenset[str]:
    """The fields of a TypedDict that may be left out; its own record of them is wrong where annotations are texts."""
    said = {name: get_origin(hint) for name, hint in hints.items()}
    listed = {name for name in getattr(annotation, "__optional_keys__", ()) if said.get(name) is not Required}
    return frozenset(listed | {name for name, origin in said.items() if origin is NotRequired})


def reader_of(annotation: Any) -> Callable[[Any, str], Any] | None:
    """How a field of the record type is read off a value, or None where the annotation is no record type."""
    if is_typeddict(annotation):
        return lambda value, name: value.get(name, MISSING)
    is_class = isinstance(annotation, type)
    if is_class and (dataclasses.is_dataclass(annotation) or hasattr(annotation, "model_fields")):
        return getattr
    if is_class and issubclass(annotation, tuple) and hasattr(annotation, "_fields"):
        return getattr
    return None


def check_of(
    annotation: Any, fields: Mapping[str, Declared], optional: frozenset[str], reader: Callable[[Any, str], Any]
) -> Callable[[Any], str | None]:
    """The check of a whole record, field by field."""
    expected = Mapping if is_typeddict(annotation) or annotation is dict else annotation
    checks = [(name, field.mismatch, name in optional or field.nullable) for name, field in fields.items()]

    def mismatch(value: Any) -> str | None:
        if not isinstance(value, expected):
            return f"expected {name_of(annotation)}, got {kind_of(value)}"
        absent = 0
        for name, wrong, may_miss in checks:
            found = reader(value, name)
            if found is MISSING:
                absent += 1
                if not may_miss:
                    return f"field `{name}`: missing"
            elif problem := wrong(found):
                if found is None and may_miss:
                    continue
                return f"field `{name}`: {problem}"
        if expected is Mapping and len(value) > len(checks) - absent:
            return "fields that are not declared"
        return None

    return mismatch


def plain_of(fields: Mapping[str, Declared], reader: Callable[[Any, str], Any]) -> Callable[[Any], Any] | None:
    """What turns a record into a dict for Arrow, or None where it is one already."""
    nested = {name: field.plain for name, field in fields.items()}
    if reader is not getattr and not any(nested.values()):
        return None

    def plain(value: Any) -> dict[str, Any]:
        out = {}
        for name, inner in nested.items():
            found = reader(value, name)
            found = None if found is MISSING else found
            out[name] = found if inner is None or found is None else inner(found)
        return out

    return plain
