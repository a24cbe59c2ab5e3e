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
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, is_typeddict

import msgspec
import pyarrow as pa

from dataflow.services.types import Declared, is_list, is_text

Convert = Callable[[Any], Any]
Leaves = tuple[tuple[Callable[[pa.DataType], bool], Convert | None, Convert | None], ...]
_MICROSECOND = datetime.timedelta(microseconds=1)
_FLOATS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class NotKept(ValueError):
    """A value that cannot be kept, or one that was kept and does not come back; the text says why, without it."""


class KeptForm:
    """The form in which the values of one declared type are kept.

    Args:
        returns: The type.
        from_json: Whether the values were read from JSON, so that their texts and numbers are Python's own.
    """

    def __init__(self, returns: Declared, *, from_json: bool = False) -> None:
        self._returns = returns
        self._plain: Convert = returns.plain or _as_it_is
        classes = list(_classes(returns))
        self._write = _writer(returns.arrow, leaves=_EXACT if from_json and not classes else _LEAVES) or _as_it_is
        self._read = _reader(returns) or _as_it_is
        self._doubtful = not all(map(_is_transparent, classes))

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
        if self._doubtful and not self._comes_back(data, shaped):
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


def _as_it_is(value: Any) -> Any:
    return value


def _classes(declared: Declared) -> Iterator[Any]:
    """The classes of records, other than dicts, that are part of the values."""
    if declared.model not in (None, dict) and not is_typeddict(declared.model):
        yield declared.model
    for one in (*(declared.fields or {}).values(), *([] if declared.item is None else [declared.item])):
        yield from _classes(one)


def _is_transparent(model: Any) -> bool:
    """Whether a record holds what was put into it, whoever wrote its class."""
    if hasattr(model, "model_construct"):
        return getattr(model, "__pydantic_post_init__", "") is None
    if not dataclasses.is_dataclass(model):
        return True
    names = [field.name for field in dataclasses.fields(model)]
    return model.__new__ is object.__new__ and not any(isinstance(getattr(model, one, None), property) for one in names)


def _each(convert: Convert) -> Convert:
    return lambda values: [None if one is None else convert(one) for one in values]


def _writer(arrow: pa.DataType | None, *, leaves: Leaves) -> Convert | None:
    """What turns a value that Arrow takes into one that JSON has; None where it is one."""
    if arrow is None:
        return None
    if pa.types.is_dictionary(arrow):
        return _writer(arrow.value_type, leaves=leaves)
    if is_list(arrow):
        item = _writer(arrow.value_type, leaves=leaves)
        return None if item is None else _each(item)
    if pa.types.is_map(arrow):
        key, item = (_writer(one, leaves=leaves) for one in (arrow.key_type, arrow.item_type))
        return None if key is item is None else _pairs(key or _as_it_is, item or _as_it_is)
    if not pa.types.is_struct(arrow):
        return _leaf(arrow, leaves)[0]
    found = {one.name: _writer(one.type, leaves=leaves) for one in arrow}
    if not any(found.values()):
        return None
    fields = [(name, convert or _as_it_is) for name, convert in found.items()]
    return lambda value: {
        name: None if (one := value[name]) is None else convert(one) for name, convert in fields if name in value
    }


def _pairs(key: Convert, item: Convert) -> Convert:
    return lambda pairs: [(key(name), None if one is None else item(one)) for name, one in pairs]


def _reader(declared: Declared) -> Convert | None:
    """The way back, to a value of the declared type; None where JSON gives it. What is wrong is found afterwards."""
    if declared.fields is not None:
        return _record(declared)
    if declared.item is None:
        return _of_arrow(declared.arrow)
    item = _reader(declared.item)
    if pa.types.is_map(declared.arrow):
        pairs = _pairs(_as_it_is, item or _as_it_is)
        return lambda found: dict(pairs(found))
    return None if item is None else _each(item)


def _record(declared: Declared) -> Convert | None:
    assert declared.fields is not None
    found = {name: _reader(one) for name, one in declared.fields.items()}
    fields = [(name, convert) for name, convert in found.items() if convert is not None]
    # Where a field may be left out, and null is no value of it, null says that it was.
    left_out = [name for name in declared.optional if not declared.fields[name].nullable]
    make = _maker(declared.model)
    if not fields and not left_out:
        return make

    def read(given: Any) -> Any:
        for name, convert in fields:
            if (one := given.get(name)) is not None:
                given[name] = convert(one)
        for name in left_out:
            if given.get(name, ...) is None:
                del given[name]
        return given if make is None else make(given)

    return read


def _maker(model: Any) -> Convert | None:
    """What puts a record together again; nothing that its author wrote is run for it."""
    if model is dict or is_typeddict(model):
        return None
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


def _of_arrow(arrow: pa.DataType | None) -> Convert | None:
    if arrow is None:
        return None
    if pa.types.is_dictionary(arrow):
        return _of_arrow(arrow.value_type)
    if is_list(arrow):
        item = _of_arrow(arrow.value_type)
        return None if item is None else _each(item)
    if pa.types.is_map(arrow):
        return _pairs(_of_arrow(arrow.key_type) or _as_it_is, _of_arrow(arrow.item_type) or _as_it_is)
    if pa.types.is_struct(arrow):
        fields = {one.name: _of_arrow(one.type) or _as_it_is for one in arrow}
        return lambda found: {name: None if one is None else fields[name](one) for name, one in found.items()}
    return _leaf(arrow, _LEAVES)[1]


def _leaf(arrow: pa.DataType, leaves: Leaves) -> tuple[Convert | None, Convert | None]:
    for test, write, read in leaves:
        if test(arrow):
            return write, read

    def refuse(value: Any) -> Any:
        raise NotKept(f"a value of {arrow} has no form in which it could be kept")

    return refuse, refuse


def _text(value: Any) -> str:
    if type(value) is not str:
        raise NotKept("it is no text")
    return value


def _write_float(value: Any) -> float | str:
    number = float(value)
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def _read_float(value: Any) -> Any:
    if type(value) is float:
        return value
    return _FLOATS[value] if isinstance(value, str) else value


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


_iso = _to_the_microsecond(lambda value: value.isoformat())

_LEAVES: Leaves = (
    (is_text, str.__str__, None),
    (pa.types.is_boolean, bool, None),
    (pa.types.is_integer, int, None),
    (pa.types.is_floating, _write_float, _read_float),
    (pa.types.is_decimal, str, lambda value: Decimal(_text(value))),
    (pa.types.is_date, _iso, lambda value: datetime.date.fromisoformat(_text(value))),
    (pa.types.is_timestamp, _iso, lambda value: datetime.datetime.fromisoformat(_text(value))),
    (pa.types.is_time, _iso, lambda value: datetime.time.fromisoformat(_text(value))),
    (
        pa.types.is_duration,
        _to_the_microsecond(lambda value: value // _MICROSECOND),
        lambda value: datetime.timedelta(microseconds=value),
    ),
    (pa.types.is_binary, _write_bytes, _read_bytes),
    (pa.types.is_large_binary, _write_bytes, _read_bytes),
    (pa.types.is_fixed_size_binary, _write_bytes, _read_bytes),
    (pa.types.is_binary_view, _write_bytes, _read_bytes),
    (pa.types.is_null, lambda value: None, lambda value: None),
)
"""For each family of types its form, and the way back."""

_EXACT: Leaves = (
    *((test, None, None) for test in (is_text, pa.types.is_boolean, pa.types.is_integer)),
    (pa.types.is_floating, None, _read_float),
    *_LEAVES,
)
"""The same for values that JSON has given, which are in their form already."""
