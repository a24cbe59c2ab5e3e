"""What providers say with an error, in the forms that are common. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable
from html import escape
from typing import Any, NamedTuple

FORM, TEXT = "error", "something went wrong"
"""The form and the text where none are given."""


class Saying(NamedTuple):
    """An answer that is an error.

    Attributes:
        status: Of the answer.
        content_type: Of its body.
        body: The body.
    """

    status: int
    content_type: bytes
    body: bytes


_JSON: dict[str, Callable[[str], Any]] = {
    "error": lambda text: {"error": {"message": text, "type": "invalid_request_error", "param": None, "code": None}},
    "message": lambda text: {"message": text},
    "detail": lambda text: {"detail": text},
    "details": lambda text: {"detail": [{"loc": ["body", "email"], "msg": text, "type": "value_error"}]},
    "errors": lambda text: {"errors": [{"message": text}]},
    "problem": lambda text: {"type": "about:blank", "title": "Bad Request", "detail": text},
    "oauth": lambda text: {"error": "invalid_request", "error_description": text},
    "fault": lambda text: {"fault": {"faultstring": text}},
}
FORMS = (*_JSON, "html", "text")
"""All forms there are."""


def saying(argument: str) -> Saying:
    """The answer of a fault that is written `says:400`, `says:400:detail` or `says:400:detail:the text`.

    Raises:
        ValueError: Its status is none, or there is no such form.
    """
    status, _, rest = argument.partition(":")
    form, _, text = rest.partition(":")
    form, text = form or FORM, text or TEXT
    if not (status.isdecimal() and 300 <= int(status) <= 599):
        raise ValueError(
            f"fault 'says:{argument}' needs a status from 300 to 599, such as says:400:detail:no such plan"
        )
    if form not in FORMS:
        raise ValueError(f"no form {form!r} of what is said; there are {', '.join(FORMS)}")
    if form == "html":
        page = f"<!doctype html><html><head><title>{status}</title></head><body><h1>{escape(text)}</h1></body></html>"
        return Saying(int(status), b"text/html; charset=utf-8", page.encode())
    if form == "text":
        return Saying(int(status), b"text/plain; charset=utf-8", text.encode())
    return Saying(int(status), b"application/json", json.dumps(_JSON[form](text)).encode())


_PLAN = "You exceeded your current quota, please check your plan and billing details."
_USED_UP: dict[str, tuple[int, Any]] = {
    "openai": (429, {"error": {"message": _PLAN, "type": "insufficient_quota", "code": "insufficient_quota"}}),
    "anthropic": (
        400,
        {
            "type": "error",
            "error": {
                "type": "invalid_request_error",
                "message": "Your credit balance is too low to access the API. Please go to Plans & Billing.",
            },
        },
    ),
    "payment": (402, {"error": {"code": "payment_required", "message": "This account has no funds left."}}),
    "google": (
        403,
        {"error": {"code": 403, "message": "The quota was exceeded.", "errors": [{"reason": "quotaExceeded"}]}},
    ),
    "problem": (
        429,
        {
            "type": "https://acme.example/errors/quota-exceeded",
            "title": "Quota exceeded",
            "detail": "1000 of 1000 used",
        },
    ),
    "text": (429, "Your monthly quota has been exceeded"),
}
QUOTAS = (*_USED_UP,)
"""All forms in which a quota is said to be used up."""


def used_up(form: str) -> Saying:
    """The answer of an account that has no more to spend, of a fault that is written `quota` or `quota:openai`.

    Raises:
        ValueError: There is no such form.
    """
    try:
        status, body = _USED_UP[form or QUOTAS[0]]
    except KeyError:
        raise ValueError(f"no form {form!r} of a quota that is used up; there are {', '.join(QUOTAS)}") from None
    if isinstance(body, str):
        return Saying(status, b"text/plain; charset=utf-8", body.encode())
    return Saying(status, b"application/json", json.dumps(body).encode())
