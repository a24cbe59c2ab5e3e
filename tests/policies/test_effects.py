"""How far a call has come by how it failed, and what notes say about sending it again."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.policies.effects import End, Note, Reach, Subject, claim, known, reach_of, reach_of_status


@pytest.mark.parametrize(
    ("reason", "status", "reach"),
    [
        ("cannot connect", None, Reach.NOTHING),
        ("no such host", None, Reach.NOTHING),
        ("certificate", None, Reach.NOTHING),
        ("bad input", None, Reach.NOTHING),
        ("no secret", 401, Reach.NOTHING),
        ("retry later", 200, Reach.NOTHING),
        ("timeout", None, Reach.UNCLEAR),
        ("connection lost", None, Reach.UNCLEAR),
        ("answer cut off", None, Reach.UNCLEAR),
        ("ConnectionResetError", None, Reach.UNCLEAR),
        ("unexpected answer", 200, Reach.TAKEN),
        ("malformed answer", 201, Reach.TAKEN),
        ("HTTP 302", 302, Reach.NOTHING),
        ("HTTP 400", 400, Reach.NOTHING),
        ("HTTP 401", 401, Reach.NOTHING),
        ("HTTP 408", 408, Reach.UNCLEAR),
        ("HTTP 409", 409, Reach.NOTHING),
        ("HTTP 429", 429, Reach.NOTHING),
        ("HTTP 499", 499, Reach.UNCLEAR),
        ("HTTP 500", 500, Reach.UNCLEAR),
        ("HTTP 501", 501, Reach.NOTHING),
        ("HTTP 502", 502, Reach.UNCLEAR),
        ("HTTP 503", 503, Reach.UNCLEAR),
        ("HTTP 504", 504, Reach.UNCLEAR),
    ],
)
def test_a_failed_request_has_done_nothing_only_where_that_is_sure(
    reason: str, status: int | None, reach: Reach
) -> None:
    assert reach_of(reason, status=status) is reach


@given(st.integers(200, 299))
def test_what_was_answered_with_success_has_taken_effect(status: int) -> None:
    assert reach_of_status(status) is Reach.TAKEN


ENDS = st.sampled_from(End)


@given(st.lists(st.tuples(st.sampled_from("abcd"), ENDS)))
def test_the_last_note_counts_and_only_what_has_done_nothing_is_forgotten(made: list[tuple[str, End]]) -> None:
    notes = [Note(record=record, end=end, at=number) for number, (record, end) in enumerate(made)]
    found = known(notes)
    last = dict(made)
    assert {subject.record: note.end for subject, note in found.items()} == {
        record: end for record, end in last.items() if end is not End.NOTHING
    }


def sent(record: str, inputs: str = "", nth: int = 0) -> Note:
    return Note(record=record, inputs=inputs, nth=nth, end=End.SUCCEEDED, at=1.0)


CALLS = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz")), max_size=8)


@given(CALLS, CALLS)
def test_of_equal_records_as_many_are_sent_as_were_not_before(before: list[tuple[str, str]], now: Any) -> None:
    claims = claim(now, [sent(*one) for one in before])
    new = Counter(call for at, call in enumerate(now) if at not in claims.known and at not in claims.changed)
    for call, count in new.items():
        assert count == now.count(call) - before.count(call) > 0
    for at, note in claims.known.items():
        assert (note.record, note.inputs) == now[at]
    assert len({id(note) for note in claims.known.values()}) == len(claims.known)


@given(CALLS, st.randoms())
def test_a_second_run_of_the_same_records_in_any_order_sends_none(calls: list[tuple[str, str]], random: Any) -> None:
    first = claim(calls, [])
    assert len(set(first.subjects)) == len(calls)
    again = random.sample(calls, len(calls))
    assert claim(again, [sent(*subject) for subject in first.subjects]).known.keys() == set(range(len(calls)))


def test_a_record_that_was_sent_with_other_inputs_is_not_sent() -> None:
    claims = claim([("a", "x"), ("b", "x")], [sent("a", "y")])
    assert (claims.known, claims.changed) == ({}, {0: sent("a", "y")})


def test_a_note_whose_inputs_do_not_count_is_that_of_its_record() -> None:
    claims = claim([("a", "x"), ("a", "z")], [sent("a"), sent("a", "z")])
    assert claims.known == {0: sent("a"), 1: sent("a", "z")}


def test_what_is_new_beside_what_was_noted_gets_a_number_of_its_own() -> None:
    claims = claim([("a", "x")] * 3, [sent("a", "x"), sent("a", "x", 1)])
    assert claims.subjects[2] == Subject("a", "x", 2)
    assert claims.known.keys() == {0, 1}
