"""Text to typed columns by Arrow kernels, checked: only text that is wholly a valid value is taken.

Pure functions over Arrow arrays; which file the text comes from is not known here. Numbers that are not finite
are refused: a `nan` in a file nearly always means "missing", which `null_values` can say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from dataflow.services.types import is_text
from dataflow.store.sources.decimals import decimal_shape, parse_decimals

_TRUE = r"(?i)^(true|t|yes|y|1)$"
_FALSE = r"(?i)^(false|f|no|n|0)$"
_DATE = r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_ZONE = r"(Z|[+-][0-9:]+)"
_PLACES = {"s": 0, "ms": 3, "us": 6, "ns": 9}
_WIDEST = 38


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """A column after conversion.

    Attributes:
        values: The typed values; null where the text was null or did not fit.
        misfits: For every record whether its text did not fit, or None where all did.
    """

    values: pa.ChunkedArray
    misfits: pa.ChunkedArray | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """How text becomes one kind of type.

    Attributes:
        accepts: Whether the rule is for this type.
        shape: A pattern that every valid text of the type matches.
        parse: Text to the type; raises `ArrowInvalid` where some value is none.
        strict: Whether `parse` takes text without the shape, so that it must be asked for first.
        keeps: For every parsed value whether it may stay, or None where all may.
        sift: Text of the shape to the type, with null for what is none; by halves where this is None.
    """

    accepts: Callable[[pa.DataType], bool]
    shape: Callable[[pa.DataType], str]
    parse: Callable[[pa.Array, pa.DataType], pa.Array]
    strict: bool = False
    keeps: Callable[[pa.Array], pa.Array] | None = None
    sift: Callable[[pa.Array, pa.DataType], pa.Array] | None = None


def convertible(target: pa.DataType) -> bool:
    """Whether text can become this type."""
    return is_text(target) or _rule(target) is not None


def convert(text: pa.ChunkedArray, target: pa.DataType) -> Converted:
    """The text as a column of the target type, and which records do not fit.

    Accepted are: integers of ASCII digits with an optional sign; decimal and floating point numbers with `.`;
    `true, false, t, f, yes, no, y, n, 1, 0` in any case; ISO 8601 dates, times and timestamps, with a zone
    exactly where the type has one. Nothing is trimmed and nothing is rounded but binary floating point.
    """
    if is_text(target):
        return Converted(values=text if text.type == target else text.cast(target))
    rule = _rule(target)
    if rule is None:
        raise TypeError(f"text cannot become {target}")
    chunks = [_convert(chunk, target, rule=rule) for chunk in text.chunks]
    values = pa.chunked_array(chunks, type=target)
    if values.null_count == text.null_count:
        return Converted(values=values)
    return Converted(values=values, misfits=pc.and_(text.is_valid(), values.is_null()))


def _convert(text: pa.Array, target: pa.DataType, *, rule: _Rule) -> pa.Array:
    shaped = text
    if rule.strict:
        shaped = _only(text, pc.match_substring_regex(text, rule.shape(target)))
    try:
        values = rule.parse(shaped, target)
    except pa.ArrowInvalid:
        shaped = _only(text, pc.match_substring_regex(text, rule.shape(target)))
        values = rule.sift(shaped, target) if rule.sift else _parse_each(shaped, target, rule=rule)
    return values if rule.keeps is None else _only(values, rule.keeps(values))


def _parse_each(text: pa.Array, target: pa.DataType, *, rule: _Rule) -> pa.Array:
    """Parse by halves until the texts that are no values are alone; they become null."""
    try:
        return rule.parse(text, target)
    except pa.ArrowInvalid:
        if len(text) == 1:
            return pa.nulls(1, target)
        half = len(text) // 2
        return pa.concat_arrays(
            [_parse_each(text[:half], target, rule=rule), _parse_each(text[half:], target, rule=rule)]
        )


def _only(values: pa.Array, kept: pa.Array) -> pa.Array:
    if kept.null_count == values.null_count and kept.false_count == 0:
        return values
    return pc.if_else(kept, values, pa.nulls(1, values.type)[0])


def _cast(text: pa.Array, target: pa.DataType) -> pa.Array:
    return text.cast(target)


def _integer(text: pa.Array, target: pa.DataType) -> pa.Array:
    # Arrow reads hexadecimal, which has other characters than digits, and refuses a leading plus.
    if pc.any(pc.starts_with(text, "+")).as_py():
        text = pc.replace_substring_regex(text, r"^\+([0-9])", r"\1")
    if not pc.all(pc.ascii_is_decimal(pc.ascii_ltrim(text, "-")), min_count=0).as_py():
        raise pa.ArrowInvalid("other characters than digits")
    return text.cast(target)


def _sift_integers(text: pa.Array, target: pa.DataType) -> pa.Array:
    """Integers of any length by way of decimals, since one that is too long would stop a cast."""
    plain = pc.replace_substring_regex(text, r"^(-?)\+?0*([0-9])", r"\1\2")
    wide = _only(plain, pc.match_substring_regex(plain, f"^-?[0-9]{{1,{_WIDEST}}}$")).cast(pa.decimal128(_WIDEST, 0))
    lowest = 0 if pa.types.is_unsigned_integer(target) else -(2 ** (target.bit_width - 1))
    return _only(wide, _between(wide, str(lowest), highest=str(lowest + 2**target.bit_width - 1))).cast(target)


def _between(values: pa.Array, lowest: str, *, highest: str) -> pa.Array:
    low, high = pa.array([lowest, highest]).cast(values.type)
    return pc.and_(pc.greater_equal(values, low), pc.less_equal(values, high))


def _boolean(text: pa.Array, target: pa.DataType) -> pa.Array:
    true = pc.match_substring_regex(text, _TRUE)
    if not pc.all(pc.or_(true, pc.match_substring_regex(text, _FALSE)), min_count=0).as_py():
        raise pa.ArrowInvalid("no word for true or false")
    return true.cast(target)


def _moment(text: pa.Array, target: pa.DataType) -> pa.Array:
    if pc.any(pc.starts_with(text, "0000")).as_py():
        raise pa.ArrowInvalid("there is no year 0")
    return text.cast(target)


def _time(text: pa.Array, target: pa.DataType) -> pa.Array:
    moments = pc.binary_join_element_wise("1970-01-01T", text, "")
    return moments.cast(pa.timestamp(target.unit)).cast(target)


def _fraction(unit: str) -> str:
    return f"(\\.[0-9]{{1,{_PLACES[unit]}}})?" if _PLACES[unit] else ""


def _moment_shape(target: pa.DataType) -> str:
    zone = _ZONE if target.tz else ""
    return f"{_DATE}([ T][0-9:]+{_fraction(target.unit)})?{zone}$"


def _time_shape(target: pa.DataType) -> str:
    return f"^([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]{_fraction(target.unit)})?$"


def _always(shape: str) -> Callable[[pa.DataType], str]:
    return lambda target: shape


def _rule(target: pa.DataType) -> _Rule | None:
    return next((rule for rule in _RULES if rule.accepts(target)), None)


_RULES = (
    _Rule(accepts=pa.types.is_integer, shape=_always(r"^[+-]?[0-9]+$"), parse=_integer, sift=_sift_integers),
    _Rule(
        accepts=pa.types.is_floating,
        shape=_always(r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"),
        parse=_cast,
        keeps=pc.is_finite,
    ),
    _Rule(
        accepts=pa.types.is_decimal,
        shape=decimal_shape,
        parse=parse_decimals,
        strict=True,
    ),
    _Rule(accepts=pa.types.is_boolean, shape=_always(f"({_TRUE})|({_FALSE})"), parse=_boolean),
    _Rule(accepts=pa.types.is_date, shape=_always(_DATE + "$"), parse=_moment),
    _Rule(accepts=pa.types.is_timestamp, shape=_moment_shape, parse=_moment),
    _Rule(accepts=pa.types.is_time, shape=_time_shape, parse=_time, strict=True),
)
