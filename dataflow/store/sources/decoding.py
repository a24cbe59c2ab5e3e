"""One JSON line to one record of a schema: decoded and checked by msgspec, or refused with a reason.

Types are checked, not coerced: `"7"` and `7.0` are no integers, and an integer past 2**53 is no floating point
number. In a column of mixed values, text takes every value. Files and rows are not known here.
"""

from __future__ import annotations

import datetime
import decimal
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

import msgspec
import pyarrow as pa

from dataflow.services.nonfinite import decode_nonfinite
from dataflow.services.selection import NotFinite
from dataflow.services.types import is_text
from dataflow.store.sources.shapes import EXACT

DEEPEST = 200
"""Lists and objects within each other; more is no data but an attack on the parser."""

_BRACKET_OR_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[\]{}]')
_FLOAT = Annotated[int, msgspec.Meta(ge=-EXACT, le=EXACT)] | float | None
_BY_TEXT = (pa.types.is_date, pa.types.is_time, pa.types.is_timestamp, pa.types.is_decimal)

Finish = Callable[[Any], Any]


class Refused(Exception):
    """A line that is no record of the schema.

    Args:
        reason: What is wrong, without any value.
        column: The column that does not fit, or None where the whole line is broken.
    """

    def __init__(self, reason: str, column: str | None = None) -> None:
        super().__init__(reason, column)
        self.reason = reason
        self.column = column


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordDecoder:
    """Decodes lines into the records of one schema.

    Attributes:
        columns: The columns of the schema.
        decode: Bytes to a dict of checked values.
        finish: By column, what turns decoded raw JSON into text, for the columns that have some.
    """

    columns: tuple[str, ...]
    decode: Callable[[bytes], dict[str, Any]]
    finish: Mapping[str, Finish]

    def record(self, line: bytes) -> dict[str, Any]:
        """The record on this line; keys that the schema does not have are left out.

        Raises:
            Refused: The line is broken, nested too deeply, or a value does not fit its column.
        """
        check_depth(line)
        try:
            record = self.decode(line)
            for column in self.finish.keys() & record.keys():
                record[column] = self.finish[column](record[column])
        except msgspec.ValidationError as error:
            raise Refused(*_misfit(str(error), self.columns)) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            reason = _flaw(line)
            raise Refused(reason, _named(reason, self.columns)) from error
        return record


def record_decoder(schema: pa.Schema, *, mixed: Collection[str]) -> RecordDecoder:
    """The decoder for a schema.

    Args:
        schema: The columns; dates, times and decimals come out as text, to be converted as a column.
        mixed: Columns in which text takes any value.
    """
    types: dict[str, Any] = {}
    finish: dict[str, Finish] = {}
    for column in schema:
        by_text = column.type if not by_text_type(column.type) else pa.string()
        raw = column.name in mixed or by_text is not column.type
        types[column.name] = python_type(by_text, raw=raw)
        finisher = _finisher(by_text, raw=raw)
        if finisher is not None:
            finish[column.name] = finisher
    decode = msgspec.json.Decoder(_typed("record", types)).decode
    opened = _opened(types)
    return RecordDecoder(
        columns=tuple(types), decode=decode if opened is None else lambda line: opened(decode(line)), finish=finish
    )


