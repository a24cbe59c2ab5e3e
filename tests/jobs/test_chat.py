"""The provider's model: answers that follow from the request, what they are made of, and how they go wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Literal
from urllib.request import Request, urlopen

import pytest
from provider.chat import complete, value_of
from provider.data import Draws
from provider.faults import parse_fault
from provider.serve import Running, serve

from dataflow.services.annotations import declare
from dataflow.services.answers import AnswerReader, read_answer
from dataflow.services.replies import is_too_long, read_completion
from dataflow.services.schema import response_format, schema_of


@dataclass
class Person:
    name: str
    age: int | None
    moods: list[Literal["warm", "cold"]]


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with serve() as provider:
        yield provider


def asking(prompt: str = "Hello", **more: Any) -> dict[str, Any]:
    return {"model": "demo-small", "messages": [{"role": "user", "content": prompt}], **more}


def content(fault: str | None = None, **more: Any) -> Any:
    _, answer = complete(8, asking(**more), fault=None if fault is None else parse_fault(fault))
    return answer["choices"][0]["message"]["content"]


@pytest.mark.parametrize("annotation", [Person, list[Literal[1, 2]], datetime, time, date, Decimal | None, int | None])
@pytest.mark.parametrize("seed", range(5))
def test_a_value_that_fits_the_schema_is_read_as_the_type(annotation: Any, seed: int) -> None:
    value = value_of(schema_of(annotation, where=""), Draws(seed))
    read_answer(json.dumps(value).encode(), AnswerReader(returns=declare(annotation, where="")))


def test_the_same_request_has_the_same_answer_and_another_one_another() -> None:
    assert content() == content()
    assert len({content(prompt=f"Hello {at}") for at in range(9)}) > 3


def test_an_answer_counts_its_tokens_by_four_characters() -> None:
    _, answer = complete(8, asking("x" * 41))
    said = answer["choices"][0]["message"]["content"]
    assert answer["usage"]["prompt_tokens"] == 11
    assert answer["usage"]["completion_tokens"] == -(-len(said) // 4)
    assert answer["usage"]["total_tokens"] == 11 + answer["usage"]["completion_tokens"]


def test_an_answer_is_cut_at_its_most_tokens() -> None:
    cut = read_completion(json.dumps(complete(8, asking(max_tokens=2))[1]).encode())
    assert (cut.finish, cut.tokens) == ("length", (2, 2))
    assert cut.text == content()[:8]


def test_faults_spoil_the_answer_in_their_own_way() -> None:
    wanted = response_format({"a": int}, wrapped=False, name="x")
    with pytest.raises(ValueError, match="Expecting value"):
        json.loads(content("bad_json", response_format=wanted))
    assert "a" not in json.loads(content("wrong_schema", response_format=wanted))
    refusal = complete(8, asking(), fault=parse_fault("refusal"))[1]
    assert read_completion(json.dumps(refusal).encode()).refused
    assert complete(8, asking(), fault=parse_fault("length"))[1]["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize(("length", "status"), [(50, 200), (51, 400)])
def test_a_context_has_room_for_so_many_characters(length: int, status: int) -> None:
    found, answer = complete(8, asking("x" * length), fault=parse_fault("context_length:50"))
    assert found == status
    assert is_too_long(found, json.dumps(answer).encode()) is (status == 400)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"model": "other"}, 404),
        ({"messages": []}, 400),
        ({"messages": "hello"}, 400),
        ({"temperature": 3}, 400),
        ({"max_tokens": 0}, 400),
    ],
)
def test_a_request_that_is_none_is_refused(fields: dict[str, Any], status: int) -> None:
    assert complete(8, {**asking(), **fields})[0] == status


def test_calls_are_counted_with_their_tokens_under_the_first_thing_said(running: Running) -> None:
    request = Request(f"{running.url}/v1/chat/completions", json.dumps(asking("Hi")).encode(), method="POST")
    with urlopen(request) as answer:
        usage = json.load(answer)["usage"]
    line = running.counts()["services"]["/v1/chat/completions"]
    assert (line["calls"], line["by_key"], line["tokens"]) == (1, {"Hi": 1}, usage)
