"""In which manner a chat endpoint is asked: how it is told the schema, the most tokens, and what is said before. Pure.

Endpoints that call themselves compatible take different fields. Which of them one takes shows in how it refuses the
others, which is read in `refused`; when it is asked so, and who remembers what was found, is the engine's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum
from typing import Any

import msgspec

Schema = Mapping[str, Any]
Message = dict[str, str]


class Part(StrEnum):
    """What of a request an endpoint may refuse to take as it stands."""

    FORMAT = "response_format"
    MOST = "max_tokens"
    TEMPERATURE = "temperature"
    SYSTEM = "system"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """In which manner an endpoint is asked; at first in the one that says most.

    Attributes:
        format: How the schema of the answer is told.
        most: Where the most tokens are said.
        temperature: Whether it is sent.
        system: Whether what is said before has a message of its own, in the role of the system.
    """

    format: Format = Format.JSON_SCHEMA
    most: Most = Most.MAX_TOKENS
    temperature: bool = True
    system: bool = True

    def after(self, part: Part, *, with_tools: bool = True) -> Manner:
        """The next one, where an endpoint refuses a part of this one.

        Args:
            part: What it refuses.
            with_tools: Whether the schema may be told as a tool; not where the author has tools.
        """
        if part is Part.TEMPERATURE:
            return replace(self, temperature=False)
        if part is Part.SYSTEM:
            return replace(self, system=False)
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
            system=self.system and other.system,
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
        if self.system is not before.system:
            found.append("takes no message of the system and is told its words by the user")
        return "; it ".join(found)


FIRST = Manner()
"""The one that says most."""


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


def in_words(format: Format) -> bool:  # noqa: A002
    """Whether the schema stands in the conversation too: there its form alone does not bind every endpoint."""
    return format not in (Format.JSON_SCHEMA, Format.TOOL)


def with_schema(messages: list[Message], *, format: Format, wanted: Schema) -> list[Message]:  # noqa: A002
    """The conversation, with the schema where it is told in words."""
    if not in_words(format):
        return messages
    schema = msgspec.json.encode(wanted["json_schema"]["schema"]).decode()
    text = f"Answer with nothing but one JSON object of this schema: {schema}"
    if messages and messages[0]["role"] == "system":
        return [{"role": "system", "content": f"{messages[0]['content']}\n\n{text}"}, *messages[1:]]
    return [{"role": "system", "content": text}, *messages]


def without_system(messages: list[Message]) -> list[Message]:
    """The conversation in which the user says first what the system would."""
    if len(messages) < 2 or messages[0]["role"] != "system":
        return messages
    system, first, *rest = messages
    return [{**first, "content": f"{system['content']}\n\n{first['content']}"}, *rest]
