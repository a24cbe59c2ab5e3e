"""The declared types: what Arrow makes of them, and whether a value is really of one.

Types are checked, never coerced: `1.5` or `'7'` is not an int, `True` is not one either. How annotations
are read is not known here.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

Mismatch = Callable[[Any], str | None]

DECIMAL = pa.decimal128(38, 9)
"""The type of an annotated Decimal: nine places; `returns=pa.decimal128(p, s)` chooses another."""

_INT64 = range(-(2**63), 2**63)
_EXACT_FLOAT = 2**53


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What an annotation promises about a value.

    Attributes:
        text: The annotation as people write it.
        arrow: The Arrow type, or None where anything is accepted.
        nullable: Whether None is a value of it.
        exact: Python types of which every value fits; a column of only these needs no look at each value.
        mismatch: What is wrong with a value, without the value itself; None where it fits.
        plain: Turns a value into what Arrow takes (a dataclass into a dict), or None where it is that already.
        build: Turns what Arrow gives into a value (a dict into a dataclass), or None where it is that already.
        fields: The declared fields of a record type, in order; None for everything else.
        optional: The fields that a value may leave out.
        model: The class of a record type.
        item: What the items of a list, or the values of a dict, are; None for everything else.
        among: The values of a Literal; empty where any of the type will do.
    """

    text: str
    arrow: pa.DataType | None
    nullable: bool = False
    exact: frozenset[type] = frozenset()
    mismatch: Mismatch = lambda value: None
    plain: Callable[[Any], Any] | None = None
    build: Callable[[Any], Any] | None = None
    fields: Mapping[str, Declared] | None = None
    optional: frozenset[str] = frozenset()
    model: Any = None
    item: Declared | None = None
    among: tuple[Any, ...] = ()


ANYTHING = Declared(text="Any", arrow=None, nullable=True)


def name_of(annotation: Any) -> str:
    """The annotation as a person would write it."""
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")


def partial_mismatch(declared: Declared, value: Any) -> str | None:
    """What is wrong with a value that may leave out fields of a record, without the value itself."""
    if declared.fields is None or not isinstance(value, Mapping):
        return declared.mismatch(value)
    for name, one in value.items():
        if name not in declared.fields:
            return f"field `{name}` is not declared"
        if one is not None and (wrong := declared.fields[name].mismatch(one)) is not None:
            return f"field `{name}`: {wrong}"
    return None


def kind_of(value: Any) -> str:
    """The type of a value as a person would write it; numpy's `bool` is not Python's."""
    kind = type(value)
    return f"numpy.{kind.__name__}" if kind.__module__ == "numpy" else kind.__name__


def accepts(declared: Declared, arrow: pa.DataType) -> bool:
    """Whether a column of the Arrow type can be read under the declaration without coercion."""
    return declared.arrow is None or _reads(declared.arrow, arrow)


def holds(wanted: pa.DataType, arrow: pa.DataType) -> bool:
    """Whether every value of one Arrow type is also a value of the wanted one."""
    wanted, arrow = _decoded(wanted), _decoded(arrow)
    if wanted == arrow or (is_text(wanted) and is_text(arrow)):
        return True
    for family in (pa.types.is_signed_integer, pa.types.is_unsigned_integer, pa.types.is_floating):
        if family(wanted) and family(arrow):
            return bool(wanted.bit_width >= arrow.bit_width)
    return False


def _reads(wanted: pa.DataType, arrow: pa.DataType) -> bool:
    wanted, arrow = _decoded(wanted), _decoded(arrow)
    if wanted == arrow or pa.types.is_null(arrow):
        return True
    if is_list(wanted) and is_list(arrow):
        return _reads(wanted.value_type, arrow.value_type)
    if pa.types.is_struct(wanted) and pa.types.is_struct(arrow):
        names = {field.name for field in arrow}
        return all(field.name in names and _reads(field.type, arrow.field(field.name).type) for field in wanted)
    if pa.types.is_map(wanted) and pa.types.is_map(arrow):
        return _reads(wanted.key_type, arrow.key_type) and _reads(wanted.item_type, arrow.item_type)
    return any(test(wanted) and also(arrow) for test, also in _FAMILIES)


def _decoded(arrow: pa.DataType) -> pa.DataType:
    return arrow.value_type if pa.types.is_dictionary(arrow) else arrow


