"""Prices: what an author may write, what is refused, and what an answer is read to cost."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

import dataflow as flow
from dataflow.errors import DeclarationError
from dataflow.policies.money import UNIT, trillionths
from dataflow.services.prices import Price, read_price, tokens_of

ACME = flow.API("acme", "https://acme.example")


def company(**options: Any) -> flow.Service:
    return ACME.get("company", "/companies/{domain}", returns={"title": str}, **options)


def price_of(**options: Any) -> Price:
    price = read_price(options, name="company")
    assert price is not None
    return price


def test_a_service_without_a_price_is_free() -> None:
    assert company().policy.price is None


@pytest.mark.parametrize(
    ("price", "alone", "seven"),
    [(0.01, 10**10, 10**10), (2, 2 * UNIT, 2 * UNIT), (flow.PerRecord(0.01), 10**10, 7 * 10**10), (0, 0, 0)],
)
def test_a_price_holds_for_a_call_or_for_each_of_its_records(price: Any, alone: int, seven: int) -> None:
    found = price_of(price=price)
    assert (found.nominal(), found.nominal(7), found.comes_with_answer) == (alone, seven, False)


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 1000, "completion_tokens": 10, "total_tokens": 1010},
        {"input_tokens": 1000, "output_tokens": 10},
        {"inputTokens": 1000, "outputTokens": 10, "totalTokens": 1010},
        {"prompt_tokens": 1000, "completion_tokens": None, "total_tokens": 1010},
        {"completion_tokens": 10, "total_tokens": 1010},
    ],
)
def test_tokens_are_read_from_the_usage_of_any_kind_of_answer(usage: dict[str, int]) -> None:
    price = price_of(price=flow.PerMillionTokens(input=0.15, output=0.6))
    assert price.of({"usage": usage}) == trillionths(0.000156)
    assert price.nominal() is None


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 1000},
        {"prompt_tokens": 1000, "total_tokens": 1000},
        {"total_tokens": 1000},
        {"input_tokens": 1000, "output_tokens": None},
    ],
)
def test_an_answer_that_counts_only_what_was_sent_has_no_output(usage: dict[str, int]) -> None:
    price = price_of(price=flow.PerMillionTokens(input=0.02, output=50))
    assert price.of({"data": [[0.1]], "usage": usage}) == trillionths(0.00002)


@pytest.mark.parametrize(
    ("usage", "received"),
    [
        ({"promptTokenCount": 8, "candidatesTokenCount": 2, "totalTokenCount": 10}, 2),
        ({"promptTokenCount": 8, "candidatesTokenCount": 2, "thoughtsTokenCount": 30, "totalTokenCount": 40}, 32),
        ({"promptTokenCount": 8, "thoughtsTokenCount": 30, "totalTokenCount": 38}, 30),
        ({"promptTokenCount": 8, "totalTokenCount": 8}, 0),
    ],
)
def test_tokens_are_read_from_the_metadata_of_an_answer(usage: dict[str, int], received: int) -> None:
    assert tokens_of({"candidates": [], "usageMetadata": usage}) == (8, received)


@pytest.mark.parametrize(
    "answer",
    [
        {},
        [],
        None,
        {"usage": {}},
        {"usage": {"input_tokens": -1, "output_tokens": 1}},
        {"usage": 3},
        {"usage": {"output_tokens": 1}},
    ],
)
def test_an_answer_without_usage_says_no_price(answer: Any) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        price_of(price=flow.PerMillionTokens(input=1, output=1)).of(answer)


def test_a_function_says_the_price_of_an_answer_and_max_price_the_most() -> None:
    price = price_of(price=lambda answer: answer["credits"] * 0.002, max_price=0.05, budget=10)
    assert (price.of({"credits": 3}), price.nominal(), price.budget) == (
        trillionths(0.006),
        trillionths(0.05),
        10 * UNIT,
    )


@pytest.mark.parametrize("value", [-1, float("nan"), "1", None])
def test_what_a_function_gives_must_be_an_amount(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        price_of(price=lambda _: value).of({})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"price": -1}, "price takes a number from 0"),
        ({"price": "0.01"}, "PerRecord"),
        ({"price": flow.PerRecord("x")}, "PerRecord takes"),  # type: ignore[arg-type]
        ({"price": flow.PerMillionTokens(input=-1, output=1)}, "PerMillionTokens takes"),
        ({"price": 1, "currency": "dollars"}, "currency takes capital letters"),
        ({"price": 1, "billed": "all"}, 'billed takes "attempts" or "answers"'),
        ({"price": 1, "max_price": 2}, "come with the answer"),
        ({"price": 1, "budget": "10"}, "budget takes a number"),
        ({"budget": 10}, "budget= and no price="),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        company(**options)


def test_only_what_calls_an_api_has_a_price() -> None:
    with pytest.raises(DeclarationError, match="calls no API"):

        @flow.enrichment(price=0.01)
        def local(domain: str) -> str:
            return domain

    with pytest.raises(DeclarationError, match="calls no API"):
        flow.lookup("industry", table="industries.csv", on="domain", price=0.01)


def test_tokens_are_counted_where_there_is_an_answer_that_counts_them() -> None:
    tokens = flow.PerMillionTokens(input=1, output=2)
    with pytest.raises(DeclarationError, match="returns no answer that counts tokens"):

        @flow.enrichment(api=ACME, price=tokens)
        def summary(text: str) -> str:
            return text

    @flow.enrichment(api=ACME, price=tokens)
    async def headline(text: str, http: httpx.AsyncClient) -> str:
        return text

    assert headline.policy.price is not None


def test_two_currencies_in_one_pipeline_are_refused() -> None:
    euro = company(price=1, currency="EUR").with_(name="second", columns={"title": "other"})
    with pytest.raises(DeclarationError, match="`company` costs USD and `second` costs EUR"):
        flow.Pipeline("leads", [company(price=1), euro])


def test_a_price_is_no_part_of_the_plan() -> None:
    from dataflow.plan.fingerprint import _NO_MEANING

    assert {"price", "currency", "max_price", "budget", "billed"} <= set(_NO_MEANING)
