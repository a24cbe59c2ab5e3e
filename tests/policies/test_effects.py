"""How far a call has come by how it failed, and what notes say about sending it again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.policies.effects import End, Note, Reach, known, reach_of, reach_of_status


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


@given(st.lists(st.tuples(st.integers(0, 3), ENDS)))
def test_the_last_note_counts_and_only_what_has_done_nothing_is_forgotten(made: list[tuple[int, End]]) -> None:
    notes = [Note(place=place, end=end, at=number) for number, (place, end) in enumerate(made)]
    found = known(notes)
    last = dict(made)
    assert {place: note.end for place, note in found.items()} == {
        place: end for place, end in last.items() if end is not End.NOTHING
    }
