"""Answers: from the bytes of a successful answer to the value of the service.

Types are checked, never coerced. What JSON does not have is read from one form only: dates and times from ISO 8601,
a Decimal from a number (digit for digit) or from a text of one. A whole number is a float where that loses nothing.
Of a key that an object holds twice the last one counts; fields that were not declared are ignored.
Bodies are not fetched here, nothing is tried again, and statuses are not known.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from dataflow.errors import NotFound, RetryLater
from dataflow.services.conversion import Convert, build_record, converter, holds_any
from dataflow.services.nonfinite import decode_nonfinite
from dataflow.services.records import MISSING
from dataflow.services.selection import (
    ROOT,
    EmptyAnswer,
    MalformedAnswer,
    NotFinite,
    NotUTF8,
    RefusedAnswer,
    Selection,
    UnexpectedAnswer,
    follow,
)
from dataflow.services.types import Declared, kind_of

DEPTH = 200
"""Lists and objects within each other at most; msgspec itself gives up somewhere past 900."""
_BOM = b"\xef\xbb\xbf"
_TEXTS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)  # an open one ends the body: no second try
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # up and down as signed bytes
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AnswerReader:
    """What turns the body of an answer into the value of a service.

    Attributes:
        returns: The declared type.
        select: Where the value is; None for the whole answer.
        accept: Judges the parsed answer: True, or False or a text for an error; None accepts all.
        where: Who declares it, for the error.
        allow_nan: Whether NaN and the infinities, which JSON does not have, are taken as floats.
    """

    returns: Declared
    select: Selection | None = None
    accept: Callable[[Any], Any] | None = None
    where: str = "returns"
    allow_nan: bool = False
    decode: Callable[[bytes], Any] = field(init=False, repr=False)
    convert: Convert = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Prepare the decoding and the conversion.

        Raises:
            DeclarationError: JSON has no such type, such as bytes.
        """
        exact = holds_any(pa.types.is_decimal, self.returns.arrow)
        decoder = msgspec.json.Decoder(float_hook=Decimal) if exact else msgspec.json.Decoder()
        fields = {} if self.select is None else self.select.fields
        object.__setattr__(self, "decode", decoder.decode)
        object.__setattr__(self, "convert", converter(self.returns, fields=fields, where=self.where))


def read_answer(body: bytes, reader: AnswerReader) -> Any:
    """The value that the body of a successful answer holds.

    Raises:
        NotFound: The body is null, and null is no value of the declared type; `accept` is not asked then.
        EmptyAnswer: The same, and the body is empty.
        MalformedAnswer: It is no JSON.
        UnexpectedAnswer: It is JSON of another shape or type.
        RefusedAnswer: `accept` refused it; whatever `accept` itself raises comes out as it is.
    """
    if reader.returns.nullable and is_empty(body):
        return None
    return read_item(parse(body, reader), reader)


def read_item(parsed: Any, reader: AnswerReader) -> Any:
    """The value that a parsed answer, or one item of a batch, holds.

    Raises:
        NotFound: It is null, and null is no value of the declared type; `accept` is not asked then.
        UnexpectedAnswer: It is of another shape or type.
        RefusedAnswer: `accept` refused it; whatever `accept` itself raises comes out as it is.
    """
    if parsed is None:
        return _nothing(reader)
    if reader.accept is not None:
        _judge(reader.accept(parsed))
    return read_value(parsed, reader)


def parse(body: bytes, reader: AnswerReader) -> Any:
    """The body as plain values; where a Decimal is declared, numbers with a fraction are Decimals.

    Raises:
        EmptyAnswer: It is empty.
        MalformedAnswer: It is no JSON.
        UnexpectedAnswer: It is nested deeper than 200, or holds a number past all limits, or one that is none.
    """
    if is_empty(body):
        raise EmptyAnswer("the answer is empty")
    if is_deep(body):
        raise UnexpectedAnswer(f"nested deeper than {DEPTH}")
    body = body.removeprefix(_BOM)
    try:
        return reader.decode(body)
    except (msgspec.ValidationError, ArithmeticError):
        raise UnexpectedAnswer("holds a number that is out of range") from None
    except msgspec.DecodeError as error:
        return _decode_other(body, reader, error)
    except UnicodeDecodeError:
        raise NotUTF8("no JSON: its text is not UTF-8, and no charset= of its Content-Type says what it is") from None
    except RecursionError:
        raise UnexpectedAnswer("nested too deeply for where it is read") from None


def _decode_other(body: bytes, reader: AnswerReader, problem: Exception) -> Any:
    """What a body says that is no JSON: only because of a NaN in it, or for the reason that is given."""
    try:
        return decode_nonfinite(body, reader.decode, allowed=reader.allow_nan)
    except NotFinite:
        raise
    except (ValueError, ArithmeticError, msgspec.ValidationError):
        html = body.lstrip()[:1] == b"<"
        raise MalformedAnswer("no JSON: it looks like HTML" if html else f"no JSON: {problem}") from None


def read_value(parsed: Any, reader: AnswerReader) -> Any:
    """The value that is selected from a parsed answer.

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
        value = build_record(returns, value)
    if (wrong := returns.mismatch(value)) is not None:
        raise UnexpectedAnswer(f"`{root.text}`: {wrong}" if root.steps else wrong)
    return value


def is_empty(body: bytes) -> bool:
    """Whether there is nothing in it but blanks."""
    return not body or body.isspace()


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
