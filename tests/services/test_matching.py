"""Each record gets the item with its own key, however an answer is shuffled, cut short or blown up."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dataflow as flow
from dataflow.services.matching import Match, cut, match_items
from dataflow.services.selection import UnexpectedAnswer

ACME = flow.API("acme", "https://acme.example/v2")
OTHER = "its item has a key of another type or spelling than was sent; send it as the provider has it"
NONE = "none of the items has a key that was asked for; see items= and match="


def matching(**options: Any) -> Match:
    """By `id`, as sent in a body, unless options say otherwise."""
    given = {"json": [{"id": "{id}"}], "match": "id", **options}
    path = given.pop("path", "/c")
    found: Match = ACME.post("c", path, returns=int, batch=100, **given).endpoint.batch.match
    return found


BY_ID, BY_ORDER, IN_URL = matching(), matching(match=None), matching(json=None, path="/c/{id}")
BY_TWO = matching(json=[{"a": "{a}", "b": "{b}"}], match={"b": "x.b", "a": "a"})

keys = st.text(max_size=4) | st.integers()


@given(keys=st.lists(keys, unique_by=lambda key: (type(key), key), max_size=20), data=st.data())
def test_any_shuffle_subset_and_repetition_gives_each_record_its_own_item_or_none(keys: list[Any], data: Any) -> None:
    items = [{"id": key, "value": at} for at, key in enumerate(keys)]
    answered = data.draw(st.lists(st.sampled_from(items), max_size=40)) if items else []
    answered = data.draw(st.permutations([*answered, *(None for _ in range(data.draw(st.integers(0, 3))))]))
    found = match_items(answered, [[key] for key in keys], BY_ID)
    assert dict(found.found) == {item["value"]: item for item in answered if item is not None}
    assert not found.wrong


@given(keys=st.lists(st.text(), unique=True, min_size=1), strangers=st.lists(st.text()), data=st.data())
def test_the_names_of_an_object_are_the_keys(keys: list[str], strangers: list[str], data: Any) -> None:
    told = data.draw(st.lists(st.sampled_from(keys), min_size=1, unique=True))
    answer = {name: f"item of {name}" for name in [*strangers, *told]}
    found = match_items(answer, [[key] for key in keys], data.draw(st.sampled_from([BY_ID, BY_ORDER, IN_URL])))
    assert dict(found.found) == {at: answer[key] for at, key in enumerate(keys) if key in answer}


@pytest.mark.parametrize(
    ("items", "rows", "match", "found", "wrong"),
    [
        ([{"id": "b", "v": 1}, {"id": "x"}, {"id": "a"}, {"id": "b", "v": 2}], "abc", BY_ID, {0: 2, 1: 0}, {}),
        ([], "ab", BY_ID, {}, {}),
        (None, "ab", BY_ID, {}, {}),
        (None, "ab", BY_ORDER, {}, {}),
        ([None, {"id": "a"}], "ab", BY_ID, {0: 1}, {}),
        ([7, None], "ab", BY_ORDER, {0: 0, 1: 1}, {}),
        ([{"id": 7}, {"id": "a"}], ["7", "a"], BY_ID, {1: 1}, {0: OTHER}),
        ([{"id": "7"}, {"id": 8}], [7, 8], BY_ID, {1: 1}, {0: OTHER}),
        ([{"id": 7.0}], [7, 8], BY_ID, {}, {0: OTHER, 1: NONE}),
        ([{"id": True}, {"id": 1}], [1], BY_ID, {0: 1}, {}),
        ([{"id": "A.example "}, {"id": "b"}], ["a.example", "b"], BY_ID, {1: 1}, {0: OTHER}),
        ([{"id": "x"}, {"id": "y"}], "ab", BY_ID, {}, {0: NONE, 1: NONE}),
        ([{"id": "a"}, {}], "ab", BY_ID, {0: 0}, {1: "item 1: `id`: holds no key"}),
        ([{"id": "a"}, {"id": ["b"]}], "ab", BY_ID, {0: 0}, {1: "item 1: `id`: holds no key"}),
        ([{"id": "a"}, "b"], "ab", BY_ID, {0: 0}, {1: "item 1: `id`: expected an object that has `id`, got str"}),
        ([{"id": 7}, {"id": "8"}, {"id": True}], ["7", 8, True], IN_URL, {0: 0, 1: 1, 2: 2}, {}),
        ([{"id": "2024-05-01"}], [datetime.date(2024, 5, 1)], BY_ID, {0: 0}, {}),
        ([{"id": "1.50"}], [Decimal("1.50")], BY_ID, {0: 0}, {}),
        ([{"a": "x", "x": {"b": 2}}, {"a": "y", "x": {"b": 1}}], [["y", 1], ["x", 1]], BY_TWO, {0: 1}, {}),
        ([{"a": "x"}], [["y", 1]], BY_TWO, {}, {0: "item 0: `x.b`: holds no key"}),
        ({"7": 1, "a": None, "z": 2}, [7, "a", "b"], BY_ID, {0: "7", 1: "a"}, {}),
        ({"true": 1}, [True], BY_ORDER, {0: "true"}, {}),
        ({"data": []}, "ab", BY_ID, {}, {0: NONE, 1: NONE}),
        ({}, "ab", BY_ID, {}, {}),
    ],
)
def test_items_find_their_records(items: Any, rows: Any, match: Match, found: dict[int, Any], wrong: Any) -> None:
    matched = match_items(items, [row if isinstance(row, list) else [row] for row in rows], match)
    assert dict(matched.found) == {at: items[place] for at, place in found.items()}
    assert dict(matched.wrong) == wrong


@pytest.mark.parametrize(
    ("items", "match", "said"),
    [
        ([1], BY_ORDER, "expected 2 items, got 1; match= says which key"),
        ([1, 2, 3], BY_ORDER, "expected 2 items, got 3"),
        ("ab", BY_ID, "expected a list of items, got str; items= says where it is"),
        (7, BY_ORDER, "expected a list of items, got int"),
        ({"a": 1}, BY_TWO, "expected a list of items, got an object"),
    ],
)
def test_an_answer_that_cannot_be_told_apart_is_unexpected(items: Any, match: Match, said: str) -> None:
    with pytest.raises(UnexpectedAnswer) as caught:
        match_items(items, [["a", 1], ["b", 2]], match)
    assert said in str(caught.value)


@pytest.mark.parametrize("value", [1.5, [1], {"a": 1}])
@pytest.mark.parametrize("match", [BY_ID, IN_URL])
def test_what_no_answer_repeats_exactly_is_no_key(match: Match, value: Any) -> None:
    with pytest.raises(ValueError, match="`id`: "):
        match.key([value])
    assert BY_ORDER.key([value]) == ()


@given(keys=st.lists(st.integers(0, 9)), size=st.integers(1, 5))
def test_requests_hold_every_record_once_and_no_key_twice(keys: list[int], size: int) -> None:
    parts = cut(list(range(len(keys))), keys, size=size)
    assert sorted(at for part in parts for at in part) == list(range(len(keys)))
    for part in parts:
        assert 1 <= len(part) <= size
        assert len({keys[at] for at in part}) == len(part)


def test_records_without_a_key_in_common_fill_their_requests_in_order() -> None:
    assert cut([4, 5, 7, 8, 9], "abcde", size=2) == [[4, 5], [7, 8], [9]]