def read_what_fits(line: bytes, schema: pa.Schema) -> dict[str, Any]:
    """The values of a line that is no record of the schema which fit their columns all the same.

    Lists and objects are left out: nobody looks for a record by one.
    """
    try:
        check_depth(line)
        found = msgspec.json.decode(line)
    except (Refused, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    values: dict[str, Any] = {}
    for column in schema if isinstance(found, dict) else ():
        if pa.types.is_nested(column.type):
            continue
        kind = pa.string() if by_text_type(column.type) else column.type
        with suppress(msgspec.ValidationError):
            values[column.name] = msgspec.convert(found.get(column.name), python_type(kind, raw=False))
    return values


def by_text_type(target: pa.DataType) -> bool:
    """Whether values of the type are written as text in JSON and converted from it."""
    return any(test(target) for test in _BY_TEXT)


def readable(target: pa.DataType) -> bool:
    """Whether JSON values can become this type."""
    try:
        python_type(target, raw=False)
    except TypeError:
        return False
    return True


def python_type(target: pa.DataType, *, raw: bool) -> Any:
    """What msgspec is to decode for an Arrow type; with `raw`, every text is left as it stands in the JSON."""
    if is_text(target):
        return msgspec.Raw if raw else str | None
    if pa.types.is_boolean(target):
        return bool | None
    if pa.types.is_integer(target):
        return _integer(target) | None
    if pa.types.is_floating(target):
        return _FLOAT
    if pa.types.is_list(target) or pa.types.is_large_list(target):
        return list[python_type(target.value_type, raw=raw)] | None  # type: ignore[misc]
    if pa.types.is_struct(target):
        fields = {column.name: python_type(column.type, raw=raw) for column in target}
        return _typed("nested", fields) | None
    if by_text_type(target):
        return _written(target) | None
    raise TypeError(f"JSON has no {target}")


def _typed(name: str, fields: Mapping[str, Any]) -> Any:
    """A record type of these fields, each of which may be missing; see `_opened`."""
    if all(key.isascii() for key in fields):
        make: Any = TypedDict
        return make(name, dict(fields), total=False)
    places = [(f"f{at}", kind, msgspec.UNSET) for at, kind in enumerate(fields.values())]
    return msgspec.defstruct(name, places, rename={f"f{at}": key for at, key in enumerate(fields)})


def _opened(keys: Iterable[str]) -> Finish | None:
    """What makes a dict of a decoded record whose keys are not all ASCII; None where it is one.

    msgspec finds no other key of a TypedDict, without a word; those of a Struct it finds.
    """
    places = [(f"f{at}", key) for at, key in enumerate(keys)]
    if all(key.isascii() for _, key in places):
        return None

    def opened(value: Any) -> dict[str, Any]:
        found = ((key, getattr(value, place)) for place, key in places)
        return {key: item for key, item in found if item is not msgspec.UNSET}

    return opened


def check_depth(line: bytes) -> None:
    """Refuse lists and objects nested deeper than `DEEPEST`.

    Raises:
        Refused: They are.
    """
    if line.count(b"[") + line.count(b"{") <= DEEPEST:
        return
    depth = 0
    for found in _BRACKET_OR_STRING.finditer(line):
        token = found[0]
        if token in b"[{":
            depth += 1
            if depth > DEEPEST:
                raise Refused(f"lists or objects are nested deeper than {DEEPEST}")
        elif token in b"]}":
            depth -= 1


def loads(line: bytes) -> Any:
    """Any JSON value, without a schema; what msgspec refuses though it is legal is left to the standard library.

    Raises:
        Refused: The line is no JSON.
    """
    check_depth(line)
    try:
        return msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        value = json.loads(line, parse_constant=_refuse_constant)
        # Half a character, in a key or a value, is no text: the record is refused when it is read.
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise Refused(_flaw(line)) from error
    return value


def _flaw(line: bytes) -> str:
    """Why a line is refused that the decoder cannot read."""
    try:
        decode_nonfinite(line, json.loads, allowed=False)
    except NotFinite as error:
        return f"the line {error}, which is no JSON; write null or text in its place"
    except (ValueError, RecursionError):
        pass
    try:
        json.loads(line)
    except json.JSONDecodeError as error:
        return f"the line is no JSON object: {error.msg[:1].lower()}{error.msg[1:]} at character {error.pos + 1:,}"
    except (ValueError, RecursionError):
        return "the line is no JSON object"
    return "the line has a text with half a surrogate pair (\\ud800 to \\udfff), which is no character"


def _named(reason: str, columns: tuple[str, ...]) -> str | None:
    """The column that holds what is no number, as far as the reason names it."""
    _, _, path = reason.partition(" at `")
    fitting = [name for name in columns if path.startswith((f"{name}`", f"{name}.", f"{name}["))]
    return max(fitting, key=len) if fitting else None


def _refuse_constant(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


def _integer(target: pa.DataType) -> Any:
    if pa.types.is_uint64(target):
        return Annotated[int, msgspec.Meta(ge=0)]
    if pa.types.is_unsigned_integer(target):
        return Annotated[int, msgspec.Meta(ge=0, le=2**target.bit_width - 1)]
    return Annotated[int, msgspec.Meta(ge=-(2 ** (target.bit_width - 1)), le=2 ** (target.bit_width - 1) - 1)]


def _written(target: pa.DataType) -> Any:
    if pa.types.is_date(target):
        return datetime.date
    if pa.types.is_time(target):
        return datetime.time
    if pa.types.is_timestamp(target):
        return Annotated[datetime.datetime, msgspec.Meta(tz=target.tz is not None)]
    return decimal.Decimal


def _finisher(target: pa.DataType, *, raw: bool) -> Finish | None:
    """What turns a decoded value into a plain one, and the raw JSON in it into text; None where it is plain."""
    if is_text(target):
        return _text if raw else None
    if pa.types.is_list(target) or pa.types.is_large_list(target):
        inner = _finisher(target.value_type, raw=raw)
        return inner and (lambda items: None if items is None else [inner(item) for item in items])
    if pa.types.is_struct(target):
        finish = {column.name: one for column in target if (one := _finisher(column.type, raw=raw)) is not None}
        opened = _opened(column.name for column in target)
        return _fields_finisher(finish, opened) if finish or opened else None
    return None


def _fields_finisher(finish: Mapping[str, Finish], opened: Finish | None) -> Finish:
    def apply(value: Any) -> dict[str, Any] | None:
        if value is None:
            return None
        plain = value if opened is None else opened(value)
        return {key: finish[key](item) if key in finish else item for key, item in plain.items()}

    return apply


def _text(raw: msgspec.Raw) -> str | None:
    written = bytes(raw).strip()
    if written.startswith(b'"'):
        return msgspec.json.decode(written, type=str)
    return None if written == b"null" else written.decode()


def _misfit(message: str, columns: tuple[str, ...]) -> tuple[str, str | None]:
    """The words of msgspec as a reason and the column they are about; they hold types and bounds, never values."""
    words, _, path = message.partition(" - at `$")
    fitting = [name for name in columns if path.removeprefix(".").startswith(name)]
    column = max(fitting, key=len) if fitting else None
    return words[:1].lower() + words[1:].replace("`", ""), column
