"""In which manner a chat endpoint is asked: how it is told the schema, the most tokens and the temperature. Pure.

Endpoints that call themselves compatible take different fields. Which of them one takes is read here from how it
refuses the others; when it is asked so, and who remembers what was found, is the business of the engine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum
from typing import Any

import msgspec

from dataflow.services.said import said

Schema = Mapping[str, Any]
Message = dict[str, str]


class Part(StrEnum):
    """What of a request an endpoint may refuse to take as it stands."""

    FORMAT = "response_format"
    MOST = "max_tokens"
    TEMPERATURE = "temperature"


class Format(IntEnum):
    """The forms of structured output, the strictest first."""

    JSON_SCHEMA = 0
    OBJECT_WITH_SCHEMA = 1
    OBJECT = 2
    TOOL = 3
    PROMPT = 4


class Most(IntEnum):
    """Where the most tokens of an answer are said, the place that most endpoints know first."""

    MAX_TOKENS = 0
    MAX_COMPLETION_TOKENS = 1
    NOWHERE = 2


_FORMATS: Mapping[Format, str] = {
    Format.JSON_SCHEMA: "response_format of the type json_schema",
    Format.OBJECT_WITH_SCHEMA: "response_format of the type json_object with its schema",
    Format.OBJECT: "response_format of the type json_object",
    Format.TOOL: "a tool whose arguments are the answer",
    Format.PROMPT: "the schema in the prompt alone",
}
_PLACES: Mapping[Most, str] = {
    Most.MAX_TOKENS: "max_tokens",
    Most.MAX_COMPLETION_TOKENS: "max_completion_tokens",
    Most.NOWHERE: "no limit of tokens",
}

_ABOUT = 2000
"""Characters of what an endpoint said in which it names what it refuses."""
_OTHERWISE = frozenset({401, 402, 403, 408, 429})
"""Statuses that speak of the account or of the time, whatever their text names."""
_RANGE = re.compile(
    r"too (?:large|high|big|small)|at (?:most|least)|less than|greater than|exceed|maximum|between", re.I
)
"""How a number is refused that is out of range, which another field would not mend."""
_NAMES: Mapping[Part, re.Pattern[str]] = {
    Part.FORMAT: re.compile(
        r"response[ _]?format|json[ _]?schema|json[ _]?object|structured[ _]output|json mode", re.I
    ),
    Part.MOST: re.compile(r"max[ _](?:completion[ _]|new[ _])?tokens", re.I),
    Part.TEMPERATURE: re.compile(r"temperature", re.I),
}
_TOOLS = re.compile(r"tool|function[ _]call", re.I)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """In which manner an endpoint is asked; at first in the one that says most.

    Attributes:
        format: How the schema of the answer is told.
        most: Where the most tokens are said.
        temperature: Whether it is sent.
    """

    format: Format = Format.JSON_SCHEMA
    most: Most = Most.MAX_TOKENS
    temperature: bool = True

    def after(self, part: Part, *, with_tools: bool = True) -> Manner:
        """The next one, where an endpoint refuses a part of this one.

        Args:
            part: What it refuses.
            with_tools: Whether the schema may be told as a tool; not where the author has tools.
        """
        if part is Part.TEMPERATURE:
            return replace(self, temperature=False)
        if part is Part.MOST:
            return replace(self, most=Most(min(self.most + 1, Most.NOWHERE)))
        step = 2 if self.format is Format.OBJECT and not with_tools else 1
        return replace(self, format=Format(min(self.format + step, Format.PROMPT)))

    def joined(self, other: Manner) -> Manner:
        """What both have found out."""
        return Manner(
            format=max(self.format, other.format),
            most=max(self.most, other.most),
            temperature=self.temperature and other.temperature,
        )

    def told_after(self, before: Manner) -> str:
        """What differs from the one before, for whoever reads it."""
        found = []
        if self.format is not before.format:
            found.append(f"takes no {_FORMATS[before.format]} and is given {_FORMATS[self.format]}")
        if self.most is not before.most:
            found.append(f"takes no {_PLACES[before.most]} and is given {_PLACES[self.most]}")
        if self.temperature is not before.temperature:
            found.append("takes no such temperature and is given none")
        return "; it ".join(found)


FIRST = Manner()
"""The one that says most."""


def refused_part(status: int, body: bytes, *, sent: frozenset[Part], format: Format) -> Part | None:  # noqa: A002
    """What an endpoint refuses of what was sent, by what it says; None where it fails for something else.

    The part that it names first is meant: behind it may stand what it would take instead.

    Args:
        status: Of the answer, which is an error.
        body: Of the answer.
        sent: The parts that the request had.
        format: How it told the schema.
    """
    if status in _OTHERWISE or not sent:
        return None
    text = said(body, most=_ABOUT)
    names = {**_NAMES, Part.FORMAT: _TOOLS} if format is Format.TOOL else _NAMES
    found = {part: named.start() for part in sent if (named := names[part].search(text))}
    if not found:
        return None
    part = min(found, key=lambda one: found[one])
    return None if part is Part.MOST and _RANGE.search(text) else part


def format_fields(format: Format, wanted: Schema) -> dict[str, Any]:  # noqa: A002
    """The fields of a request that tell the schema.

    Args:
        format: How.
        wanted: The schema with its name, as `response_format` of the type json_schema has it.
    """
    named = wanted["json_schema"]
    match format:
        case Format.JSON_SCHEMA:
            return {"response_format": wanted}
        case Format.OBJECT_WITH_SCHEMA:
            return {"response_format": {"type": "json_object", "schema": named["schema"]}}
        case Format.OBJECT:
            return {"response_format": {"type": "json_object"}}
        case Format.TOOL:
            about = {"description": "Takes the answer.", "parameters": named["schema"]}
            chosen = {"type": "function", "function": {"name": named["name"]}}
            return {
                "tools": [{"type": "function", "function": {"name": named["name"], **about}}],
                "tool_choice": chosen,
            }
    return {}


def with_schema(messages: list[Message], *, format: Format, wanted: Schema) -> list[Message]:  # noqa: A002
    """The conversation, in which the schema stands where its form alone does not bind every endpoint."""
    if format in (Format.JSON_SCHEMA, Format.TOOL):
        return messages
    schema = msgspec.json.encode(wanted["json_schema"]["schema"]).decode()
    text = f"Answer with nothing but one JSON object of this schema: {schema}"
    if messages and messages[0]["role"] == "system":
        return [{"role": "system", "content": f"{messages[0]['content']}\n\n{text}"}, *messages[1:]]
    return [{"role": "system", "content": text}, *messages]
