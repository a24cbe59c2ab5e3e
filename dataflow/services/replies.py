"""What a chat endpoint answers: its message, why that ends, and the value of a service in it. Pure.

Whether a bad answer is asked for again is the business of the engine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from dataflow.errors import NotFound
from dataflow.services.answers import AnswerReader, is_deep, is_empty, read_answer
from dataflow.services.prices import tokens_of
from dataflow.services.selection import EmptyAnswer, MalformedAnswer, UnexpectedAnswer
from dataflow.services.types import kind_of

TOO_LONG = "too long"
"""The reason of a call whose prompt the model has no room for."""

_FENCE = re.compile(r"\s*```(?:json)?\s*\n(?P<inside>.*?)\n?\s*```\s*", re.DOTALL | re.IGNORECASE)
_CODES = ("context_length_exceeded", "exceed_context_size_error")
_SAID = re.compile(
    r"maximum context length|context (?:size|window|length) (?:is )?exceeded|available context size", re.I
)


class NoReply(Exception):
    """The endpoint has answered, and will not do better: the answer was cut or refused.

    Args:
        reason: `length` or `refusal`.
        error: One sentence, without what the model said.
    """

    def __init__(self, reason: str, error: str) -> None:
        super().__init__(reason, error)
        self.reason = reason
        self.error = error


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer of a model.

    Attributes:
        text: What it says; None where it says nothing.
        finish: Why it ends: `stop`, `length`, `content_filter`, ...
        refused: Whether it says that it will not answer.
        tokens: Of the input and of the output, or None where they were not counted.
    """

    text: str | None
    finish: str | None = None
    refused: bool = False
    tokens: tuple[int, int] | None = None


def read_completion(body: bytes) -> Reply:
    """The first choice of an answer.

    Raises:
        EmptyAnswer: It is empty.
        MalformedAnswer: It is no JSON.
        UnexpectedAnswer: It is JSON of another shape.
    """
    if is_empty(body):
        raise EmptyAnswer("the answer is empty")
    if is_deep(body):
        raise UnexpectedAnswer("nested too deeply")
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedAnswer(f"no JSON: {error}") from None
    choices = answer.get("choices") if isinstance(answer, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        raise UnexpectedAnswer("it holds no choices[0].message")
    return Reply(
        text=_text(message.get("content")),
        finish=choice.get("finish_reason"),
        refused=bool(message.get("refusal")),
        tokens=_tokens(answer),
    )


def _text(content: Any) -> str | None:
    if isinstance(content, list):
        parts = [one.get("text") for one in content if isinstance(one, dict) and one.get("type") == "text"]
        content = "".join(part for part in parts if isinstance(part, str)) if parts else None
    if content is not None and not isinstance(content, str):
        raise UnexpectedAnswer(f"the content of its message is {kind_of(content)}")
    return content


def _tokens(answer: Mapping[str, Any]) -> tuple[int, int] | None:
    try:
        return tokens_of(answer)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def read_reply(reply: Reply, reader: AnswerReader | None) -> Any:
    """The value of the service.

    Args:
        reply: Of the model.
        reader: Reads JSON; None where the text itself is the value.

    Raises:
        NoReply: It was cut or refused.
        MalformedAnswer: It is no JSON.
        UnexpectedAnswer: It is JSON of another shape or type, or says nothing.
    """
    if reply.refused or reply.finish == "content_filter":
        raise NoReply("refusal", "the model refuses to answer")
    if reply.finish == "length":
        raise NoReply("length", "the answer was cut, since it is longer than max_tokens or the model allows")
    if reply.text is None:
        raise UnexpectedAnswer("the message holds no text")
    if reader is None:
        return reply.text
    fenced = _FENCE.fullmatch(reply.text)
    try:
        return read_answer((fenced["inside"] if fenced else reply.text).encode(), reader)
    except NotFound:
        raise UnexpectedAnswer("it holds nothing, which is not declared") from None


def is_too_long(status: int, body: bytes) -> bool:
    """Whether an endpoint refuses a prompt because the model has no room for it."""
    if status not in (400, 413, 422):
        return False
    try:
        error = msgspec.json.decode(body)["error"]
        told = {name: error.get(name) for name in ("code", "type", "message")}
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError):
        return False
    return told["code"] in _CODES or told["type"] in _CODES or bool(_SAID.search(str(told["message"])))
