"""Keys that are kept for texts are those that would be made anew, and nothing else has one of them."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.engine import keys
from dataflow.engine.keys import key_of, keys_of
from dataflow.plan.binding import bind
from dataflow.plan.graph import Step

acme = flow.API("acme", "https://api.acme.example")


class Word(StrEnum):
    A = "a"


def step_of(**options: Any) -> Step:
    company = acme.get("company", "/companies/{domain}", returns={"size": int | None}, **options)
    return bind([company], pa.schema([("domain", pa.string())]), name="test").steps[0]


def test_the_key_of_a_text_is_the_same_the_second_time() -> None:
    step = step_of()
    key = key_of(step, keys_of(step))
    assert key(("a",)) == key(("a",)) == keys_of(step).of(("a",))


@pytest.mark.parametrize("other", [Word.A, b"a", ["a"], 1, None])
def test_what_is_no_plain_text_has_a_key_of_its_own(other: Any) -> None:
    step = step_of()
    key = key_of(step, keys_of(step))
    assert key(("a",)) != key((other,))
    assert key((other,)) == keys_of(step).of((other,))


def test_another_version_has_other_keys() -> None:
    one, other = step_of(), step_of(version="2")
    assert key_of(one, keys_of(one))(("a",)) != key_of(other, keys_of(other))(("a",))


def test_few_keys_of_short_texts_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "KNOWN", 3)
    step = step_of(version="bounded")
    key = key_of(step, keys_of(step))
    for number in range(20):
        key((f"c{number}",))
    key(("x" * 1000,))
    assert 0 < len(keys_of(step).known) <= 3
    assert all(len(text) < 1000 for text in keys_of(step).known)
