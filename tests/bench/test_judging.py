"""What the checks of the promises conclude from a log."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

from judging import (
    Finding,
    last_after,
    merged,
    most_at_once,
    most_while_down,
    running_at,
    share_used,
    span,
    worst_window,
)

TICKS = st.integers(0, 40)


@pytest.mark.parametrize(
    ("times", "expected"),
    [([], 0), ([5.0], 1), ([0.0, 1.0, 2.0], 1), ([0.0, 0.5, 0.99, 1.4], 3), ([3.0, 0.1, 0.0, 0.2], 3), ([1.0] * 4, 4)],
)
def test_the_worst_second_is_found_wherever_it_lies(times: list[float], expected: int) -> None:
    assert worst_window(times) == expected


@given(st.lists(TICKS, max_size=30), st.integers(1, 10))
def test_no_window_holds_more_than_the_worst_one(times: list[int], seconds: int) -> None:
    counts = [sum(begin <= at < begin + seconds for at in times) for begin in range(-10, 51)]
    assert worst_window(times, seconds=seconds) == max(counts)


@given(st.lists(st.tuples(TICKS, st.integers(1, 10)), max_size=30))
def test_no_moment_has_more_calls_than_the_fullest_one(begun: list[tuple[int, int]]) -> None:
    calls = [(float(at), float(at + took)) for at, took in begun]
    counts = [sum(begins <= moment < ends for begins, ends in calls) for moment in range(60)]
    assert most_at_once(calls) == max(counts)
    assert all(len(running_at(calls, float(moment))) == count for moment, count in enumerate(counts))


def test_a_full_rate_uses_all_of_itself_and_half_a_rate_half() -> None:
    assert share_used([at / 500 for at in range(5_000)], rate=500) == pytest.approx(1.0)
    assert share_used([at / 250 for at in range(5_000)], rate=500) == pytest.approx(0.5)


def test_a_span_goes_from_the_first_arrival_to_the_last_end_whichever_calls_these_are() -> None:
    assert span([(2.0, 3.0), (1.0, 1.5), (1.2, 9.0), (4.0, 5.0)]) == 8.0


@pytest.mark.parametrize(("moment", "expected"), [(2.0, 1.5), (3.5, 0.0), (9.0, 0.0)])
def test_what_comes_after_a_moment_is_timed_from_it(moment: float, expected: float) -> None:
    assert last_after([1.0, 3.5, 2.5], moment) == expected


def found(figure: float, **options: Any) -> Finding:
    given = {"check": "rate", "what": "most in a second", "limit": 525.0, **options}
    return Finding(figure=figure, **given)


@pytest.mark.parametrize(
    ("finding", "met"),
    [
        (found(525), True),
        (found(526), False),
        (found(0.97, limit=0.97, bound="least"), True),
        (found(0.96, limit=0.97, bound="least"), False),
        (found(900, limit=None), True),
    ],
)
def test_a_limit_itself_is_still_good_and_a_figure_without_one_always(finding: Finding, met: bool) -> None:
    assert finding.is_met == met
    assert ("MISSED" in str(finding)) == (not met)


def test_one_turn_in_ten_may_be_worse_where_that_was_promised_and_none_elsewhere() -> None:
    figures = [500.0] * 8 + [520.0, 600.0]
    assert merged([found(one, lenient=0.1)] for one in figures)[0].figure == 520
    assert merged([found(one)] for one in figures)[0].figure == 600
    assert merged([found(one, lenient=0.1)] for one in figures[-2:])[0].figure == 600
    assert merged([found(one, bound="least", lenient=0.1)] for one in [0.9, *[0.98] * 9])[0].figure == 0.98


def test_each_figure_of_a_check_keeps_a_line_of_its_own() -> None:
    turns = [[found(1.0), found(2.0, check="cap")], [found(3.0), found(1.0, check="cap")]]
    assert [(one.check, one.figure) for one in merged(turns)] == [("rate", 3.0), ("cap", 2.0)]


def test_an_outage_costs_a_window_a_threshold_and_the_probes_of_each_rest() -> None:
    assert most_while_down(window=50, threshold=5, probes=3, reset=1, down=10, processes=2) == 50 + 5 + 30 + 10
