"""A key names one call: equal inputs of equal types share it, all others differ."""

from __future__ import annotations

import dataclasses
import enum
import math
import subprocess
import sys
from collections import OrderedDict, namedtuple
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from itertools import combinations
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.errors import DeclarationError
from dataflow.services.keys import SIZE, Keys, call_key, canonical


@dataclasses.dataclass
class Place:
    city: str
    zip: str | None = None


@dataclasses.dataclass
class Spot:
    city: str
    zip: str | None = None


class Struct(msgspec.Struct):
    city: str
    zip: str | None = None


Pair = namedtuple("Pair", "city zip")
Number = enum.IntEnum("Number", "ONE TWO")
Word = enum.StrEnum("Word", {"ONE": "1"})

NOON = datetime(2026, 1, 1, 12)
BERLIN = ZoneInfo("Europe/Berlin")
ALL_DIFFERENT = [
    *(1, 1.0, True, "1", b"1", Decimal(1), Decimal("1.0"), None, 0, False, 0.0, -0.0, "", b"", -1, 49, "s1:1", "1;"),
    *(math.nan, math.inf, -math.inf, "nan", Decimal("NaN"), Decimal("-0"), Decimal(0), 10**5000, 10**5000 + 1),
    *(date(2026, 1, 1), NOON, NOON.isoformat(), time(12), time(12, tzinfo=UTC), timedelta(1), timedelta(0, 1)),
    *(NOON.replace(tzinfo=UTC), NOON.replace(tzinfo=UTC).astimezone(BERLIN), NOON.replace(tzinfo=BERLIN)),
    *(NOON.replace(tzinfo=timezone(timedelta(hours=1))), NOON.replace(tzinfo=ZoneInfo("Europe/Paris"))),
    *(pd.Timestamp("2026-01-01T12:00:00.000000001"), pd.Timedelta(1, "ns"), timedelta(), pd.NaT),
    *("\u00e9", "e\u0301", "\ud800", "\U00010000", "\ud800\udc00", "a\0b", "ab"),
    *([], (), {}, set(), frozenset(), [[]], [None], [1, 2], [12], (1, 2), ["1", "2"], ["12"], {1: 2}, {1, 2}),
    *({"city": "x", "zip": None}, {"city": "x"}, {"zip": None, "city": "y"}, [["city", "x"], ["zip", None]]),
    *(Place("x"), Spot("x"), Struct("x"), Pair("x", None), Place("x", ""), ("x", None)),
    *(Number.ONE, Number.TWO, Word.ONE, UUID(int=1), UUID(int=1).bytes, str(UUID(int=1))),
]


def test_values_that_a_function_could_tell_apart_have_different_keys() -> None:
    for one, other in combinations(ALL_DIFFERENT, 2):
        assert canonical([one]) != canonical([other]), (one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"d": 3, "c": 2}, "a": 1}),
        ({"a": 1}, OrderedDict(a=1)),
        ({1, 2, 3}, {3, 2, 1}),
        (math.nan, -math.nan),
        (float("inf") - float("inf"), math.nan),
        (NOON.replace(tzinfo=UTC), NOON.replace(tzinfo=ZoneInfo("UTC"))),
        (NOON, pd.Timestamp(NOON)),
        (7, np.int64(7)),
        (0.5, np.float32(0.5)),
        (True, np.bool_(True)),
        ("a", np.str_("a")),
        (Place("x"), Place("x")),
    ],
)
def test_values_that_say_the_same_share_a_key(one: Any, other: Any) -> None:
    assert canonical([one]) == canonical([other])
    assert canonical([[one]]) == canonical([[other]])


leaves = st.one_of(
    st.sampled_from(
        [None, True, False, 0, 1, 2, -1, 0.0, -0.0, 1.0, math.nan, "", "0", "1", "a", "1:", b"", b"1", b"a"]
    ),
    st.text(max_size=3),
    st.integers(),
    st.floats(),
    st.binary(max_size=3),
    st.decimals(),
    st.dates(),
    st.datetimes(),
    st.datetimes(timezones=st.sampled_from([UTC, BERLIN, timezone(timedelta(hours=1))])),
    st.timedeltas(),
)
keys = st.one_of(st.sampled_from([0, 1, "0", "1", "a", None]), st.text(max_size=2))
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(keys, inner, max_size=3),
        st.builds(Place, inner, inner),
        st.builds(Spot, inner, inner),
    ),
    max_leaves=6,
)


