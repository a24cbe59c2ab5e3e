"""Answers: from the bytes of a successful answer to the value of the service.

Types are checked, never coerced. What JSON does not have is read from one form only: dates and times from ISO 8601,
a Decimal from a number (digit for digit) or from a text of one. A whole number is a float where that loses nothing.
Of a key that an object holds twice the last one counts; fields that were not declared are ignored.
Bodies are not fetched here, nothing is tried again, and statuses are not known.
"""

from __future__ import annotations

import datetime
import difflib
import functools
import math
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from dataflow.errors import DeclarationError, NotFound, RetryLater
from dataflow.services.records import MISSING, defaults_of
from dataflow.services.types import Declared, is_list, is_text, kind_of

DEPTH = 200
"""Lists and objects within each other at most; msgspec itself gives up somewhere past 900."""

Convert = Callable[[Any], Any]

_BOM = b"\xef\xbb\xbf"
_STEP = re.compile(r'(?:^|(?<=.)\.)(?P<name>[^.\[\]"]+)|\["(?P<quoted>[^"]+)"\]')
_TEXTS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)  # an open one ends the body: no second try
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # up and down as signed bytes
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_EXACT_FLOAT = 2**53
_DIGITS = 76  # of Arrow's longest decimal
_NUMBER = re.compile(r"-?[0-9]{1,100}(?:\.[0-9]{1,100})?(?:[eE][+\-]?[0-9]{1,4})?")
_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME = r"(?:[01][0-9]|2[0-3]):[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6}0*)?)?"
_ZONE = r"(?:Z|[+\-][0-9]{2}:?[0-9]{2})?"


class MalformedAnswer(ValueError):
    """The body is no JSON, or was cut; the same call may well answer properly."""


class UnexpectedAnswer(ValueError):
    """The body is JSON of another shape or type than declared, which calling again does not heal."""


class RefusedAnswer(ValueError):
    """The service's `accept=` found an error inside a successful answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """Where in an answer something is.

    Attributes:
        text: As written.
        steps: Each a name, and the same as a place in a list, or -1 where it is none.
    """

    text: str
    steps: tuple[tuple[str, int], ...]


ROOT = Path(text="the answer", steps=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Where in an answer the value of a service is.

    Attributes:
        root: The whole value.
        fields: Fields of a record that are elsewhere than under their own names, seen from the root.
    """

    root: Path = ROOT
    fields: Mapping[str, Path] = field(default_factory=dict)


def read_path(text: str, *, where: str) -> Path:
    """A path such as `data.items.0.name`: names joined by dots, whole numbers for places in a list.

    A whole number is also the key of that name where it meets an object. A key with a dot or a bracket
    in it is written `["a.b"]`: `data["a.b"].name`.

    Raises:
        DeclarationError: It is no such path.
    """
    steps: list[tuple[str, int]] = []
    at = 0
    while isinstance(text, str) and (found := _STEP.match(text, at)) is not None:
        name, at = found["name"], found.end()
        steps.append((name or found["quoted"], int(name) if name and re.fullmatch("[0-9]{1,9}", name) else -1))
    if not steps or at < len(text) or text.startswith("$."):
        raise DeclarationError(
            f'{where} {text!r} is no path; write data.items.0.name, and ["a.b"] for a key with a dot in it'
        )
    return Path(text=text, steps=tuple(steps))


