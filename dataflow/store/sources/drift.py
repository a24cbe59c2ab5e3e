"""One schema for Parquet files whose schemas differ; pure.

Widened are integers, floating point numbers and integers beside them, the layouts of text, units of time, decimals,
and structs by the names of their fields; a column or field may be missing or all null somewhere. Every other
difference is refused by file, column and both types.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from dataflow.errors import SourceError

_FIELD_ID = b"PARQUET:field_id"
_SIGNED = (pa.int8(), pa.int16(), pa.int32(), pa.int64())
_UNITS = ("s", "ms", "us", "ns")
_DECIMALS = {32: (pa.decimal32, 9), 64: (pa.decimal64, 18), 128: (pa.decimal128, 38), 256: (pa.decimal256, 76)}
_UNSIGNED = (pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A schema and the first file that has it, as messages name it."""

    schema: pa.Schema
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unified:
    """The schema of all files, and what had to be decided for it."""

    schema: pa.Schema
    notes: tuple[str, ...] = ()


def unify(seen: Sequence[Seen]) -> Unified:
    """The one schema under which all files can be read.

    Args:
        seen: The different schemas, in the order of the source.

    Raises:
        SourceError: A column has types of which none holds both.
    """
    names = dict.fromkeys(name for one in seen for name in one.schema.names)
    fields, notes = [], []
    for name in names:
        places = [(one.path, one.schema.field(name)) for one in seen if name in one.schema.names]
        field = _unify_column(name, places, everywhere=len(places) == len(seen))
        fields.append(field)
        if len(places) < len(seen):
            lacking = next(one.path for one in seen if name not in one.schema.names)
            notes.append(f"`{name}` is missing in some files and null there, as in {lacking}")
        notes += _widening(name, field.type, types=[place.type for _, place in places])
    return Unified(schema=pa.schema(fields), notes=tuple(notes))


def widen(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """The type that holds all values of both without loss, or None; integers beside fractions are the exception."""
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    if pa.types.is_dictionary(one) or pa.types.is_dictionary(other):
        return widen(_decoded(one), _decoded(other))
    for rule in (_widen_numbers, _widen_text, _widen_units, _widen_decimals, _widen_lists, _widen_structs):
        found = rule(one, other)
        if found is not None:
            return found
    return None


def _unify_column(name: str, places: Sequence[tuple[str, pa.Field]], *, everywhere: bool) -> pa.Field:
    first_path, first = places[0]
    target = first.type
    for path, field in places[1:]:
        wider = widen(target, field.type)
        if wider is None:
            raise SourceError(
                f"{path}: column `{name}` is {field.type} here and {first.type} in {first_path}; "
                "no type holds both, so write one of them anew or read them as two sources"
            )
        target = wider
    nullable = not everywhere or any(field.nullable for _, field in places)
    metadata = _common_metadata([field.metadata for _, field in places])
    return pa.field(name, target, nullable=nullable, metadata=metadata)


def _common_metadata(given: Iterable[Mapping[bytes, bytes] | None]) -> dict[bytes, bytes] | None:
    """The metadata that all files agree on; the position in the file is none of it."""
    plain = [{key: value for key, value in (one or {}).items() if key != _FIELD_ID} for one in given]
    return plain[0] if plain[0] and all(one == plain[0] for one in plain) else None


def _widening(name: str, target: pa.DataType, *, types: Sequence[pa.DataType]) -> list[str]:
    others = dict.fromkeys(str(one) for one in types if not pa.types.is_null(one))
    if len(others) < 2:
        return []
    return [f"`{name}` is {' and '.join(others)} in different files and is read as {target}"]


def _decoded(one: pa.DataType) -> pa.DataType:
    return one.value_type if pa.types.is_dictionary(one) else one


def _widen_numbers(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    pair = (one, other)
    if all(kind in _SIGNED for kind in pair) or all(kind in _UNSIGNED for kind in pair):
        return max(pair, key=lambda kind: kind.bit_width)
    if all(pa.types.is_integer(kind) for kind in pair):
        unsigned = one if one in _UNSIGNED else other
        signed = other if unsigned is one else one
        wide = max(signed.bit_width, 2 * unsigned.bit_width)
        return next((kind for kind in _SIGNED if kind.bit_width == wide), None)
    if all(pa.types.is_floating(kind) for kind in pair):
        return max(pair, key=lambda kind: kind.bit_width)
    if all(pa.types.is_floating(kind) or pa.types.is_integer(kind) for kind in pair):
        return pa.float64()
    return None


def _widen_text(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    pair = (one, other)
    if all(pa.types.is_string(k) or pa.types.is_large_string(k) or pa.types.is_string_view(k) for k in pair):
        return pa.large_string() if any(pa.types.is_large_string(kind) for kind in pair) else pa.string()
    if all(pa.types.is_binary(k) or pa.types.is_large_binary(k) or pa.types.is_binary_view(k) for k in pair):
        return pa.large_binary() if any(pa.types.is_large_binary(kind) for kind in pair) else pa.binary()
    return None


def _widen_units(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """The finer of two units; the zone of a timestamp must be the same, since it is part of what it says."""
    if not any(test(one) and test(other) for test in (pa.types.is_timestamp, pa.types.is_duration, pa.types.is_time)):
        return None
    if pa.types.is_timestamp(one) and one.tz != other.tz:
        return None
    return max(one, other, key=lambda kind: _UNITS.index(kind.unit))


def _widen_decimals(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """The decimal with the whole digits and the places of both; no type has more than 76 digits."""
    pair = (one, other)
    if not all(pa.types.is_decimal(kind) for kind in pair):
        return None
    scale = max(kind.scale for kind in pair)
    precision = max(kind.precision - kind.scale for kind in pair) + scale
    width = max(kind.bit_width for kind in pair)
    kinds = (make for bits, (make, most) in _DECIMALS.items() if bits >= width and precision <= most)
    return next((make(precision, scale) for make in kinds), None)


def _widen_structs(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """The fields of both by name; one that is missing is null there."""
    if not (pa.types.is_struct(one) and pa.types.is_struct(other)):
        return None
    names = ([field.name for field in one], [field.name for field in other])
    if any(len(set(some)) < len(some) for some in names):
        return None
    fields = []
    for name in dict.fromkeys(names[0] + names[1]):
        found = [kind.field(name) for kind, some in zip((one, other), names, strict=True) if name in some]
        both = widen(found[0].type, found[-1].type)
        if both is None:
            return None
        nullable = len(found) < 2 or any(field.nullable for field in found)
        fields.append(pa.field(name, both, nullable=nullable))
    return pa.struct(fields)


def _widen_lists(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    if not all(pa.types.is_list(kind) or pa.types.is_large_list(kind) for kind in (one, other)):
        return None
    value = widen(one.value_type, other.value_type)
    if value is None:
        return None
    large = any(pa.types.is_large_list(kind) for kind in (one, other))
    return pa.large_list(value) if large else pa.list_(value)
