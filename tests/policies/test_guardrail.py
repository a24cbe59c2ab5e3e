"""When a run goes so badly that it should end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.policies.guardrail import MaxFailures, Stretch, expected, longest_stretch, too_few_found

ONE_PERCENT = MaxFailures(share=0.01)
counts = st.integers(0, 10**9)


@pytest.mark.parametrize(
    ("whole", "limit"),
    [
        (0, 1),
        (1, 1),
        (2, 1),
        (4, 1),
        (5, 1),
        (9, 1),
        (10, 2),
        (90, 18),
        (99, 19),
        (100, 20),
        (499, 99),
        (500, 100),
        (501, 100),
        (10_000, 100),
        (10_001, 100),
        (10_099, 100),
        (10_100, 101),
        (100_000, 1_000),
        (1_000_000, 10_000),
    ],
)
def test_by_default_a_run_survives_one_percent_and_of_a_small_one_a_fifth(whole: int, limit: int) -> None:
    assert MaxFailures().limit(whole) == limit
    assert MaxFailures().exceeded(limit, whole=whole) is None
    assert MaxFailures().exceeded(limit + 1, whole=whole) == limit


@pytest.mark.parametrize(
    ("allowed", "whole", "limit"),
    [
        (MaxFailures(share=0.0), 1_000_000, 100),
        (MaxFailures(share=0.0), 10, 2),
        (MaxFailures(share=0.5), 10, 5),
        (MaxFailures(share=0.29), 100, 29),
        (MaxFailures(share=0.57), 100, 57),
        (MaxFailures(share=1.0), 5_000, 5_000),
        (MaxFailures(count=0), 1_000_000, 0),
        (MaxFailures(count=7), 1_000_000, 7),
        (MaxFailures(count=7), 3, 7),
    ],
)
def test_a_share_has_the_same_floor_whoever_names_it_and_a_count_is_the_count(
    allowed: MaxFailures, whole: int, limit: int
) -> None:
    assert allowed.limit(whole) == limit
    assert allowed.exceeded(limit, whole=whole) is None
    assert allowed.exceeded(limit + 1, whole=whole) == limit


@given(whole=counts, more=counts, share=st.floats(0, 1))
def test_a_longer_run_never_survives_less_and_no_run_more_than_it_has(whole: int, more: int, share: float) -> None:
    allowed = MaxFailures(share=share)
    assert 1 <= allowed.limit(whole) <= allowed.limit(whole + more)
    assert allowed.limit(whole) <= max(1, whole)


@pytest.mark.parametrize(
    ("failures", "records", "unpublished"),
    [(0, 0, False), (0, 1, False), (1, 1, True), (1, 2, False), (2, 3, True), (45, 90, False), (46, 90, True)],
)
def test_more_than_half_of_the_records_are_too_many_to_publish_at_any_size(
    failures: int, records: int, unpublished: bool
) -> None:
    for allowed in (MaxFailures(), MaxFailures(share=0.99, given=True), MaxFailures(count=records, given=True)):
        assert allowed.too_many_to_publish(failures, records=records) == unpublished
    assert not MaxFailures(share=1.0, given=True).too_many_to_publish(failures, records=records)


@pytest.mark.parametrize(
    ("allowed", "records", "all_of_them"),
    [
        (MaxFailures(share=1.0), 10**6, True),
        (MaxFailures(share=0.99), 10**6, False),
        (ONE_PERCENT, 50, False),
        (MaxFailures(share=0.0, count=500), 500, True),
        (MaxFailures(share=0.0, count=499), 500, False),
    ],
)
def test_only_who_says_so_accepts_that_everything_fails(allowed: MaxFailures, records: int, all_of_them: bool) -> None:
    assert allowed.allows_all(records) == all_of_them


@given(failures=counts, whole=counts, share=st.floats(0, 1))
def test_no_more_failures_and_no_lower_share_ever_let_a_run_go_on(failures: int, whole: int, share: float) -> None:
    if MaxFailures(share=share).exceeded(failures, whole=whole) is not None:
        assert MaxFailures(share=share).exceeded(failures + 1, whole=whole) is not None
        assert MaxFailures(share=share / 2).exceeded(failures, whole=whole) is not None


@given(failures=counts, more=counts, seen=st.integers(1, 10**6), rest=counts, share=st.floats(0, 1))
def test_a_run_within_its_share_so_far_is_never_ended(
    failures: int, more: int, seen: int, rest: int, share: float
) -> None:
    calls = failures + more
    whole = expected(calls, seen=seen, records=seen + rest)
    assert whole >= calls
    if failures <= share * calls:
        assert MaxFailures(share=share).exceeded(failures, whole=whole) is None


@pytest.mark.parametrize(
    ("calls", "seen", "records", "whole"),
    [
        (0, 0, 1000, 0),
        (10, 0, 1000, 1000),
        (10, 0, 5, 10),
        (10, 100, 1000, 100),
        (10, 100, 100, 10),
        (10, 100, 50, 10),
        (1000, 1000, 10**6, 10**6),
    ],
)
def test_the_calls_of_a_run_are_expected_from_those_so_far(calls: int, seen: int, records: int, whole: int) -> None:
    assert expected(calls, seen=seen, records=records) == whole


@pytest.mark.parametrize(
    ("calls", "stretch"),
    [
        ([], None),
        ([(4, 5)], Stretch(4, 1)),
        ([(0, 1), (1, 2), (3, 4)], Stretch(0, 2)),
        ([(0, 1), (2, 3), (3, 4), (4, 5), (9, 10)], Stretch(2, 3)),
        ([(0, 1), (1, 2), (5, 6), (6, 7)], Stretch(0, 2)),
        ([(0, 5000)], Stretch(0, 1)),
        ([(0, 10), (10, 400), (400, 401)], Stretch(0, 3)),
    ],
)
def test_the_longest_stretch_counts_calls_and_ends_at_a_gap(
    calls: list[tuple[int, int]], stretch: Stretch | None
) -> None:
    assert longest_stretch(calls) == stretch


@given(st.lists(st.booleans(), max_size=40))
def test_the_longest_stretch_is_what_plain_looking_finds(raised: list[bool]) -> None:
    found = longest_stretch((at, at + 1) for at, bad in enumerate(raised) if bad)
    length = max((len(part) for part in "".join("x" if bad else " " for bad in raised).split()), default=0)
    assert (0 if found is None else found.calls) == length
    if found is not None:
        assert all(raised[found.start : found.start + length])
        assert found.start == 0 or not raised[found.start - 1]


@pytest.mark.parametrize(
    ("found", "asked", "over", "ends"),
    [
        (0, 99, False, False),
        (0, 100, False, True),
        (19, 100, False, True),
        (20, 100, False, False),
        (0, 9, True, False),
        (0, 10, True, True),
        (1, 10, True, True),
        (2, 10, True, False),
        (0, 0, True, False),
    ],
)
def test_too_little_found_ends_a_run_from_a_hundred_answers_or_ten_at_its_end(
    found: int, asked: int, over: bool, ends: bool
) -> None:
    assert too_few_found(found, asked=asked, share=0.2, over=over) == ends


@given(asked=counts, over=st.booleans(), data=st.data())
def test_a_share_of_nothing_never_ends_a_run_and_more_found_never_ends_one_that_goes_on(
    asked: int, over: bool, data: st.DataObject
) -> None:
    found = data.draw(st.integers(0, asked))
    share = data.draw(st.floats(0, 1))
    assert not too_few_found(found, asked=asked, share=0.0, over=over)
    if not too_few_found(found, asked=asked, share=share, over=over):
        assert not too_few_found(min(found + 1, asked), asked=asked, share=share, over=over)