def read_select(value: Any, returns: Declared, *, where: str) -> Selection:
    """Where the value is: one path for the whole of it, or {field: path} for fields that are elsewhere.

    Raises:
        DeclarationError: A path cannot be read, or a field is not declared.
    """
    if not isinstance(value, Mapping):
        return Selection(root=read_path(value, where=where))
    if returns.fields is None:
        raise DeclarationError(f"{where} names fields, but {returns.text} has none; give one path")
    for name in value:
        if name not in returns.fields:
            near = difflib.get_close_matches(str(name), returns.fields, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"it has {', '.join(returns.fields)}"
            raise DeclarationError(f"{where} names `{name}`, which {returns.text} does not have; {hint}")
    return Selection(fields={name: read_path(path, where=f"{where} `{name}`") for name, path in value.items()})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AnswerReader:
    """What turns the body of an answer into the value of a service.

    Attributes:
        returns: The declared type.
        select: Where the value is; None for the whole answer.
        accept: Judges the parsed answer: True, or False or a text for an error; None accepts all.
        where: Who declares it, for the error.
    """

    returns: Declared
    select: Selection | None = None
    accept: Callable[[Any], Any] | None = None
    where: str = "returns"
    decode: Callable[[bytes], Any] = field(init=False, repr=False)
    convert: Convert = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Prepare the decoding and the conversion.

        Raises:
            DeclarationError: JSON has no such type, such as bytes.
        """
        exact = _holds(pa.types.is_decimal, self.returns.arrow)
        decoder = msgspec.json.Decoder(float_hook=Decimal) if exact else msgspec.json.Decoder()
        fields = {} if self.select is None else self.select.fields
        object.__setattr__(self, "decode", decoder.decode)
        object.__setattr__(self, "convert", _converter(self.returns, fields=fields, where=self.where))


def read_answer(body: bytes, reader: AnswerReader) -> Any:
    """The value that the body of a successful answer holds.

    Raises:
        NotFound: The body is empty or null, and null is no value of the declared type; `accept` is not asked then.
        MalformedAnswer: It is no JSON.
        UnexpectedAnswer: It is JSON of another shape or type.
        RefusedAnswer: `accept` refused it; whatever `accept` itself raises comes out as it is.
    """
    if not body or body.isspace():
        return _nothing(reader)
    parsed = parse(body, reader)
    if parsed is None:
        return _nothing(reader)
    if reader.accept is not None:
        _judge(reader.accept(parsed))
    return read_value(parsed, reader)


def parse(body: bytes, reader: AnswerReader) -> Any:
    """The body as plain values; where a Decimal is declared, numbers with a fraction are Decimals.

    Raises:
        MalformedAnswer: It is no JSON.
        UnexpectedAnswer: It is nested deeper than 200, or holds a number past all limits.
    """
    if is_deep(body):
        raise UnexpectedAnswer(f"nested deeper than {DEPTH}")
    try:
        return reader.decode(body.removeprefix(_BOM))
    except (msgspec.ValidationError, ArithmeticError):
        raise UnexpectedAnswer("holds a number that is out of range") from None
    except msgspec.DecodeError as error:
        html = body.lstrip()[:1] == b"<"
        raise MalformedAnswer("no JSON: it looks like HTML" if html else f"no JSON: {error}") from None
    except UnicodeDecodeError:
        raise MalformedAnswer("no JSON: its text is not UTF-8") from None
    except RecursionError:
        raise UnexpectedAnswer("nested too deeply for where it is read") from None


def read_value(parsed: Any, reader: AnswerReader) -> Any:
    """The value that a parsed answer, or one item of a batch, holds.

    Raises:
        NotFound: It is there and null, and null is no value of the declared type.
        UnexpectedAnswer: It is missing, or of another shape or type.
    """
    returns, root = reader.returns, ROOT if reader.select is None else reader.select.root
    found = follow(root, parsed) if root.steps else parsed
    if found is None or (found is MISSING and returns.nullable):
        return _nothing(reader)
    if found is MISSING:
        raise UnexpectedAnswer(f"`{root.text}`: missing")
    value = reader.convert(found)
    if returns.build is not None:
        value = _build(returns, value)
    if (wrong := returns.mismatch(value)) is not None:
        raise UnexpectedAnswer(f"`{root.text}`: {wrong}" if root.steps else wrong)
    return value


def follow(path: Path, value: Any) -> Any:
    """What is at the path, or `MISSING`; what a null would hold is missing too.

    Raises:
        UnexpectedAnswer: Something on the way is neither an object nor a list that has such a place.
    """
    for name, at in path.steps:
        if isinstance(value, dict):
            value = value.get(name, MISSING)
        elif isinstance(value, list) and at >= 0:
            value = value[at] if at < len(value) else MISSING
        elif value is None:
            return MISSING
        else:
            raise UnexpectedAnswer(f"`{path.text}`: expected an object that has `{name}`, got {kind_of(value)}")
        if value is MISSING:
            break
    return value


def is_deep(body: bytes) -> bool:
    """Whether lists and objects are more than 200 deep; in time that grows with the size alone."""
    if body.count(b"[") + body.count(b"{") <= DEPTH:
        return False
    steps = _TEXTS.sub(b"", body).translate(_STEPS, _NO_BRACKETS)
    levels = np.cumsum(np.frombuffer(steps, np.int8), dtype=np.int64)
    return bool(levels.max(initial=0) > DEPTH)


def _nothing(reader: AnswerReader) -> None:
    if not reader.returns.nullable:
        raise NotFound("the answer holds nothing")


def _judge(verdict: Any) -> None:
    if verdict is True:
        return
    if isinstance(verdict, RetryLater):
        raise verdict
    if verdict is not False and not isinstance(verdict, str):
        raise TypeError(f"accept= returned {kind_of(verdict)}; return True, False or the text of an error")
    raise RefusedAnswer(verdict or "accept= says that it is an error")


def _build(returns: Declared, value: Any) -> Any:
    """The record that the fields make; its class may check more, and its own words may hold values."""
    try:
        assert returns.build is not None
        return returns.build(value)
    except Exception as error:
        places = [one["loc"] for one in error.errors()] if hasattr(error, "errors") else []
        said = f" at {'.'.join(map(str, places[0]))}" if places else ""
        raise UnexpectedAnswer(f"{returns.text} does not take it{said}: {type(error).__name__}") from None


def _converter(declared: Declared, *, fields: Mapping[str, Path], where: str) -> Convert:
    """What turns JSON into what Arrow would give for the type, for `Declared.build` and `mismatch` to go on from."""
    if declared.fields is None:
        return _of_arrow(declared.arrow, where=where)
    defaults = declared.optional | frozenset(defaults_of(declared.model))
    entries = [
        _Entry(
            name=name,
            path=fields.get(name),
            convert=_converter(one, fields={}, where=f"{where} `{name}`"),
            build=one.build if declared.model is dict else None,
            nullable=one.nullable,
            optional=name in declared.optional,
            default=name in defaults,
        )
        for name, one in declared.fields.items()
    ]
    return functools.partial(_record, entries, declared.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """How one field of a record is read; `build` only where the record type has none to do it."""

    name: str
    path: Path | None
    convert: Convert
    build: Convert | None
    nullable: bool
    optional: bool
    default: bool


def _record(entries: Sequence[_Entry], text: str, value: Any) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if not isinstance(value, dict):
        raise UnexpectedAnswer(f"expected {text}, got {_kind(value)}")
    for entry in entries:
        name, path = entry.name, entry.path
        found = value.get(name, MISSING) if path is None else follow(path, value)
        if found is None and not entry.nullable and not entry.optional:
            raise UnexpectedAnswer(f"{_named(entry)}: null, which is not declared")
        if found is MISSING and not entry.nullable and not entry.default:
            raise UnexpectedAnswer(f"{_named(entry)}: missing")
        if found is None or found is MISSING:
            if entry.nullable and not (found is MISSING and entry.default):
                out[name] = None
            continue
        try:
            made = entry.convert(found)
            out[name] = made if entry.build is None else entry.build(made)
        except UnexpectedAnswer as error:
            raise UnexpectedAnswer(f"{_named(entry)}: {error}") from None
    return out


def _named(entry: _Entry) -> str:
    return f"field `{entry.name}`" + ("" if entry.path is None else f" (`{entry.path.text}`)")


def _holds(test: Callable[[pa.DataType], bool], arrow: pa.DataType | None) -> bool:
    if arrow is None or test(arrow):
        return arrow is not None
    if pa.types.is_map(arrow):
        return _holds(test, arrow.item_type)
    if pa.types.is_dictionary(arrow):
        return _holds(test, arrow.value_type)
    return any(_holds(test, arrow.field(at).type) for at in range(arrow.num_fields))


def _of_arrow(arrow: pa.DataType | None, *, where: str) -> Convert:
    if arrow is None or pa.types.is_null(arrow):
        return lambda value: value
    if pa.types.is_dictionary(arrow):
        return _of_arrow(arrow.value_type, where=where)
    if is_list(arrow):
        return functools.partial(_list, _of_arrow(arrow.value_type, where=where))
    if pa.types.is_map(arrow):
        return functools.partial(_map, _of_arrow(arrow.item_type, where=where))
    if pa.types.is_struct(arrow):
        return functools.partial(_struct, {one.name: _of_arrow(one.type, where=where) for one in arrow})
    for test, convert in _SCALARS:
        if test(arrow):
            return convert
    raise DeclarationError(f"{where} {arrow}, which JSON has no value for; declare a text, and shape it afterwards")


def _list(item: Convert, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise UnexpectedAnswer(f"expected list, got {kind_of(value)}")
    out: list[Any] = []
    try:
        for one in value:
            out.append(None if one is None else item(one))  # noqa: PERF401
    except UnexpectedAnswer as error:
        raise UnexpectedAnswer(f"item {len(out)}: {error}") from None
    return out


def _map(item: Convert, value: Any) -> list[tuple[str, Any]]:
    if not isinstance(value, dict):
        raise UnexpectedAnswer(f"expected dict, got {kind_of(value)}")
    try:
        return [(key, None if one is None else item(one)) for key, one in value.items()]
    except UnexpectedAnswer as error:
        raise UnexpectedAnswer(f"a value: {error}") from None


def _struct(fields: Mapping[str, Convert], value: Any) -> dict[str, Any]:
    """A record in a list, of which only Arrow's type is known; what is missing is for `build` and `mismatch`."""
    if not isinstance(value, dict):
        raise UnexpectedAnswer(f"expected a record, got {kind_of(value)}")
    out = {}
    for name, convert in fields.items():
        if name in value:
            try:
                out[name] = None if value[name] is None else convert(value[name])
            except UnexpectedAnswer as error:
                raise UnexpectedAnswer(f"field `{name}`: {error}") from None
    return out


def _just(kind: type) -> Convert:
    def convert(value: Any) -> Any:
        if type(value) is kind:
            return value
        raise UnexpectedAnswer(f"expected {kind.__name__}, got {_kind(value)}")

    return convert


def _kind(value: Any) -> str:
    return "float" if isinstance(value, Decimal) else kind_of(value)


def _float(value: Any) -> float:
    if type(value) is float:
        return value
    if type(value) is int and abs(value) <= _EXACT_FLOAT:
        return float(value)
    if isinstance(value, Decimal) and math.isfinite(found := float(value)):
        return found
    odd = "a number that a float cannot hold" if type(value) in (int, Decimal) else _kind(value)
    raise UnexpectedAnswer(f"expected float, got {odd}")


def _decimal(value: Any) -> Decimal:
    if type(value) is int or (isinstance(value, str) and _NUMBER.fullmatch(value)):
        value = Decimal(value)
    if not isinstance(value, Decimal):
        raise UnexpectedAnswer(f"expected Decimal, got {'another text' if isinstance(value, str) else _kind(value)}")
    if abs(value.adjusted()) > _DIGITS:
        raise UnexpectedAnswer("expected Decimal, got a number that no column holds")
    return value


def _iso(kind: Any, pattern: str) -> Convert:
    form, name = re.compile(pattern), kind.__name__

    def convert(value: Any) -> Any:
        if not isinstance(value, str):
            raise UnexpectedAnswer(f"expected {name} in ISO 8601, got {_kind(value)}")
        try:
            return kind.fromisoformat(value if form.fullmatch(value) else "")
        except ValueError:
            raise UnexpectedAnswer(f"expected {name} in ISO 8601, to the microsecond, got another text") from None

    return convert


_SCALARS: tuple[tuple[Callable[[pa.DataType], bool], Convert], ...] = (
    (is_text, _just(str)),
    (pa.types.is_integer, _just(int)),
    (pa.types.is_boolean, _just(bool)),
    (pa.types.is_floating, _float),
    (pa.types.is_decimal, _decimal),
    (pa.types.is_date, _iso(datetime.date, _DATE)),
    (pa.types.is_timestamp, _iso(datetime.datetime, f"{_DATE}[T ]{_TIME}{_ZONE}")),
    (pa.types.is_time, _iso(datetime.time, _TIME)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """The items of a batch answer, told apart.

    Attributes:
        found: The item for each place of the request that has one.
        repeated: Items whose key had come before; the first counts.
        unasked: Items whose key nobody asked for.
    """

    found: Mapping[int, Any]
    repeated: int = 0
    unasked: int = 0


def split_batch(items: Any, *, keys: Sequence[Hashable], key_path: Path | None = None) -> Split:
    """Match the items of a batch answer to what was asked, in whatever order and number they came.

    Args:
        items: The parsed list.
        keys: What was asked, in order, as JSON has it (text, whole number); one that is asked twice is found twice.
        key_path: Where an item repeats its key; None matches by order, which takes as many items as keys.

    Raises:
        UnexpectedAnswer: It is no list, an item has no key or one of another type than was asked, or the order
            cannot be trusted because the numbers differ.
    """
    if not isinstance(items, list):
        raise UnexpectedAnswer(f"expected list of a batch, got {kind_of(items)}")
    if key_path is None:
        if len(items) != len(keys):
            raise UnexpectedAnswer(f"expected {len(keys)} items of a batch, got {len(items)}")
        return Split(found=dict(enumerate(items)))
    asked = {(type(key), key) for key in keys}
    texts = {str(key) for key in keys}
    by_key: dict[Any, Any] = {}
    repeated = unasked = 0
    for at, item in enumerate(items):
        key = _key(key_path, item, at=at)
        if key in by_key:
            repeated += 1
        elif key in asked:
            by_key[key] = item
        elif str(key[1]) in texts:
            raise UnexpectedAnswer(f"item {at}: `{key_path.text}`: {kind_of(key[1])}, asked with another type")
        else:
            unasked += 1
    found = {at: by_key[type(key), key] for at, key in enumerate(keys) if (type(key), key) in by_key}
    return Split(found=found, repeated=repeated, unasked=unasked)


def _key(path: Path, item: Any, *, at: int) -> tuple[type, Any]:
    try:
        found = follow(path, item)
    except UnexpectedAnswer as error:
        raise UnexpectedAnswer(f"item {at}: {error}") from None
    if found is MISSING or found is None or isinstance(found, (dict, list)):
        raise UnexpectedAnswer(f"item {at}: `{path.text}`: holds no key")
    return type(found), found
