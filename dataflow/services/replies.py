"""What a chat endpoint answers: its message, why that ends, and the value of a service in it. Pure.

Whether a bad answer is asked for again is the business of the engine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from dataflow.errors import NotFound
from dataflow.services.answers import AnswerReader, is_deep, is_empty, read_answer
from dataflow.services.prices import tokens_of
from dataflow.services.schema import ANSWER
from dataflow.services.selection import EmptyAnswer, MalformedAnswer, UnexpectedAnswer
from dataflow.services.spans import json_in
from dataflow.services.types import kind_of

TOO_LONG = "too long"
"""The reason of a call whose prompt the model has no room for."""
REFUSAL = "refusal"
"""The reason of a call that the model, or a filter before or behind it, refuses to answer."""

_FILTERED = frozenset(
    {
        *("content_filter", "content_policy_violation", "responsibleaipolicyviolation"),
        *("invalid_prompt", "moderation_blocked", "data_inspection_failed"),
    }
)
"""How it is called, in any case, that a filter has refused a prompt or an answer."""
_REFUSING = frozenset({"content_filter", "refusal", "safety", "prohibited_content"})
"""Ends of answers that are none, in any case; one may say more behind a colon."""
_CUT = frozenset({"length", "max_tokens", "model_length"})
"""Ends of answers that were cut."""
_CODES = ("context_length_exceeded", "exceed_context_size_error")
_STATUSES: Mapping[str, int] = {
    "rate_limit_exceeded": 429,
    "rate_limited": 429,
    "resource_exhausted": 429,
    "insufficient_quota": 429,
    "rate_limit_error": 429,
    "too_many_requests": 429,
    "invalid_request_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "overloaded_error": 503,
    "service_unavailable": 503,
    "unavailable": 503,
    "timeout_error": 504,
    **dict.fromkeys((*_FILTERED, *_CODES), 400),
}
"""What errors inside good answers are called, and the status that they stand for."""
_TEXTS = ("text", "output_text")
_THOUGHTS = ("reasoning_content", "reasoning")
_UNNAMED = 500
"""That of an error whose code says nothing: what is wrong with a request mostly has one that does."""
_SAID = re.compile(
    r"maximum context length|context (?:size|window|length) (?:is )?exceeded|available context size"
    r"|prompt is too long|exceeds? (?:the )?context (?:size|window|length|limit)",
    re.I,
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
        finish: Why it ends, in small letters: `stop`, `length`, `content_filter`, ...
        refused: Whether it says that it will not answer.
        tokens: Of the input and of the output, or None where they were not counted.
        arguments: Those of the tools that it calls.
        thoughts: What it thought, where its endpoint gives that apart.
    """

    text: str | None
    finish: str | None = None
    refused: bool = False
    tokens: tuple[int, int] | None = None
    arguments: tuple[str, ...] = ()
    thoughts: str = ""

    @property
    def said(self) -> str:
        """What it says, in whichever place."""
        return "\n".join([*([] if self.text is None else [self.text]), *self.arguments])


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
        finish=_finish(choice.get("finish_reason")),
        refused=bool(message.get("refusal")) or _holds_refusal(message.get("content")),
        tokens=_tokens(answer),
        arguments=_arguments(message),
        thoughts=next((one for name in _THOUGHTS if isinstance(one := message.get(name), str) and one), ""),
    )


def _finish(told: Any) -> str | None:
    return told.partition(":")[0].strip().lower() if isinstance(told, str) else None


def _holds_refusal(content: Any) -> bool:
    return isinstance(content, list) and any(isinstance(one, dict) and one.get("type") == "refusal" for one in content)


def _arguments(message: Mapping[str, Any]) -> tuple[str, ...]:
    """What a model gives to tools, which is its answer where it should have said it."""
    calls = message.get("tool_calls")
    called = [one.get("function") for one in calls if isinstance(one, dict)] if isinstance(calls, list) else []
    given = [one.get("arguments") for one in [*called, message.get("function_call")] if isinstance(one, dict)]
    return tuple(one if isinstance(one, str) else msgspec.json.encode(one).decode() for one in given if one is not None)


