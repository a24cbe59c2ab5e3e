"""What an endpoint refuses is read from what it says, however it says so."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dataflow.services.manners import FIRST, Format, Manner, Most, Part, without_system
from dataflow.services.refused import refused_part
from dataflow.services.replies import error_inside, is_filtered

ALL = frozenset(Part)


def refused(status: int, body: Any, *, sent: frozenset[Part] = ALL, told: Format = Format.JSON_SCHEMA) -> Part | None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return refused_part(status, raw, sent=sent, format=told)


@pytest.mark.parametrize(
    ("status", "body", "part"),
    [
        (
            400,
            {
                "error": {
                    "message": "Unsupported parameter: 'max_tokens' is not supported with this model. "
                    "Use 'max_completion_tokens' instead.",
                    "param": "max_tokens",
                    "code": "unsupported_parameter",
                }
            },
            Part.MOST,
        ),
        (400, {"error": {"message": "Unsupported value", "param": "temperature"}}, Part.TEMPERATURE),
        (422, {"detail": [{"loc": ["body", "response_format"], "msg": "Extra inputs"}]}, Part.FORMAT),
        (500, {"error": {"message": "{'msg': \"Input should be 'text' or 'json_object'\"}"}}, Part.FORMAT),
        (501, b"json_schema is not implemented", Part.FORMAT),
        (400, {"error": {"message": "max_tokens is too large: 9. At most 8 are supported."}}, None),
        (401, {"error": {"message": "no key for response_format"}}, None),
        (429, {"error": {"message": "too many tokens: lower max_tokens"}}, None),
        (500, {"error": {"message": "something went wrong"}}, None),
        (400, {"detail": [{"loc": ["body", "messages"], "msg": "bad", "input": "temperature"}]}, None),
        (400, [{"error": {"message": 'Unknown name "maxTokens": Cannot find field.'}}], Part.MOST),
        (400, {"error": {"message": "Unknown name at 'generation_config.response_schema'"}}, Part.FORMAT),
        (400, {"message": "Failed to initialize samplers: failed to parse grammar"}, Part.FORMAT),
        (
            400,
            {"error": {"message": "With a temperature this is not supported", "param": "response_format"}},
            Part.FORMAT,
        ),
        (
            422,
            {"message": {"detail": [{"loc": ["body", "max_tokens"], "msg": "not beside a temperature"}]}},
            Part.MOST,
        ),
        (400, {"error": {"message": "Supported parameters: temperature. Extra: response_format"}}, Part.FORMAT),
        (422, b"unknown field `max_tokens`, expected one of `model`, `temperature`", Part.MOST),
        (
            400,
            {"error": {"message": "'messages' must hold the word for json_object", "param": "messages"}},
            Part.FORMAT,
        ),
        (
            400,
            {
                "error": {
                    "message": "Provider returned error",
                    "metadata": {"raw": '{"error": {"param": "temperature"}}'},
                }
            },
            Part.TEMPERATURE,
        ),
        (
            400,
            {
                "error": {
                    "message": "Unsupported parameter: max_tokens, the maximum. Use max_completion_tokens instead."
                }
            },
            Part.MOST,
        ),
        (400, {"error": {"message": "'max_tokens' or 'max_completion_tokens' is too large: 9"}}, None),
        (400, {"error": {"message": "System role not supported"}}, Part.SYSTEM),
        (
            400,
            {
                "error": {
                    "message": "Unsupported value: 'messages[0].role' does not support 'system' with this model.",
                    "param": "messages[0].role",
                }
            },
            Part.SYSTEM,
        ),
        (400, {"message": "Conversation roles must alternate user/assistant/user/assistant/..."}, Part.SYSTEM),
        (400, {"error": {"message": "Developer instruction is not enabled for models/gemma"}}, Part.SYSTEM),
        (500, {"error": {"message": "Internal system error"}}, None),
    ],
)
def test_what_is_refused_is_the_part_that_the_error_is_about_or_names_first(
    status: int, body: Any, part: Part | None
) -> None:
    assert refused(status, body) is part


def test_the_user_says_what_the_system_would_where_there_is_no_such_role() -> None:
    user = {"role": "user", "content": "Is it warm?"}
    assert without_system([{"role": "system", "content": "Be brief."}, user]) == [
        {"role": "user", "content": "Be brief.\n\nIs it warm?"}
    ]
    assert without_system([user]) == [user]


def test_only_what_was_sent_can_be_refused() -> None:
    assert refused(400, b"temperature", sent=frozenset({Part.MOST})) is None
    assert refused(400, b"tool_choice is not supported", told=Format.TOOL) is Part.FORMAT
    assert refused(400, b"tool_choice is not supported") is None


def test_manners_go_from_the_strictest_to_the_plainest() -> None:
    manner, seen = FIRST, [FIRST.format]
    while (following := manner.after(Part.FORMAT)) != manner:
        manner = following
        seen.append(manner.format)
    assert seen == list(Format)
    assert Manner(format=Format.OBJECT).after(Part.FORMAT, with_tools=False).format is Format.PROMPT
    assert FIRST.after(Part.MOST).after(Part.MOST).most is Most.NOWHERE


def test_what_two_calls_found_out_holds_together() -> None:
    one, other = FIRST.after(Part.FORMAT), FIRST.after(Part.TEMPERATURE)
    assert one.joined(other) == Manner(format=Format.OBJECT_WITH_SCHEMA, temperature=False)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ({"choices": [{"message": {"content": '{"error": 1}'}}]}, None),
        ({"choices": [], "error": None}, None),
        ({"error": {"code": 429}}, 429),
        ({"error": {"code": "502"}}, 502),
        ({"error": {"code": None, "type": "rate_limit_error"}}, 429),
        ({"error": {"type": "invalid_request_error"}}, 400),
        ({"error": {"message": "?"}}, 500),
        ({"error": "overloaded"}, 500),
        ({"choices": [{"error": {"code": 503}, "finish_reason": "error"}]}, 503),
        ({"choices": [{"message": {"content": ""}}], "error": {"code": 502}}, 502),
        ({"choices": [{"message": {"content": "1"}}], "error": {"code": 502}}, None),
        ({"error": {"code": 8, "status": "RESOURCE_EXHAUSTED"}}, 429),
        ({"error": {"code": "context_length_exceeded"}}, 400),
        ({"choices": ["?"], "error": {"code": 503}}, 503),
    ],
)
def test_an_error_inside_a_good_answer_stands_for_a_status(answer: Any, status: int | None) -> None:
    assert error_inside(json.dumps(answer).encode()) == status


@pytest.mark.parametrize(
    ("body", "is_one"),
    [
        ({"error": {"code": "content_filter"}}, True),
        ({"error": {"code": "x", "innererror": {"code": "ResponsibleAIPolicyViolation"}}}, True),
        ({"error": {"code": "invalid_prompt"}}, True),
        ({"error": {"code": "data_inspection_failed"}}, True),
        ({"error": {"code": 403, "metadata": {"flagged_input": "...", "reasons": ["violence"]}}}, True),
        ({"error": {"code": 403, "metadata": {"raw": "flagged_input"}}}, False),
        ({"error": {"code": 400, "message": "content_filter"}}, False),
        ({"error": "content_filter"}, False),
        ([], False),
    ],
)
def test_a_filter_is_known_by_its_code(body: Any, is_one: bool) -> None:
    assert is_filtered(json.dumps(body).encode()) is is_one
