"""How old answers are, merged and written; and what is left of counts for a run that takes a partition over."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.outcomes import Kind, Priority
from dataflow.telemetry.given import NOTHING_GIVEN, Given
from dataflow.telemetry.statistics import Durations, ServiceStatistics, Statistics, Waited, unbalanced

MOMENTS = st.none() | st.floats(1.0, 2e9)
SOME = st.builds(Given, records=st.integers(1, 9), found=MOMENTS, missed=MOMENTS)


@given(parts=st.lists(SOME | st.just(NOTHING_GIVEN), max_size=5))
def test_the_oldest_of_all_answers_counts(parts: list[Given]) -> None:
    whole = Given.merged(parts)
    assert whole.records == sum(part.records for part in parts)
    for name in ("found", "missed"):
        moments = [getattr(part, name) for part in parts if getattr(part, name) is not None]
        assert getattr(whole, name) == min(moments, default=None)


@given(one=SOME)
def test_it_is_kept_with_the_counts_of_a_service_and_is_no_part_of_the_public_form(one: Given) -> None:
    part = ServiceStatistics(kind=Kind.ENRICHMENT, priority=Priority.IMPORTANT, records=1, cached=1, given=one)
    again = ServiceStatistics.from_dict(json.loads(json.dumps(part.to_dict())))
    assert again == part
    assert "given" not in part.report()


def counted(kind: Kind) -> ServiceStatistics:
    return ServiceStatistics(
        kind=kind,
        priority=Priority.IMPORTANT,
        records=10,
        calls=9,
        succeeded=4,
        cached=1,
        not_found=2,
        skipped=3,
        deduplicated=2,
        retries=3,
        cost=0.5,
        duration=Durations.of([0.1] * 9),
        waited=Waited(rate=3.0),
        shared={"succeeded": 2},
        given=Given(records=7, found=5.0, missed=6.0),
    )


@pytest.mark.parametrize(("asked", "succeeded", "cached"), [(["api"], 0, 5), ([], 4, 1)])
def test_what_is_taken_over_keeps_its_outcomes_and_costs_nothing(asked: list[str], succeeded: int, cached: int) -> None:
    made = Statistics(total_records=10, valid_records=10, cost=0.5, services={"api": counted(Kind.ENRICHMENT)})
    taken = made.as_taken_over(asked)
    part = taken.services["api"]
    assert (part.succeeded, part.cached, part.not_found, part.skipped) == (succeeded, cached, 2, 3)
    assert (part.calls, part.retries, part.deduplicated, part.cost, taken.cost) == (0, 0, 0, 0.0, 0.0)
    assert (part.duration, part.waited, part.shared) == (Durations(), Waited(), {})
    assert part.given == made.services["api"].given
    assert unbalanced(taken, output=10, rejects=0) == []
    assert taken.as_taken_over(asked) == taken
