"""One purse: never more than is authorised, whatever is said twice or late, and fair to those who wait."""

from __future__ import annotations

import random
from typing import Any

import pytest

from dataflow.engine.control.purse import Purse


def purse(authorised: int, *, limit: int = 1000) -> Purse:
    made = Purse()
    made.authorise({"authorised": authorised, "limit": limit, "portion": 10})
    return made


def told(asked: int, **given: int) -> dict[str, int]:
    return {"asked": asked, "least": 1, "spent": 0, "returned": 0, "out": 0, **given}


@pytest.mark.parametrize("seed", range(30))
def test_what_is_spent_and_held_never_exceeds_what_is_authorised(seed: int) -> None:
    draw = random.Random(seed)
    made = purse(0)
    known: dict[str, dict[str, int]] = {name: {"granted": 0, "spent": 0, "returned": 0} for name in "abc"}
    authorised = 0
    for _ in range(400):
        if draw.random() < 0.2:
            authorised = min(1000, authorised + draw.randint(0, 40))
            made.authorise({"authorised": authorised, "limit": 1000, "portion": 10})
        name = draw.choice("abc")
        one = known[name]
        holds = one["granted"] - one["spent"] - one["returned"]
        spent = draw.randint(0, holds)
        one["spent"] += spent
        one["returned"] += draw.randint(0, holds - spent)
        message = told(one["granted"] + draw.randint(0, 50), spent=one["spent"], returned=one["returned"])
        replies = [made.exchange(name, message) for _ in range(draw.choice([1, 2, 3]))]
        assert replies[-1]["granted"] >= replies[0]["granted"] >= one["granted"]
        if draw.random() < 0.1:
            made.forget(name)
        if draw.random() < 0.9:
            # Else the reply is lost.
            one["granted"] = replies[-1]["granted"]
        taken = sum(max(other.granted - other.returned, other.spent) for other in made.holders.values())
        assert taken <= authorised


def test_less_than_helps_is_not_granted() -> None:
    assert purse(9).exchange("a", told(30, least=10))["granted"] == 0


def test_those_who_wait_share_what_there_is() -> None:
    made = purse(0)
    for name in "abcd":
        made.exchange(name, told(100))
    made.authorise({"authorised": 100, "limit": 1000, "portion": 10})
    assert made.exchange("a", told(100))["granted"] == 25


def test_it_is_over_only_when_nobody_can_give_anything_back() -> None:
    made = purse(100, limit=100)
    made.exchange("a", told(100))
    assert made.exchange("b", told(10, least=10))["over"] is False
    made.exchange("a", told(100, spent=95))
    assert made.exchange("b", told(10, least=10))["over"] is False
    made.exchange("a", told(100, spent=95, returned=5))
    reply: dict[str, Any] = made.exchange("b", told(10, least=10))
    assert (reply["granted"], reply["over"]) == (0, True)
    assert made.exchange("c", told(5, least=5))["granted"] == 5


def test_it_is_not_over_while_more_may_be_authorised() -> None:
    reply = purse(5, limit=100).exchange("a", told(10, least=10))
    assert (reply["granted"], reply["last"], reply["over"]) == (0, False, False)


def test_a_call_that_cost_more_than_was_reserved_is_counted_as_it_is() -> None:
    made = purse(100, limit=100)
    made.exchange("a", told(10))
    made.exchange("a", told(10, spent=40))
    assert made.available == 60
    assert made.status() == {"spent": 40, "out": 0, "lost": 0, "held": 0, "wants": False}
