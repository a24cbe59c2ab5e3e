"""Text to decimals, of which Arrow's own cast wraps past 38 digits or stops; pure.

A pattern made from the type decides what fits, so that the cast sees no text that does not. Zeros that say nothing
(before the number, behind its fraction) are no digits.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

_KINDS = {32: pa.decimal32, 64: pa.decimal64, 128: pa.decimal128, 256: pa.decimal256}

_SILENT = (
    # A point without digits before it gets one, since what follows may leave none behind it.
    (r"^([+-]?)\.", r"\10."),
    (r"\.0*$", ""),
    (r"(\.[0-9]*[1-9])0+$", r"\1"),
    (r"^([+-]?)0+([0-9])", r"\1\2"),
)


def decimal_shape(target: pa.DataType) -> str:
    """The pattern of all texts whose value the decimal type holds without rounding."""
    precision, scale = target.precision, target.scale
    whole = _whole(max(precision - scale, 0) if scale >= 0 else precision, zeros=max(-scale, 0))
    fraction = _fraction(min(precision, max(scale, 0)), zeros=max(scale - precision, 0))
    return rf"^[+-]?(?:{whole}(?:\.(?:{fraction})?)?|\.{fraction})$"


def parse_decimals(text: pa.Array, target: pa.DataType) -> pa.Array:
    """The decimals of texts that all have the shape of the type."""
    longest = pc.max(pc.binary_length(text)).as_py() or 0
    if target.scale < 0 or longest > target.precision:
        for pattern, short in _SILENT:
            text = pc.replace_substring_regex(text, pattern, short)
    if target.scale < 0:
        return _tens(text, target)
    return text.cast(target)


def _tens(text: pa.Array, target: pa.DataType) -> pa.Array:
    """Multiples of a power of ten, which are stored without its zeros; a cast would need room for them."""
    short = pc.replace_substring_regex(text, f"0{{{-target.scale}}}$", "")
    short = pc.replace_substring_regex(short, r"^([+-]?)$", r"\10")
    stored = short.cast(_KINDS[target.bit_width](target.precision, 0))
    return pa.Array.from_buffers(target, len(stored), stored.buffers(), offset=stored.offset)


def _whole(digits: int, *, zeros: int) -> str:
    """The digits before the point: so many of any kind, then so many zeros; or only zeros."""
    return f"(?:0+|0*[1-9][0-9]{{0,{digits - 1}}}0{{{zeros}}})" if digits else "0+"


def _fraction(digits: int, *, zeros: int) -> str:
    """The digits behind the point: so many zeros, then so many of any kind, then zeros again; or only zeros."""
    return f"(?:0+|0{{{zeros}}}[0-9]{{1,{digits}}}0*)" if digits else "0+"
