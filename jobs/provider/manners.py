"""How endpoints of models differ: what of a request they refuse, how they say so, and in what an answer stands. Pure.

A fault `refuses:json_schema,max_tokens/422` refuses requests that have one of these, with this status. A fault
`dressed:think` puts the answer behind thoughts, and so on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

REFUSABLE: Mapping[str, Callable[[Mapping[str, Any]], bool]] = {
    "json_schema": lambda fields: _format_of(fields) == "json_schema",
    "object_with_schema": lambda fields: _format_of(fields) == "json_object" and "schema" in fields["response_format"],
    "json_object": lambda fields: _format_of(fields) == "json_object" and "schema" not in fields["response_format"],
    "tools": lambda fields: "tools" in fields,
    "max_tokens": lambda fields: "max_tokens" in fields,
    "max_completion_tokens": lambda fields: "max_completion_tokens" in fields,
    "temperature": lambda fields: "temperature" in fields,
    "system": lambda fields: any(one.get("role") == "system" for one in fields["messages"]),
}
"""What an endpoint may refuse, and whether a request has it."""
STATUS = 400
"""The status of a refusal where none is given."""
DRESSES = ("think", "unopened", "lead", "fence", "closing", "several", "tool", "rejected")
"""In what an answer may stand; one that is rejected stands in an error."""

Answer = tuple[int, dict[str, Any]]


def read_refusal(argument: str) -> tuple[tuple[str, ...], int]:
    """What a fault `refuses` refuses, and with which status.

    Raises:
        ValueError: There is no such thing to refuse, or the status is none.
    """
    names, _, status = argument.partition("/")
    listed = tuple(filter(None, names.split(",")))
    if unknown := [name for name in listed if name not in REFUSABLE]:
        raise ValueError(f"no {unknown[0]!r} to refuse; there are {', '.join(REFUSABLE)}")
    if not listed or (status and not (status.isdecimal() and (status == "200" or 400 <= int(status) <= 599))):
        raise ValueError(
            "fault refuses needs what is refused, and perhaps a status: refuses:max_tokens,temperature/422"
        )
    return listed, int(status or STATUS)


def refusal(argument: str, fields: Mapping[str, Any]) -> Answer | None:
    """How a request is refused; None where it has nothing of what the endpoint refuses."""
    names, status = read_refusal(argument)
    refused = next((name for name in names if REFUSABLE[name](fields)), None)
    if refused is None:
        return None
    field = "messages[0].role" if refused == "system" else refused if refused in fields else "response_format"
    if status == 422:
        detail = [{"type": "extra_forbidden", "loc": ["body", field], "msg": "Extra inputs are not permitted"}]
        return status, {"detail": detail}
    if status >= 500:
        # A server in Python that gives what its types say of the request.
        text = f"[{{'type': 'literal_error', 'loc': ('body', '{field}', 'type'), 'msg': \"{_takes(refused)}\"}}]"
        return status, {"error": {"message": text, "type": "internal_server_error", "param": None, "code": None}}
    text = f"Unsupported parameter: '{field}' is not supported with this model. {_takes(refused)}"
    code = STATUS if status == 200 else "unsupported_parameter"
    return status, {"error": {"message": text, "type": "invalid_request_error", "param": field, "code": code}}


def rejected(content: str) -> Answer:
    """What an endpoint answers that finds no JSON in what its model says, which it gives back."""
    text = "Failed to generate JSON. Please adjust your prompt. See 'failed_generation' for more details."
    error = {"message": text, "type": "invalid_request_error", "code": "json_validate_failed"}
    return 400, {"error": {**error, "failed_generation": content}}


def dress(message: dict[str, Any], how: str) -> None:
    """Put the answer that a message holds into something."""
    content = message["content"]
    match how:
        case "think":
            message["content"] = f'<think>Shall I say {{"answer": 0}}? No.</think>\n{content}'
        case "unopened":
            message["content"] = f"Perhaps [1], perhaps not.\n</think>\n\n{content}"
        case "lead":
            message["content"] = f"Sure! Here is what you {{asked}} for:\n\n```json\n{content}\n```"
        case "fence":
            message["content"] = f"```\n{content}\n```"
        case "closing":
            message["content"] = f"{content}\n\nLet me know if you need [more]."
        case "several":
            message["content"] = f'{{"draft": true}}\n\nOn second thought:\n\n{content}'
        case "tool":
            call = {"id": "call_1", "type": "function", "function": {"name": "answer", "arguments": content}}
            message["content"], message["tool_calls"] = None, [call]


def filtered(where: str) -> Answer | None:
    """What a filter in front of a model answers, with 400, or 403 as routers do; None where it only ends the answer."""
    if where == "answer":
        return None
    if where == "403":
        about = {"reasons": ["violence"], "flagged_input": "...", "provider_name": "demo"}
        return 403, {"error": {"message": "The input was flagged.", "code": 403, "metadata": about}}
    text = "The response was filtered due to the prompt triggering the content management policy."
    inner = {"code": "ResponsibleAIPolicyViolation"}
    return 400, {"error": {"message": text, "param": "prompt", "code": "content_filter", "innererror": inner}}


def schema_in(fields: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The schema that a request tells, in whichever form but the prompt; None without one."""
    wanted, tools = fields.get("response_format"), fields.get("tools")
    if isinstance(wanted, dict) and wanted.get("type") == "json_schema":
        found = wanted.get("json_schema", {}).get("schema")
        return found if isinstance(found, dict) else {}
    if isinstance(wanted, dict) and isinstance(wanted.get("schema"), dict):
        found = wanted["schema"]
        return found if isinstance(found, dict) else {}
    if isinstance(tools, list) and tools and isinstance(tools[0], dict):
        found = tools[0].get("function", {}).get("parameters")
        return found if isinstance(found, dict) else {}
    return None


def _format_of(fields: Mapping[str, Any]) -> Any:
    wanted = fields.get("response_format")
    return wanted.get("type") if isinstance(wanted, dict) else None


def _takes(refused: str) -> str:
    return {
        "json_schema": "Input should be 'text' or 'json_object'",
        "max_tokens": "Use 'max_completion_tokens' instead.",
    }.get(refused, "It is refused here.")
