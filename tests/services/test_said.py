"""What a provider said is found wherever such answers have it, and is one short plain line."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from dataflow.services import context
from dataflow.services.said import SAID, one_line, said, said_in, said_inside

MESSAGE = "Unsupported parameter: use max_completion_tokens"


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ({"error": {"message": MESSAGE}}, MESSAGE),
        ({"error": {"message": MESSAGE, "type": "invalid_request_error", "param": None, "code": "x"}}, MESSAGE),
        ([{"error": {"code": 400, "message": "API key not valid", "status": "INVALID_ARGUMENT"}}], "API key not valid"),
        ({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, "Overloaded"),
        ({"message": "no such plan"}, "no such plan"),
        ({"Message": "User is not authorized", "__type": "AccessDenied"}, "User is not authorized"),
        ({"errorMessage": "bad"}, "bad"),
        (
            {"error": {"message": "Provider returned error", "metadata": {"raw": '{"error": {"message": "no room"}}'}}},
            "Provider returned error: no room",
        ),
        ({"error": {"message": "Upstream", "metadata": {"raw": "busy"}}}, "Upstream: busy"),
        ({"detail": "not here"}, "not here"),
        ({"detail": [{"loc": ["body", "email"], "msg": "field required", "type": "v"}]}, "body.email: field required"),
        ({"detail": [{"loc": ["a"], "msg": "x"}, {"loc": ["b", 0], "msg": "y"}]}, "a: x; b.0: y"),
        ({"errors": [{"message": "A"}, {"message": "B"}]}, "A; B"),
        ({"errors": ["x", "y"]}, "x; y"),
        ({"message": "invalid", "errors": {"email": ["taken", "too long"]}}, "invalid: email: taken; too long"),
        ({"type": "about:blank", "title": "Bad Request", "status": 400, "detail": "no iban"}, "Bad Request: no iban"),
        ({"errors": [{"status": "422", "title": "Invalid", "detail": "too short"}]}, "Invalid: too short"),
        ({"error": "invalid_grant", "error_description": "token expired"}, "invalid_grant: token expired"),
        ({"error": "nope"}, "nope"),
        ({"fault": {"faultstring": "Spike arrest"}}, "Spike arrest"),
        ({"Fault": {"Reason": {"Text": "gone"}}}, "gone"),
        ("quota used up", "quota used up"),
        ({"code": 17, "ok": False}, '{"code": 17, "ok": false}'),
    ],
)
def test_the_text_of_an_error_is_found_where_json_answers_have_it(answer: Any, text: str) -> None:
    assert said(json.dumps(answer).encode(), "application/json") == text


def test_an_error_that_was_parsed_already_says_the_same() -> None:
    assert said_in({"error": {"message": MESSAGE}}) == MESSAGE
    assert said_in(None) == ""


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"error": {"message": "over quota"}}', "over quota"),
        (b'{"errors": [{"message": "no field x"}], "data": null}', "no field x"),
        (b'{"name": "acme", "errors": [], "message": "hello"}', ""),
        (b'[{"error": "x"}]', ""),
        (b'{"error', ""),
    ],
)
def test_an_error_inside_a_good_answer_is_told_and_nothing_else_of_it(body: bytes, text: str) -> None:
    assert said_inside(body) == text


def test_a_page_says_its_text_without_the_markup() -> None:
    page = (
        b"<html><head><title>502 Bad Gateway</title><style>h1 {}</style></head><body><!-- x --><h1>try&nbsp;later</h1>"
    )
    assert said(page + b"<script>alert(1)", "text/html") == "502 Bad Gateway try later"
    assert said(b"<Error><Code>NoSuchKey</Code><Message>gone</Message></Error>") == "NoSuchKey gone"


def test_plain_text_is_taken_as_it_is_in_its_charset() -> None:
    assert said("zu groß".encode("latin-1"), "text/plain; charset=latin-1") == "zu groß"
    assert said("zu groß".encode("utf-16"), "text/plain") == "zu groß"
    assert said("zu groß".encode("latin-1"), "text/plain") == "zu groß"
    assert said(b"a < b", 'text/plain; charset="no such"') == "a < b"
    assert said(b"a", "text/plain; charset=zip") == "a"


def test_a_picture_and_nothing_say_nothing() -> None:
    assert said(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 9, "image/png") == ""
    assert said(b" \n") == ""


def test_what_is_said_is_one_short_line_that_turns_nothing_around() -> None:
    assert said(b"one\r\n\ttwo\x00\x07 \x1b[31mred\x1b[0m") == "one two red"
    assert one_line("a\u202eb\u200bc\ud800", most=9) == "abc\\ud800"
    long = said(b"word " * 1000)
    assert len(long) <= SAID
    assert long.endswith("…")


def test_a_secret_is_replaced_however_it_is_written_and_wherever_the_line_is_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(context._revealed, 'k"ey-ü-4711', "ACME_KEY")
    for body in (
        b'{"x": "k\\"ey-\\u00fc-4711"}',
        '{"message": "no k\\"ey-ü-4711"}'.encode(),
        "<p>k&quot;ey-ü-4711".encode(),
        b"/?key=k%22ey-%C3%BC-4711",
    ):
        assert "4711" not in said(body)
        assert "<ACME_KEY>" in said(body)
    assert "k" not in said(b"." * (SAID - 4) + 'k"ey-ü-4711'.encode())


@pytest.mark.parametrize(
    "body", [b"<" * 10**7, b"[" * 10**7, b'{"message":"' + b"a" * 10**7, b"<script" * 10**6, b"x " * 5 * 10**6]
)
def test_only_the_beginning_of_a_huge_body_is_looked_at(body: bytes) -> None:
    began = time.process_time()
    assert len(said(body)) <= SAID
    assert time.process_time() - began < 1
