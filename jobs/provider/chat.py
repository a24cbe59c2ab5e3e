"""The chat endpoint of the provider: what its model says to a request, and how that goes wrong. Pure.

What it says is drawn from a hash of the seed and the request, so the same request has the same answer in every
process. A token is four characters. How answers travel is not known here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .data import Draws
from .faults import Fault, Kind
from .manners import dress, filtered, refusal, rejected, schema_in

MODELS = ("demo-small", "demo-large")
"""The models that there are."""
CONTEXT = 8000
"""Characters that a prompt may have under the fault `context_length` where no number is given."""
FAULTS = frozenset(
    {
        *(Kind.REFUSAL, Kind.BAD_JSON, Kind.WRONG_SCHEMA, Kind.LENGTH, Kind.CONTEXT_LENGTH),
        *(Kind.REFUSES, Kind.DRESSED, Kind.FILTERED),
    }
)
"""The faults that only a model has."""

_CHARACTERS = 4
_OPENINGS = ("In short", "As far as it goes", "To begin with", "Seen as a whole", "In practice")
_SUBJECTS = ("the market", "the team", "this company", "the product", "the audience", "the offer")
_VERBS = ("grows", "asks for", "rewards", "needs", "prefers", "answers to")
_OBJECTS = ("a clear message", "patience", "new tools", "fewer steps", "a first talk", "better data")
_WORDS = ("harbor", "signal", "meadow", "copper", "lantern", "orbit", "velvet", "summit")

Answer = tuple[int, dict[str, Any]]


def asked(fields: Mapping[str, Any]) -> str | None:
    """What names a request: the first thing that its user says; None where it is no conversation."""
    messages = fields.get("messages")
    if not isinstance(messages, list) or not all(isinstance(one, dict) for one in messages):
        return None
    said = [one.get("content") for one in messages if one.get("role") == "user"]
    return said[0] if said and isinstance(said[0], str) and said[0] else None


def complete(seed: int, fields: Mapping[str, Any], *, fault: Fault | None = None) -> Answer:
    """The status and the answer to a request.

    Args:
        seed: Another one gives other answers.
        fields: The body of the request.
        fault: One of `FAULTS`, or None.
    """
    if (refused := _refused(fields) or _faulty(fields, fault)) is not None:
        return refused
    said = "".join(str(one.get("content", "")) for one in fields["messages"])
    room = fault.number(CONTEXT) if fault is not None and fault.kind is Kind.CONTEXT_LENGTH else math.inf
    if len(said) > room:
        text = f"This model's maximum context length is {tokens(int(room))} tokens; your messages have more."
        return _error(400, "context_length_exceeded", text)
    schema = _schema(fields)
    draws = Draws(seed, "chat", json.dumps([fields["messages"], fields["model"], schema], sort_keys=True))
    content = _sentence(draws) if schema is None else json.dumps(value_of(schema, draws))
    message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None}
    finish = "stop"
    most = fields.get("max_tokens", fields.get("max_completion_tokens"))
    if isinstance(most, int) and tokens(len(content)) > most:
        message["content"], finish = content[: most * _CHARACTERS], "length"
    if "tools" in fields or (fault is not None and fault.kind is Kind.DRESSED):
        dress(message, "tool" if fault is None or fault.kind is not Kind.DRESSED else fault.text)
    if fault is not None and fault.text == "rejected":
        return rejected(f"Here it is: {content}")
    if fault is not None and fault.kind is Kind.FILTERED:
        message["content"], finish = None, "content_filter"
    if fault is not None and fault.kind in _SPOILED:
        finish = _SPOILED[fault.kind](message) or finish
    usage = _usage(tokens(len(said)), tokens(len(message["content"] or message["refusal"] or content)))
    choice = {"index": 0, "message": message, "finish_reason": finish}
    name = f"chatcmpl-{draws.below(10**9)}"
    return 200, {"id": name, "object": "chat.completion", "model": fields["model"], "choices": [choice], "usage": usage}


def tokens(characters: int) -> int:
    """The tokens of so many characters."""
    return math.ceil(characters / _CHARACTERS)


def value_of(schema: Mapping[str, Any], draws: Draws) -> Any:
    """A value that fits a JSON schema."""
    if "enum" in schema:
        return draws.pick(tuple(schema["enum"]))
    kinds = schema.get("type", "string")
    kind = kinds if isinstance(kinds, str) else kinds[0]
    match kind:
        case "object":
            fields = schema.get("properties", {})
            return {name: value_of(one, draws) for name, one in fields.items()}
        case "array":
            return [value_of(schema.get("items", {}), draws) for _ in range(1 + draws.below(3))]
        case "integer":
            return draws.below(schema.get("maximum", 1) + 1)
        case "number":
            return round(draws.share(), 3)
        case "boolean":
            return draws.share() < 0.5
        case "null":
            return None
    if schema.get("format") == "date":
        return f"2025-{1 + draws.below(12):02}-{1 + draws.below(28):02}"
    return _moment(schema, draws) or " ".join(draws.pick(_WORDS) for _ in range(2))


def _moment(schema: Mapping[str, Any], draws: Draws) -> str | None:
    """A date and time, or a time, where the description asks for one."""
    told = str(schema.get("description", ""))
    clock = f"{draws.below(24):02}:{draws.below(60):02}:00"
    if told.startswith("a date and time"):
        return f"2025-{1 + draws.below(12):02}-01T{clock}{'Z' if 'its zone' in told else ''}"
    return clock if told.startswith("a time of day") else None


def _refused(fields: Mapping[str, Any]) -> Answer | None:
    """What is answered to a request that is none."""
    model = fields.get("model")
    if model not in MODELS:
        return _error(404, "model_not_found", f"no such model; there are {', '.join(MODELS)}")
    if asked(fields) is None:
        return _error(400, "invalid_request", "messages takes a list with something that the user says")
    temperature, most = fields.get("temperature", 1), fields.get("max_tokens")
    if isinstance(temperature, bool) or not isinstance(temperature, (int, float)) or not 0 <= temperature <= 2:
        return _error(400, "invalid_request", "temperature takes a number from 0 to 2")
    if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 1):
        return _error(400, "invalid_request", "max_tokens takes a whole number from 1")
    return None


def _error(status: int, code: str, message: str) -> Answer:
    return status, {"error": {"code": code, "type": "invalid_request_error", "message": message}}


def _faulty(fields: Mapping[str, Any], fault: Fault | None) -> Answer | None:
    """What is answered in place of an answer by an endpoint that refuses the request, or whose filter does."""
    if fault is not None and fault.kind is Kind.REFUSES:
        return refusal(fault.text, fields)
    if fault is not None and fault.kind is Kind.FILTERED:
        return filtered(fault.text)
    return None


def _schema(fields: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The schema of the answer; where a request says it in its prompt alone, the model reads it there."""
    if (told := schema_in(fields)) is not None:
        return told
    first = str(fields["messages"][0].get("content"))
    _, asks, schema = first.partition("JSON object of this schema: ")
    try:
        found = json.JSONDecoder().raw_decode(schema)[0] if asks else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _sentence(draws: Draws) -> str:
    parts: Sequence[Sequence[str]] = (_SUBJECTS, _VERBS, _OBJECTS)
    return f"{draws.pick(_OPENINGS)}, {' '.join(draws.pick(tuple(one)) for one in parts)}."


def _usage(sent: int, received: int) -> dict[str, int]:
    return {"prompt_tokens": sent, "completion_tokens": received, "total_tokens": sent + received}


def _refuse(message: dict[str, Any]) -> str:
    message["content"], message["refusal"] = None, "I cannot help with that."
    return "stop"


def _break(message: dict[str, Any]) -> str:
    message["content"] = f"Here you are: {message['content'][:-1]} (that is all"
    return "stop"


def _misfit(message: dict[str, Any]) -> str:
    message["content"] = json.dumps({"unexpected": [1, 2]})
    return "stop"


def _cut(message: dict[str, Any]) -> str:
    message["content"] = message["content"][: len(message["content"]) // 2]
    return "length"


_SPOILED: Mapping[Kind, Callable[[dict[str, Any]], str]] = {
    Kind.REFUSAL: _refuse,
    Kind.BAD_JSON: _break,
    Kind.WRONG_SCHEMA: _misfit,
    Kind.LENGTH: _cut,
}
