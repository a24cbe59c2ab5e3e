"""Answers come back as they were, under the type that the service declares, or are asked for anew."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from remembering import Store

from dataflow.engine.calling import Answers
from dataflow.engine.http.memory import Memory
from dataflow.errors import NotFound, Reject
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


def memory(annotation: Any, store: Store | None) -> Memory:
    return Memory(store, service="one", returns=declare(annotation, where="returns"))


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
        (float, math.nan),
        (float | None, math.nan),
        (float | None, math.inf),
        (list[float], [1.0, math.nan]),
        (list[float | None], [math.nan]),
        (str, "\ud800"),
        (int, "7"),
        (int, 1.5),
        (list[int], [object()]),
    ],
)
def test_what_would_come_back_as_something_else_is_not_kept(annotation: Any, value: Any) -> None:
    assert kept_and_back(annotation, value) == (False, None)


@given(st.lists(st.floats() | st.none()))
def test_a_list_of_numbers_is_kept_exactly_or_not_at_all(value: list[float | None]) -> None:
    kept, back = kept_and_back(list[float | None], value)
    assert kept == all(one is None or math.isfinite(one) for one in value)
    assert not kept or back == value


def test_a_changed_declaration_is_asked_anew() -> None:
    store = Store()
    memory(int, store).remember(KEY, 7)
    for annotation in (str, dt.date, list[int], Office):
        answers = Answers(values=[None])
        assert memory(annotation, store).recall([KEY], answers) == set()
        assert (answers.values, answers.raised) == ([None], {})


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
