"""Kept answers: how the value of a service becomes JSON, and that JSON the same value again, type by type. Pure.

A value is written as Arrow takes it, since a column is what it is for: a record as an object of its declared fields, a
dict as a list of pairs, which keep their order. What JSON has no value for is text: dates, times, Decimals, bytes in
base 64, the floats that are no numbers; a span of time is its microseconds. Records are put together again as they
were, without the checks of their class, which may change what they are given. Where a value is kept is not known here.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, is_typeddict

import msgspec
import pyarrow as pa

from dataflow.services.types import Declared, is_list, is_text

Convert = Callable[[Any], Any]
_MICROSECOND = datetime.timedelta(microseconds=1)
_FLOATS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class NotKept(ValueError):
    """A value that cannot be kept, or one that was kept and does not come back; the text says why, without it."""


class KeptForm:
    """The form in which the values of one declared type are kept.

    Args:
        returns: The type.
    """

    def __init__(self, returns: Declared) -> None:
        self._returns = returns
        self._plain: Convert = returns.plain or (lambda value: value)
        self._write = _writer(returns.arrow)
        self._read = _reader(returns)
        self._checked = _has_class(returns)

    def write(self, value: Any) -> bytes:
        """The value as JSON.

        Raises:
            NotKept: It would not come back as it is.
        """
        if value is None:
            return b"null"
        try:
            shaped = self._write(self._plain(value))
            data = msgspec.json.encode(shaped)
        except NotKept:
            raise
        except Exception as error:
            raise NotKept(f"a value cannot be written ({type(error).__name__})") from None
        if self._checked and not self._comes_back(data, shaped):
            raise NotKept(f"{self._returns.text} does not come back as it was")
        return data

    def read(self, data: bytes) -> Any:
        """The value that was kept.

        Raises:
            NotKept: It is not of the declared type.
        """
        try:
            found = msgspec.json.decode(data)
            value = None if found is None else self._read(found)
            wrong = self._returns.mismatch(value) if value is not None or not self._returns.nullable else None
        except NotKept:
            raise
        except Exception as error:
            raise NotKept(f"it is not {self._returns.text} ({type(error).__name__})") from None
        if wrong is not None:
            raise NotKept(wrong)
        return value

    def _comes_back(self, data: bytes, shaped: Any) -> bool:
        """Whether a value whose class may do as it likes is the same again."""
        return bool(self._write(self._plain(self.read(data))) == shaped)


def _has_class(declared: Declared) -> bool:
    """Whether a record of some class of the user's is part of the values."""
    inner = [*(declared.fields or {}).values(), *([] if declared.item is None else [declared.item])]
    own = declared.model not in (None, dict) and not is_typeddict(declared.model)
    return own or any(map(_has_class, inner))


def _or_none(convert: Convert) -> Convert:
    return lambda value: None if value is None else convert(value)


def _writer(arrow: pa.DataType | None) -> Convert:
    """What turns a value that Arrow takes into one that JSON has."""
    if arrow is None:
        return lambda value: value
    if pa.types.is_dictionary(arrow):
        return _writer(arrow.value_type)
    if is_list(arrow):
        item = _or_none(_writer(arrow.value_type))
        return lambda value: [item(one) for one in value]
    if pa.types.is_map(arrow):
        key, item = _writer(arrow.key_type), _or_none(_writer(arrow.item_type))
        return lambda value: [[key(name), item(one)] for name, one in value]
    if pa.types.is_struct(arrow):
        fields = {one.name: _or_none(_writer(one.type)) for one in arrow}
        return lambda value: {name: convert(value[name]) for name, convert in fields.items() if name in value}
    return _leaf(arrow)[0]


def _reader(declared: Declared) -> Convert:
    """The way back, to a value of the declared type."""
    if declared.fields is not None:
        return _record(declared)
    if declared.item is None:
        return _of_arrow(declared.arrow)
    item = _or_none(_reader(declared.item))
    if pa.types.is_map(declared.arrow):
        return lambda pairs: {_text(name): item(one) for name, one in pairs}
    return lambda values: [item(one) for one in _listed(values)]


def _record(declared: Declared) -> Convert:
    assert declared.fields is not None
    fields = {name: _or_none(_reader(one)) for name, one in declared.fields.items()}
    # Where a field may be left out, and null is no value of it, null says that it was.
    left_out = {name for name in declared.optional if not declared.fields[name].nullable}
    make = _maker(declared.model)

    def read(found: Any) -> Any:
        if not isinstance(found, dict):
            raise NotKept(f"it is no {declared.text}")
        given = {name: fields[name](one) for name, one in found.items() if one is not None or name not in left_out}
        return make(given)

    return read


