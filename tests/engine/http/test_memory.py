"""Answers come back as they were, under the type that the service declares, or are asked for anew, which is told."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypedDict

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from remembering import Kept, Store

from dataflow.engine.calling import Answers
from dataflow.engine.http.losses import Losses
from dataflow.engine.http.memory import Memory
from dataflow.errors import NotFound, Reject
from dataflow.outcomes import Status
from dataflow.services.annotations import declare

KEY = b"key"


@dataclass
class Office:
    city: str
    since: dt.date | None = None


@dataclass(frozen=True)
class Company:
    name: str
    revenue: Decimal
    offices: list[Office]


class Person(TypedDict):
    name: str
    born: dt.date | None


def memory(annotation: Any, store: Store | None, losses: Losses | None = None) -> Memory:
    return Memory(store, service="one", returns=declare(annotation, where="returns"), losses=losses)


def kept_and_back(annotation: Any, value: Any) -> tuple[bool, Any]:
    """Whether a value was kept, and what comes back of it."""
    store = Store()
    memory(annotation, store).remember(KEY, value)
    answers = Answers(values=[None])
    found = memory(annotation, store).recall([KEY], answers)
    assert found == ({0} if store else set())
    return bool(store), answers.values[0]


NOON = dt.datetime(2024, 2, 29, 12, 0, 0, 123456)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (str, "é\u2028\x00"),
        (str, ""),
        (int, 2**63 - 1),
        (bool, False),
        (float, 0.1 + 0.2),
        (float, 1e300),
        (Decimal, Decimal("123456789012345678901.100000001")),
        (dt.date, NOON.date()),
        (dt.datetime, NOON),
        (dt.time, NOON.time()),
        (str | None, None),
        (list[int], []),
        (list[list[str]], [["a"], [], ["b", "c"]]),
        (list[dt.date], [NOON.date()]),
        (Office, Office("Ulm")),
        (Office, Office("Ulm", NOON.date())),
        (Company, Company("x", Decimal("1.5"), [Office("Ulm", None), Office("Bonn", NOON.date())])),
        (Person, {"name": "x", "born": None}),
        (Person, {"name": "x", "born": NOON.date()}),
        (list[Person], [{"name": "x", "born": NOON.date()}]),
        (dict[str, int], {"b": 1, "a": 2}),
        (list[dict[str, list[int]]], [{"a": [1]}, {}]),
        (float | None, math.inf),
        (bytes, b"\xff"),
        (dt.timedelta, dt.timedelta(microseconds=1)),
    ],
)
def test_every_declared_type_comes_back_as_it_was(annotation: Any, value: Any) -> None:
    kept, back = kept_and_back(annotation, value)
    assert kept
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (str, "\ud800"),
        (int, "7"),
        (int, 1.5),
        (list[int], [object()]),
    ],
)
def test_what_would_come_back_as_something_else_is_not_kept(annotation: Any, value: Any) -> None:
    assert kept_and_back(annotation, value) == (False, None)


@given(st.lists(st.floats() | st.none()))
def test_every_list_of_numbers_is_kept_exactly(value: list[float | None]) -> None:
    kept, back = kept_and_back(list[float | None], value)
    assert kept
    assert repr(back) == repr(value)


def test_what_cannot_be_kept_is_counted_and_told_and_again_when_it_is_ten_times_as_much() -> None:
    losses = Losses()
    one = memory(pa.timestamp("ns"), Store(), losses=losses)
    assert losses.news() == []
    told = []
    for number in range(25):
        one.remember(b"%d" % number, pd.Timestamp(number + 1))
        told += losses.news()
    why = "since a time is finer than a microsecond, and will be called again"
    assert told == [f"`one`: 1 answer cannot be kept, {why}", f"`one`: 10 answers cannot be kept, {why}"]


def test_a_value_of_another_type_is_the_failure_of_its_record_and_no_lost_answer() -> None:
    losses = Losses()
    memory(int, Store(), losses=losses).remember(KEY, "7")
    assert losses.news() == []


def test_what_cannot_be_read_back_is_asked_anew_and_told() -> None:
    store, losses = Store(), Losses()
    memory(int, store).remember(KEY, 7)
    for annotation in (str, dt.date, list[int], Office):
        answers = Answers(values=[None])
        assert memory(annotation, store, losses=losses).recall([KEY], answers) == set()
        assert (answers.values, answers.raised) == ([None], {})
    (told,) = losses.news()
    why = "expected str, got int"
    assert told == f"`one`: 4 answers of the cache cannot be read back ({why}); they are called for again"


def test_an_answer_in_place_of_one_that_cannot_be_read_is_newer_than_that_whatever_its_clock_said() -> None:
    store = Store({KEY: Kept(Status.SUCCEEDED, b'"no number"', created=9e9)})
    one = memory(int, store)
    assert one.recall([KEY], Answers(values=[None])) == set()
    one.remember(KEY, 7)
    assert store[KEY].created > 9e9
    one.remember(b"other", 7)
    assert store[b"other"].created < 9e9


def test_that_nothing_was_found_is_remembered_and_no_other_error_is() -> None:
    store = Store()
    one = memory(int, store)
    one.remember_error(b"found nothing", NotFound())
    one.remember_error(b"rejected", Reject("no"))
    one.remember_error(b"failed", KeyError("x"))
    assert set(store) == {b"found nothing"}
    answers = Answers(values=[None, None])
    assert one.recall([b"failed", b"found nothing"], answers) == {1}
    assert isinstance(answers.raised[1], NotFound)


def test_without_a_store_nothing_is_remembered() -> None:
    one = memory(int, None)
    one.remember(KEY, 1)
    one.remember_error(KEY, NotFound())
    assert one.recall([KEY], Answers(values=[None])) == set()


def test_none_where_the_type_does_not_hold_it_is_kept_as_not_found() -> None:
    store = Store()
    memory(int, store).remember(KEY, None)
    answers = Answers(values=[None])
    assert memory(int, store).recall([KEY], answers) == {0}
    assert isinstance(answers.raised[0], NotFound)


def test_what_an_answer_cost_is_kept_with_it() -> None:
    store = Store()
    one = memory(int, store)
    one.remember(b"found", 7, 0.01)
    one.remember_error(b"nothing", NotFound(), 0.02)
    one.remember(b"none", None, 0.03)
    assert [store[key].cost for key in (b"found", b"nothing", b"none")] == [0.01, 0.02, 0.03]