def same(one: Any, other: Any) -> bool:
    """Whether two trees are of the same types and values: what the canonical form must say, said in another way."""
    if type(one) is not type(other):
        return False
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        typed, typed_other = ({(type(key), key): value for key, value in tree.items()} for tree in (one, other))
        return typed.keys() == typed_other.keys() and all(same(typed[key], typed_other[key]) for key in typed)
    if dataclasses.is_dataclass(one):
        return same(vars(one), vars(other))
    if isinstance(one, datetime):
        return (one.isoformat(), str(one.tzinfo)) == (other.isoformat(), str(other.tzinfo))
    return repr(one) == repr(other)


def changed(tree: Any, draw: Any) -> Any:
    """The tree built anew, dicts turned round, with a leaf here and there replaced."""
    if isinstance(tree, (list, tuple)):
        return type(tree)(changed(one, draw) for one in tree)
    if isinstance(tree, dict):
        return {key: changed(one, draw) for key, one in reversed(tree.items())}
    if dataclasses.is_dataclass(tree):
        return type(tree)(*(changed(one, draw) for one in vars(tree).values()))
    return draw(leaves) if draw(st.integers(0, 3)) == 0 else tree


@given(one=st.lists(trees, max_size=3), other=st.lists(trees, max_size=3))
def test_any_two_trees_share_bytes_only_where_they_are_the_same(one: list[Any], other: list[Any]) -> None:
    assert (canonical(one) == canonical(other)) == same(one, other)


@given(data=st.data(), tree=trees)
def test_trees_that_differ_in_a_leaf_or_not_at_all_are_told_apart(data: Any, tree: Any) -> None:
    other = changed(tree, data.draw)
    assert (canonical([tree]) == canonical([other])) == same(tree, other)


@given(one=st.lists(leaves, max_size=3), other=st.lists(leaves, max_size=3))
def test_no_form_is_the_beginning_of_another(one: list[Any], other: list[Any]) -> None:
    first, second = canonical(one), canonical(other)
    assert first == second or not second.startswith(first)


def test_service_version_definition_and_inputs_are_all_part_of_the_key() -> None:
    whole = {"service": "company", "version": "1", "definition": "GET /x", "inputs": ["a"]}
    others = [
        {**whole, **change} for change in ({"service": "c"}, {"version": "2"}, {"definition": ""}, {"inputs": []})
    ]
    moved = {"service": "compan", "version": "y1", "definition": "GET /x", "inputs": ["a"]}
    found = {call_key(**one) for one in (whole, moved, *others)}
    assert len(found) == 6
    assert {len(key) for key in found} == {SIZE}


def test_prepared_keys_are_those_of_single_calls_and_the_order_of_inputs_counts() -> None:
    prepared = Keys(service="company", version="1", definition="GET /x")
    for inputs in (["a"], ("a",), ["a", 1], [1, "a"], []):
        assert prepared.of(inputs) == call_key(service="company", version="1", definition="GET /x", inputs=inputs)
    assert prepared.of(["a", 1]) != prepared.of([1, "a"])


def test_a_key_never_changes_between_versions_of_dataflow() -> None:
    inputs = ["a@b.c", 7, None, 1.5, {"b": [True], "a": date(2026, 1, 1)}]
    found = call_key(service="company", version="1", definition="GET /companies/{domain}", inputs=inputs)
    assert found.hex() == "59786ab4c6c4f1b3b676a242c9a73a40dfa4c432"


def test_another_process_makes_the_same_key() -> None:
    code = "from dataflow.services.keys import canonical; print(canonical([{'x', 'y', 'z'}, {'k': 'v'}]).hex())"
    found = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert found == {canonical([{"x", "y", "z"}, {"k": "v"}]).hex() + "\n"}


@pytest.mark.parametrize("value", [Fraction(1, 3), object(), np.array([1]), np.datetime64("2026-01-01", "ns"), str])
def test_a_type_without_a_form_is_refused_by_name_and_without_its_value(value: Any) -> None:
    with pytest.raises(DeclarationError, match=f"type {type(value).__qualname__} cannot be part of a key") as raised:
        canonical(["fine", [value]])
    assert repr(value) not in str(raised.value)


def test_an_endless_value_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(DeclarationError, match="nested too deeply"):
        canonical(endless)
