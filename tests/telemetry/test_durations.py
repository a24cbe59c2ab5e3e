from __future__ import annotations

import json
from statistics import quantiles

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.telemetry.durations import Durations

seconds = st.floats(min_value=1e-6, max_value=1e4)


@given(st.lists(seconds, min_size=1, max_size=200), st.sampled_from([0.0, 0.5, 0.95, 0.99, 1.0]))
def test_a_percentile_is_within_its_error_of_the_measurement_of_that_rank(values, share):
    ranked = sorted(values)[max(1, -int(-share * len(values) // 1)) - 1]
    assert Durations.of(values).percentile(share) == pytest.approx(ranked, rel=Durations.relative_error)


def test_percentiles_agree_with_the_standard_library_on_many_values():
    values = [0.001 * 1.01**power for power in range(1_000)]
    exact = quantiles(values, n=100)
    assert Durations.of(values).percentile(0.95) == pytest.approx(exact[94], rel=0.04)


@given(st.lists(st.lists(seconds, max_size=20), max_size=5))
def test_merging_gives_what_measuring_at_once_gives(lists):
    merged = Durations.merged([Durations.of(values) for values in lists])
    at_once = Durations.of([value for values in lists for value in values])
    assert merged.total == pytest.approx(at_once.total)
    assert (merged.count, merged.longest, merged.buckets) == (at_once.count, at_once.longest, at_once.buckets)


@pytest.mark.parametrize("values", [[], [0.0], [0.0, -1.0], [1e-12, 3.0], [0.2, 0.2, 7.5]])
def test_the_state_survives_json(values):
    durations = Durations.of(values)
    assert Durations.from_dict(json.loads(json.dumps(durations.to_dict()))) == durations


def test_a_batch_counts_its_mean_once_for_each_record():
    durations = Durations.batch(2.0, records=1_000)
    assert (durations.count, durations.total, durations.longest) == (1_000, 2.0, 0.002)
    assert durations.percentile(0.5) == pytest.approx(0.002, rel=0.025)


def test_a_batch_without_records_is_zero():
    assert Durations.batch(2.0, records=0) == Durations()


def test_a_clock_that_stood_still_or_ran_backwards_counts_as_no_time():
    durations = Durations.of([0.0, -5.0])
    assert (durations.count, durations.total, durations.longest) == (2, 0.0, 0.0)
    assert durations.percentile(0.99) == 0.0


def test_nothing_measured_is_reported_as_unknown():
    report = Durations().report()
    assert [report[name] for name in ("p50", "p95", "p99", "max")] == [None] * 4


def test_the_report_says_how_far_its_percentiles_may_be_off():
    report = Durations.of([0.25] * 99 + [3.0]).report()
    assert report["relative_error"] == 0.025
    assert report["p99"] == pytest.approx(0.25, rel=0.025)
    assert report["max"] == 3.0


def test_a_thousand_different_durations_take_little_room():
    durations = Durations.of([0.01 * 1.005**power for power in range(1_000)])
    assert len(json.dumps(durations.to_dict())) < 2_000