def _text(content: Any) -> str | None:
    if isinstance(content, list):
        parts = [one.get("text") if isinstance(one, dict) and one.get("type") in _TEXTS else one for one in content]
        told = [part for part in parts if isinstance(part, str)]
        content = "".join(told) if told else None
    if isinstance(content, dict):
        # An endpoint that has read the JSON of its model.
        content = msgspec.json.encode(content).decode()
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
    if reply.refused or reply.finish in _REFUSING:
        raise NoReply(REFUSAL, "the model refuses to answer")
    if reply.finish in _CUT:
        raise NoReply("length", "the answer was cut, since it is longer than max_tokens or the model allows")
    if reader is not None and (reply.text is not None or reply.arguments or reply.thoughts):
        return _read_json(reply, reader)
    if reply.text is None:
        raise UnexpectedAnswer("the message holds no text")
    return reply.text


def _read_json(reply: Reply, reader: AnswerReader) -> Any:
    """The last JSON value that fits; what is wrong with the last one where none does."""
    texts = [*([] if reply.text is None else [reply.text]), *reply.arguments]
    if not any(text.strip() for text in texts) and reply.thoughts:
        # Some endpoints take an answer without thoughts for a thought.
        texts = [f"<think>{reply.thoughts}"]
    problem: Exception | None = None
    for text in reversed(texts):
        if text.lstrip()[:1] in ("{", "["):
            # Nearly always there is nothing around it.
            try:
                return _read_candidate(text.encode("utf-8", "replace"), reader)
            except (MalformedAnswer, UnexpectedAnswer) as error:
                problem = problem or error
        for candidate in json_in(text) or [""]:
            try:
                return _read_candidate(candidate.encode("utf-8", "replace"), reader)
            except (MalformedAnswer, UnexpectedAnswer) as error:
                problem = problem or error
    assert problem is not None
    raise problem


def _read_candidate(body: bytes, reader: AnswerReader) -> Any:
    """The value that JSON holds; one that is asked for as a field may stand there by itself."""
    try:
        return _read_one(body, reader)
    except UnexpectedAnswer:
        if reader.select is None or f'"{ANSWER}"'.encode() in body:
            raise
        alone = replace(reader, select=None)
        try:
            return _read_one(body, alone)
        except UnexpectedAnswer:
            pass
        raise


def _read_one(body: bytes, reader: AnswerReader) -> Any:
    if is_empty(body):
        raise MalformedAnswer("no JSON: it says nothing")
    try:
        return read_answer(body, reader)
    except NotFound:
        raise UnexpectedAnswer("it holds nothing, which is not declared") from None


def error_inside(body: bytes) -> int | None:
    """The status that an error stands for which is inside an answer with a good one; None where there is none."""
    if b'"error"' not in body or is_deep(body):
        return None
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if not isinstance(answer, dict):
        return None
    choices = answer.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    message = choice.get("message")
    says = isinstance(message, dict) and bool(message.get("content") or _arguments(message))
    error = choice.get("error") or (None if says else answer.get("error"))
    return _status_of(error) if error else None


def failed_generation(body: bytes) -> str | None:
    """What a model said that its endpoint refuses as none of the JSON that was asked for; None where it says not."""
    if b'"failed_generation"' not in body:
        return None
    made = _error_in(body).get("failed_generation")
    return made if isinstance(made, str) and made.strip() else None


def _status_of(error: Any) -> int:
    if not isinstance(error, dict):
        return _UNNAMED
    for told in (error.get("status"), error.get("code"), error.get("type")):
        text = str(told).strip().lower()
        if text.isdecimal() and 400 <= int(text[:4]) <= 599:
            return int(text)
        if text in _STATUSES:
            return _STATUSES[text]
        if any(word in text for word in ("invalid", "unsupported")):
            return 400
    return _UNNAMED


def is_filtered(body: bytes) -> bool:
    """Whether the body of an error says by its code that a filter refuses the prompt."""
    error = _error_in(body)
    inner, about = error.get("innererror"), error.get("metadata")
    codes = [error.get("code"), error.get("type"), inner.get("code") if isinstance(inner, dict) else None]
    flagged = isinstance(about, dict) and "flagged_input" in about
    return flagged or any(isinstance(one, str) and one.lower() in _FILTERED for one in codes)


def is_too_long(status: int, body: bytes) -> bool:
    """Whether an endpoint refuses a prompt because the model has no room for it."""
    if status not in (400, 413, 422):
        return False
    error = _error_in(body)
    told = {name: error.get(name) for name in ("code", "type", "message")}
    return told["code"] in _CODES or told["type"] in _CODES or bool(_SAID.search(str(told["message"])))


def _error_in(body: bytes) -> Mapping[str, Any]:
    """What the body of an error says by names; nothing where it is none of an endpoint of models."""
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    error = answer.get("error", answer) if isinstance(answer, dict) else None
    return error if isinstance(error, dict) else {}
