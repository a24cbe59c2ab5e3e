"""How one value is written into a url, a parameter, a JSON body or a text. Pure; templates are not known here.

    value             url                        parameters                   JSON, exactly "{x}"   within a text
    None              refused                    drops the parameter          null                  nothing
    str               percent-encoded            as it is                     as it is              as it is
    bool              true, false                true, false                  true, false           true, false
    int               digits                     digits                       number                digits
    float             shortest that reads back   the same                     number                the same
    Decimal           without an exponent        the same                     text                  the same
    date, time        ISO 8601                   the same                     text                  the same
    list              refused                    repeats the parameter        array                 as JSON
    dict              refused                    refused                      object                as JSON

NaN, infinities, bytes, durations and everything else are refused; so is text that UTF-8 cannot hold.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import msgspec


def write_text(value: Any, name: str) -> str:
    """A value within a text, such as a prompt: nothing for a null, JSON for lists and records.

    Raises:
        ValueError: It cannot be written; the text names the column, never the value.
    """
    if value is None:
        return ""
    if isinstance(value, (list, tuple, Mapping)):
        return msgspec.json.encode(write_json(value, name)).decode()
    return write_scalar(value, name)


def write_json(value: Any, name: str) -> Any:
    """A value as plain JSON values.

    Raises:
        ValueError: It cannot be written; the text names the column, never the value.
    """
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        write_scalar(value, name)
        return value
    if isinstance(value, (list, tuple)):
        return [write_json(one, name) for one in value]
    if isinstance(value, Mapping):
        return {write_scalar(key, name): write_json(one, name) for key, one in value.items()}
    return write_scalar(value, name)


def write_scalar(value: Any, name: str) -> str:
    """One value as text; the table in the module's docstring says how.

    Raises:
        ValueError: It cannot be written; the text names the column, never the value.
    """
    write = _SCALARS.get(type(value)) or next((_SCALARS[one] for one in type(value).__mro__ if one in _SCALARS), None)
    if write is None:
        kind = "null" if value is None else f"a {type(value).__name__}"
        raise ValueError(f"`{name}`: {kind} cannot be written here")
    text = write(value)
    if text is None:
        raise ValueError(f"`{name}`: a number that is not finite, or text that UTF-8 cannot hold")
    return text


def _text(value: str) -> str | None:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            return None
    return str.__str__(value)


_SCALARS: dict[type, Callable[[Any], str | None]] = {
    str: _text,
    bool: lambda value: "true" if value else "false",
    int: int.__repr__,
    float: lambda value: float.__repr__(value) if math.isfinite(value) else None,
    Decimal: lambda value: format(value, "f") if value.is_finite() else None,
    datetime.datetime: datetime.datetime.isoformat,
    datetime.date: datetime.date.isoformat,
    datetime.time: datetime.time.isoformat,
}
