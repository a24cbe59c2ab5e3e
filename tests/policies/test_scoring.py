"""Points by hand-worked cases."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.policies.scoring import BUDGET, QUALITY, SPEED, Candidate, Wanted, best, score


@pytest.mark.parametrize(
    ("candidate", "wanted", "points"),
    [
        (Candidate(quality=4.5), Wanted(quality="premium"), 40),
        (Candidate(quality=4.4), Wanted(quality="premium"), 0),
        (Candidate(quality=4.0), Wanted(quality="high"), 30),
        (Candidate(quality=5.0), Wanted(quality="high"), 30),
        (Candidate(quality=3.4), Wanted(quality="medium"), 0),
        (Candidate(quality=0.0), Wanted(quality="low"), 10),
        (Candidate(), Wanted(quality="low"), 0),
        (Candidate(seconds=4.9), Wanted(speed="fast"), 30),
        (Candidate(seconds=5.0), Wanted(speed="fast"), 0),
        (Candidate(seconds=14.0), Wanted(speed="balanced"), 20),
        (Candidate(seconds=900.0), Wanted(speed="thorough"), 10),
        (Candidate(), Wanted(speed="thorough"), 0),
        (Candidate(price=0.0), Wanted(budget="low"), 30),
        (Candidate(price=0.5), Wanted(budget="low"), 0),
        (Candidate(price=1.99), Wanted(budget="medium"), 20),
        (Candidate(price=9.99), Wanted(budget="high"), 10),
        (Candidate(price=99.0), Wanted(budget="unlimited"), 5),
        (Candidate(price=None), Wanted(budget="unlimited"), 0),
        (Candidate(quality=4.6, seconds=2, price=0.4), Wanted(quality="premium", speed="fast", budget="low"), 100),
        (Candidate(quality=4.2, seconds=2, price=3.0), Wanted(quality="high", speed="balanced", budget="medium"), 50),
        (Candidate(quality=5, seconds=1, price=0), Wanted(), 0),
    ],
)
def test_a_candidate_gets_the_points_of_the_wanted_rows_that_it_meets(
    candidate: Candidate, wanted: Wanted, points: int
) -> None:
    assert score(candidate, wanted) == points


def test_the_best_come_first_and_equals_as_they_were_listed() -> None:
    assert best([10, 40, 10, 40, 0], top=3) == [1, 3, 0]
    assert best([1], top=3) == [0]


@given(
    st.builds(Candidate, quality=st.none() | st.floats(0, 5), seconds=st.none() | st.floats(0, 99)),
    st.sampled_from([None, *QUALITY]),
    st.sampled_from([None, *SPEED]),
    st.sampled_from([None, *BUDGET]),
)
def test_points_of_the_three_add_up(candidate: Candidate, quality: object, speed: object, budget: object) -> None:
    parts = [Wanted(quality=quality), Wanted(speed=speed), Wanted(budget=budget)]  # type: ignore[arg-type]
    whole = Wanted(quality=quality, speed=speed, budget=budget)  # type: ignore[arg-type]
    assert score(candidate, whole) == sum(score(candidate, part) for part in parts)