def is_text(arrow: pa.DataType) -> bool:
    """Whether the Arrow type holds text, in whichever of its layouts."""
    return bool(pa.types.is_string(arrow) or pa.types.is_large_string(arrow) or pa.types.is_string_view(arrow))


def is_list(arrow: pa.DataType) -> bool:
    """Whether the Arrow type holds lists, in whichever of its layouts."""
    return bool(pa.types.is_list(arrow) or pa.types.is_large_list(arrow) or pa.types.is_fixed_size_list(arrow))


def _is_number(arrow: pa.DataType) -> bool:
    return bool(pa.types.is_integer(arrow) or pa.types.is_floating(arrow))


def _is_bytes(arrow: pa.DataType) -> bool:
    return bool(pa.types.is_binary(arrow) or pa.types.is_large_binary(arrow) or pa.types.is_fixed_size_binary(arrow))


_FAMILIES: tuple[tuple[Callable[[pa.DataType], bool], Callable[[pa.DataType], bool]], ...] = (
    (is_text, is_text),
    (pa.types.is_integer, pa.types.is_integer),
    (pa.types.is_floating, _is_number),
    (_is_bytes, _is_bytes),
    (pa.types.is_date, pa.types.is_date),
    (pa.types.is_timestamp, pa.types.is_timestamp),
    (pa.types.is_time, pa.types.is_time),
    (pa.types.is_duration, pa.types.is_duration),
    (pa.types.is_decimal, pa.types.is_decimal),
)


def _scalar(python: type, arrow: pa.DataType, mismatch: Mismatch) -> Declared:
    return Declared(text=python.__name__, arrow=arrow, exact=frozenset({python}), mismatch=mismatch)


def _wrong(expected: str) -> Callable[[Any], str]:
    return lambda value: f"expected {expected}, got {kind_of(value)}"


def _instance(python: type, *, but: type | None = None) -> Mismatch:
    wrong = _wrong(python.__name__)

    def mismatch(value: Any) -> str | None:
        fits = isinstance(value, python) and not (but is not None and isinstance(value, but))
        return None if fits else wrong(value)

    return mismatch


def _integer(value: Any) -> str | None:
    if isinstance(value, bool) or not hasattr(type(value), "__index__"):
        return f"expected int, got {kind_of(value)}"
    return None if int(value) in _INT64 else "expected int, got an integer past 64 bits"


def _floating(value: Any) -> str | None:
    if isinstance(value, float):
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return None if abs(value) <= _EXACT_FLOAT else "expected float, got an integer that a float cannot hold"
    if hasattr(type(value), "dtype") and type(value).__name__.startswith("float"):
        return None
    return f"expected float, got {kind_of(value)}"


def _naive(value: Any) -> str | None:
    if not isinstance(value, datetime.datetime):
        return f"expected datetime, got {kind_of(value)}"
    if value.tzinfo is not None:
        return "expected a datetime without a zone; declare returns=pa.timestamp('us', 'UTC') for one with"
    return None


def _naive_time(value: Any) -> str | None:
    if not isinstance(value, datetime.time):
        return f"expected time, got {kind_of(value)}"
    return None if value.tzinfo is None else "expected a time without a zone"


def _decimal(value: Any) -> str | None:
    if not isinstance(value, decimal.Decimal):
        return f"expected Decimal, got {kind_of(value)}"
    if not value.is_finite():
        return "expected a finite Decimal"
    exponent = value.as_tuple().exponent
    return None if isinstance(exponent, int) and exponent >= -9 else "expected at most 9 decimal places"


SCALARS: dict[Any, Declared] = {
    str: _scalar(str, pa.string(), _instance(str)),
    int: _scalar(int, pa.int64(), _integer),
    float: dataclasses.replace(_scalar(float, pa.float64(), _floating), exact=frozenset({float})),
    bool: _scalar(bool, pa.bool_(), _instance(bool)),
    bytes: _scalar(bytes, pa.binary(), _instance(bytes)),
    datetime.datetime: Declared(text="datetime", arrow=pa.timestamp("us"), mismatch=_naive),
    datetime.date: Declared(text="date", arrow=pa.date32(), mismatch=_instance(datetime.date, but=datetime.datetime)),
    datetime.time: Declared(text="time", arrow=pa.time64("us"), mismatch=_naive_time),
    datetime.timedelta: _scalar(datetime.timedelta, pa.duration("us"), _instance(datetime.timedelta)),
    decimal.Decimal: Declared(text="Decimal", arrow=DECIMAL, mismatch=_decimal),
}
