"""What an error says: the sentence that anybody may read, and the same with what somebody else has said."""

from __future__ import annotations

import json as codec
from typing import Any

import httpx
import pyarrow as pa
import pytest

from dataflow.engine.http.attempts import CallError
from dataflow.engine.texts import ErrorText, reason_of, text_of
from dataflow.errors import AllFailed, Reject

SECRET = "a@b.example"


def caught(function: Any, *arguments: Any) -> BaseException:
    try:
        function(*arguments)
    except BaseException as error:
        return error
    raise AssertionError("it raised nothing")


def line_of(function: Any, offset: int) -> int:
    return int(function.__code__.co_firstlineno) + offset


def raising() -> None:
    raise ValueError(f"bad {SECRET}")


def test_an_exception_says_its_class_its_text_and_where_it_was_raised() -> None:
    place = f"(test_texts.py, line {line_of(raising, 1)})"
    assert text_of(caught(raising)) == ErrorText(f"ValueError {place}", f"ValueError: bad {SECRET} {place}")


def decoding(text: str) -> Any:
    return codec.loads(text)


def test_the_place_is_the_authors_line_and_not_that_of_a_library_he_calls() -> None:
    told = text_of(caught(decoding, "{")).whole
    assert told.startswith("JSONDecodeError: Expecting property name")
    assert told.endswith(f"(test_texts.py, line {line_of(decoding, 1)})")


def test_a_library_that_is_the_service_itself_is_named() -> None:
    assert text_of(caught(codec.loads, "{")).plain.startswith("JSONDecodeError (test_texts.py")


def from_another() -> None:
    try:
        raising()
    except ValueError as error:
        raise KeyError("name") from error


def test_what_an_exception_was_raised_from_is_told_behind_it() -> None:
    told = text_of(caught(from_another))
    assert told.whole.startswith("KeyError: 'name' (test_texts.py, line ")
    assert f", from ValueError: bad {SECRET} (test_texts.py" in told.whole
    assert SECRET not in told.plain
    assert ", from ValueError (test_texts.py" in told.plain


def test_an_exception_that_leads_to_itself_ends() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    assert text_of(one).whole == "ValueError: one, from ValueError: other"


def test_a_group_tells_what_is_in_it() -> None:
    group = ExceptionGroup("several", [ValueError("one"), KeyError("two")])
    assert text_of(group).whole == "ExceptionGroup: several (2 sub-exceptions); ValueError: one; KeyError: 'two'"
    assert text_of(group).plain == "ExceptionGroup"


class Unspeakable(Exception):
    reason = SECRET

    def __str__(self) -> str:
        raise RuntimeError


class Odd(Exception):
    def __str__(self) -> Any:
        return 5  # noqa: PLE0307 - that is what is odd


@pytest.mark.parametrize(
    ("error", "whole"),
    [
        (Unspeakable(), "Unspeakable"),
        (Odd(), "Odd"),
        (ValueError(), "ValueError"),
        (ValueError("one\n\ttwo \x1b[31mred\x1b[0m \u202eabc\x00"), "ValueError: one two red abc"),
        (ValueError("x" * 10**7), f"ValueError: {'x' * 499}…"),
    ],
)
def test_whatever_an_exception_says_is_one_short_line(error: Exception, whole: str) -> None:
    assert text_of(error).whole == whole


def compiling() -> None:
    compile("x = = 1", "prices.py", "exec")


def test_a_syntax_error_names_the_file_that_it_is_in() -> None:
    assert text_of(caught(compiling)).plain == "SyntaxError (prices.py, line 1)"


def test_an_answer_that_an_exception_carries_is_told_too() -> None:
    request = httpx.Request("GET", "http://acme.example/")
    body = b'{"error": {"message": "use max_completion_tokens"}}'
    response = httpx.Response(400, content=body, request=request)
    told = text_of(caught(response.raise_for_status))
    assert "; it was answered: use max_completion_tokens" in told.whole
    assert told.plain.startswith("HTTPStatusError")
    assert "max_completion" not in told.plain


def test_an_answer_that_is_still_being_read_is_left_alone() -> None:
    response = httpx.Response(400, stream=httpx.ByteStream(b"x"), request=httpx.Request("GET", "http://a.example/"))
    error = httpx.HTTPStatusError("no", request=response.request, response=response)
    assert text_of(error).whole == "HTTPStatusError: no"


def test_an_error_of_ours_is_a_sentence_and_what_was_said() -> None:
    error = CallError("HTTP 400", "answered 400", status=400, said=SECRET)
    assert text_of(error) == ErrorText("answered 400", f"answered 400: {SECRET}")
    failed = AllFailed("nobody has answered: `a`: HTTP 400", f"nobody has answered: `a`: answered 400: {SECRET}")
    assert text_of(failed).plain == "nobody has answered: `a`: HTTP 400"
    assert SECRET in text_of(failed).whole


def test_an_authors_word_is_what_it_says() -> None:
    assert text_of(Reject("too young")) == ErrorText("Reject", "too young")


def test_errors_are_counted_by_their_class_whatever_they_call_their_reason() -> None:
    assert reason_of(Unspeakable()) == "Unspeakable"
    assert reason_of(UnicodeDecodeError("utf-8", b"\xff", 0, 1, SECRET)) == "UnicodeDecodeError"
    assert reason_of(CallError("HTTP 503", "answered 503")) == "HTTP 503"


def test_an_exception_whose_attributes_raise_is_told_all_the_same() -> None:
    class Broken(Exception):
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name)

    assert text_of(Broken("odd")).whole == "Broken: odd"
    assert reason_of(Broken("odd")) == "Broken"


def test_the_inside_of_a_compiled_library_is_nobodys_line() -> None:
    def casting() -> Any:
        return pa.array([300]).cast(pa.int8())

    assert text_of(caught(casting)).plain == f"ArrowInvalid (test_texts.py, line {line_of(casting, 1)})"