def _maker(model: Any) -> Callable[[dict[str, Any]], Any]:
    """What puts a record together again; nothing that its author wrote is run for it."""
    if model is dict or is_typeddict(model):
        return lambda given: given
    if hasattr(model, "model_construct"):

        def construct(given: dict[str, Any]) -> Any:
            made = model.model_construct(**given)
            made.__dict__.update(given)
            return made

        return construct
    if dataclasses.is_dataclass(model):
        empty: Callable[[Any], Any] = model.__new__

        def fill(given: dict[str, Any]) -> Any:
            made = empty(model)
            for name, value in given.items():
                object.__setattr__(made, name, value)
            return made

        return fill
    return lambda given: tuple.__new__(model, [given[name] for name in model._fields])


def _of_arrow(arrow: pa.DataType | None) -> Convert:
    if arrow is None:
        return lambda value: value
    if pa.types.is_dictionary(arrow):
        return _of_arrow(arrow.value_type)
    if is_list(arrow):
        item = _or_none(_of_arrow(arrow.value_type))
        return lambda values: [item(one) for one in _listed(values)]
    if pa.types.is_map(arrow):
        key, item = _of_arrow(arrow.key_type), _or_none(_of_arrow(arrow.item_type))
        return lambda pairs: [(key(name), item(one)) for name, one in _listed(pairs)]
    if pa.types.is_struct(arrow):
        fields: Mapping[str, Convert] = {one.name: _or_none(_of_arrow(one.type)) for one in arrow}
        return lambda found: {name: fields[name](one) for name, one in found.items()}
    return _leaf(arrow)[1]


def _listed(values: Any) -> list[Any]:
    if not isinstance(values, list):
        raise NotKept("it is no list")
    return values


def _leaf(arrow: pa.DataType) -> tuple[Convert, Convert]:
    for test, write, read in _LEAVES:
        if test(arrow):
            return write, read

    def refuse(value: Any) -> Any:
        raise NotKept(f"a value of {arrow} has no form in which it could be kept")

    return refuse, refuse


def _text(value: Any) -> str:
    if type(value) is not str:
        raise NotKept("it is no text")
    return value


def _just(kind: type) -> Convert:
    def read(value: Any) -> Any:
        if type(value) is kind:
            return value
        raise NotKept(f"it is no {kind.__name__}")

    return read


def _write_float(value: Any) -> float | str:
    number = float(value)
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def _read_float(value: Any) -> float:
    if isinstance(value, str):
        return _FLOATS[value]
    if isinstance(value, bool):
        raise NotKept("it is no float")
    return float(value)


def _to_the_microsecond(write: Convert) -> Convert:
    def checked(value: Any) -> Any:
        if getattr(value, "nanosecond", 0) or getattr(value, "nanoseconds", 0):
            raise NotKept("a time is finer than a microsecond")
        return write(value)

    return checked


def _write_bytes(value: Any) -> str:
    return base64.b64encode(value).decode("ascii")


def _read_bytes(value: Any) -> bytes:
    return base64.b64decode(_text(value), validate=True)


def _read_integer(value: Any) -> int:
    if type(value) is not int:
        raise NotKept("it is no int")
    return value


_iso = _to_the_microsecond(lambda value: value.isoformat())

_LEAVES: tuple[tuple[Callable[[pa.DataType], bool], Convert, Convert], ...] = (
    (is_text, str.__str__, _text),
    (pa.types.is_boolean, bool, _just(bool)),
    (pa.types.is_integer, int, _read_integer),
    (pa.types.is_floating, _write_float, _read_float),
    (pa.types.is_decimal, str, lambda value: Decimal(_text(value))),
    (pa.types.is_date, _iso, lambda value: datetime.date.fromisoformat(_text(value))),
    (pa.types.is_timestamp, _iso, lambda value: datetime.datetime.fromisoformat(_text(value))),
    (pa.types.is_time, _iso, lambda value: datetime.time.fromisoformat(_text(value))),
    (
        pa.types.is_duration,
        _to_the_microsecond(lambda value: value // _MICROSECOND),
        lambda value: datetime.timedelta(microseconds=_read_integer(value)),
    ),
    (pa.types.is_binary, _write_bytes, _read_bytes),
    (pa.types.is_large_binary, _write_bytes, _read_bytes),
    (pa.types.is_fixed_size_binary, _write_bytes, _read_bytes),
    (pa.types.is_binary_view, _write_bytes, _read_bytes),
    (pa.types.is_null, lambda value: None, lambda value: None),
)
"""For each family of types its form, and the way back."""
