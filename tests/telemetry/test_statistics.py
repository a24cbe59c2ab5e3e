from __future__ import annotations

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.errors import StoreError
from dataflow.outcomes import Kind, Priority, Status
from dataflow.telemetry.statistics import (
    ColumnStatistics,
    Durations,
    ServiceStatistics,
    Statistics,
    Streak,
    Waited,
    unbalanced,
)
from dataflow.telemetry.tokens import Tokens

counts = st.integers(0, 10**9)
exact = st.integers(0, 10**6).map(lambda number: number / 1024)
"""Numbers whose sums are exact as floats, so that equal means equal."""

SERVICES = {
    "email": (Kind.TRANSFORMATION, Priority.CRITICAL),
    "email_syntax": (Kind.VALIDATION, Priority.CRITICAL),
    "company": (Kind.ENRICHMENT, Priority.IMPORTANT),
}
COLUMNS = {"amount": ("int64", st.integers()), "name": ("string", st.text(max_size=80))}


streaks = st.builds(
    Streak, calls=st.integers(1, 3), error=st.sampled_from("AB"), file=st.sampled_from("ab"), row=st.integers(1, 3)
)


@st.composite
def service_statistics(draw, kind, priority):
    statuses = {status.value: draw(counts) for status in Status}
    names = ("calls", "deduplicated", "retries")
    return ServiceStatistics(
        kind=kind,
        priority=priority,
        records=sum(statuses.values()),
        **statuses,
        **{name: draw(counts) for name in names},
        cost=draw(exact),
        tokens=Tokens(input=draw(counts), output=draw(counts)),
        duration=Durations.of(draw(st.lists(exact, max_size=5))),
        waited=Waited(rate=draw(exact), concurrency=draw(exact), breaker=draw(exact), budget=draw(exact)),
        errors=draw(st.dictionaries(st.sampled_from(["KeyError", "timeout", "HTTP 500"]), counts)),
        shared=draw(st.dictionaries(st.sampled_from(list(Status)).map(str), counts)),
        streak=draw(st.none() | streaks),
    )


@st.composite
def column_statistics(draw, kind, values):
    low, high = sorted([draw(values), draw(values)])
    bounds = draw(st.sampled_from([{}, {"min": low, "max": high}]))
    return ColumnStatistics(type=kind, nulls=draw(counts), **bounds)


@st.composite
def partitions(draw):
    services = draw(st.sets(st.sampled_from(sorted(SERVICES))))
    columns = draw(st.sets(st.sampled_from(sorted(COLUMNS))))
    valid, invalid, rejected = draw(counts), draw(counts), draw(counts)
    return Statistics(
        total_records=valid + invalid + rejected,
        valid_records=valid,
        invalid_records=invalid,
        rejected_records=rejected,
        not_attempted_records=draw(counts),
        degraded_records=draw(counts),
        batches_processed=draw(counts),
        completeness_sum=draw(exact),
        completeness_count=draw(counts),
        failed_records=draw(counts),
        cost=draw(exact),
        services={name: draw(service_statistics(*SERVICES[name])) for name in services},
        columns={name: draw(column_statistics(*COLUMNS[name])) for name in columns},
    )


def local(**values):
    given_values = {"kind": Kind.TRANSFORMATION, "priority": Priority.CRITICAL, **values}
    return ServiceStatistics(**given_values)


@given(partitions(), partitions(), partitions())
def test_merging_does_not_depend_on_how_partitions_are_grouped(one, two, three):
    assert one.merge(two).merge(three) == one.merge(two.merge(three)) == Statistics.merged([one, two, three])


@given(partitions(), partitions())
def test_merging_does_not_depend_on_the_order(one, two):
    assert one.merge(two) == two.merge(one)


@given(partitions())
def test_zero_changes_nothing(one):
    assert one.merge(Statistics()) == one == Statistics().merge(one)


@given(partitions())
def test_the_state_survives_json_and_pickle(one):
    assert Statistics.from_dict(json.loads(json.dumps(one.to_dict()))) == one
    assert pickle.loads(pickle.dumps(one)) == one


@given(st.lists(partitions(), max_size=4))
def test_sums_that_hold_in_every_partition_hold_in_the_whole(parts):
    assert unbalanced(Statistics.merged(parts)) == []


@given(partitions(), partitions())
def test_the_report_adds_up(one, two):
    report = one.merge(two).report(duration=10.0)
    kept = report["valid_records"] + report["invalid_records"]
    assert report["total_records"] == kept + report["rejected_records"]
    for service in report["services"].values():
        assert service["records"] == sum(service[status.value] for status in Status)
    answered = [part["succeeded"] + part["cached"] for part in report["services"].values()]
    names = ("transformations_applied", "validations_run", "enrichments_added")
    assert sum(report[name] for name in names) == sum(answered)


def test_more_partitions_than_are_merged_at_once_are_all_counted():
    part = Statistics(total_records=3, services={"email": local(records=3, succeeded=3)})
    merged = Statistics.merged(part for _ in range(1_000))
    assert (merged.total_records, merged.services["email"].succeeded) == (3_000, 3_000)


def test_many_small_costs_add_up_to_the_cent():
    part = Statistics(cost=0.1, services={"company": local(cost=0.1)})
    report = Statistics.merged([part] * 10_000).report(duration=1.0)
    assert (report["cost"], report["services"]["company"]["cost"]) == (1000.0, 1000.0)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"valid_records": 7}, "valid + invalid + rejected = 10, but total records = 9"),
        ({"total_records": 1_000}, "valid + invalid + rejected = 9, but total records = 1,000"),
        ({"invalid_records": 3}, "valid + invalid = 9, but rows of the output = 8"),
        ({"rejected_records": 2}, "rejected = 2, but rows of the rejects = 1"),
        (
            {"services": {"email": local(records=9, succeeded=7, skipped=1)}},
            "service email: its statuses = 8, but its records = 9",
        ),
    ],
)
def test_every_broken_sum_is_named(change, sentence):
    right = {"total_records": 9, "valid_records": 6, "invalid_records": 2, "rejected_records": 1}
    assert unbalanced(Statistics(**right), output=8, rejects=1) == []
    assert sentence in unbalanced(Statistics(**{**right, **change}), output=8, rejects=1)


@pytest.mark.parametrize("status", list(Status))
def test_every_status_belongs_to_the_sum_of_a_service(status):
    assert unbalanced(Statistics(services={"email": local(records=5, **{status.value: 5})})) == []
    assert unbalanced(Statistics(services={"email": local(records=4, **{status.value: 5})})) != []


def test_shared_calls_and_retries_do_not_belong_to_the_sum_of_a_service():
    service = local(records=5, succeeded=5, deduplicated=3, retries=2, calls=4)
    assert unbalanced(Statistics(services={"email": service})) == []


def test_partitions_of_different_plans_are_refused_by_name():
    one = Statistics(services={"email": local()})
    two = Statistics(services={"email": local(priority=Priority.OPTIONAL)})
    with pytest.raises(StoreError, match=r"'email'.*critical transformation.*optional transformation"):
        one.merge(two)


def test_applied_services_are_counted_by_kind():
    statistics = Statistics(
        services={
            "email": local(succeeded=5, failed=1),
            "domain": local(succeeded=4, cached=1),
            "email_syntax": local(kind=Kind.VALIDATION, succeeded=3),
            "company": local(kind=Kind.ENRICHMENT, succeeded=1, cached=2, not_found=7),
        }
    )
    found = (statistics.transformations_applied, statistics.validations_run, statistics.enrichments_added)
    assert found == (10, 3, 3)


def test_the_report_has_the_public_names_in_their_order():
    service = local(records=2, calls=3, succeeded=2, retries=1, duration=Durations.of([0.5, 0.5, 0.5]))
    statistics = Statistics(
        total_records=2, valid_records=2, services={"email": service}, columns={"a": ColumnStatistics(type="string")}
    )
    report = statistics.report(duration=4.0)
    assert " ".join(report) == (
        "total_records valid_records invalid_records rejected_records not_attempted_records degraded_records "
        "transformations_applied validations_run enrichments_added batches_processed total_duration "
        "records_per_second completeness cost services columns"
    )
    assert " ".join(report["services"]["email"]) == (
        "kind priority records calls succeeded cached deduplicated not_found failed timed_out skipped "
        "not_attempted retries cost duration waited errors"
    )
    assert list(report["services"]["email"]["duration"]) == ["p50", "p95", "p99", "max", "relative_error"]
    assert list(report["services"]["email"]["waited"]) == [
        "rate",
        "concurrency",
        "breaker",
        "budget",
        "provider",
        "plane",
    ]
    assert list(report["columns"]["a"]) == ["type", "nulls", "min", "max"]


def test_the_report_is_plain_json_with_rates_and_means():
    statistics = Statistics(total_records=10, valid_records=10, completeness_sum=2.0, completeness_count=4)
    report = json.loads(json.dumps(statistics.report(duration=4.0), allow_nan=False))
    assert (report["records_per_second"], report["completeness"], report["total_duration"]) == (2.5, 0.5, 4.0)


def test_what_cannot_be_known_is_null_in_the_report():
    report = Statistics().report(duration=0.0)
    assert (report["records_per_second"], report["completeness"]) == (None, None)


def test_the_most_frequent_error_is_reported_first():
    report = local(errors={"KeyError": 1, "timeout": 5, "HTTP 500": 1}).report()
    assert list(report["errors"]) == ["timeout", "HTTP 500", "KeyError"]


def test_the_state_of_an_ordinary_partition_is_a_few_kilobytes():
    duration = Durations.batch(0.2, records=10_000)
    service = local(records=10_000, calls=1, succeeded=9_990, failed=10, duration=duration, errors={"KeyError": 10})
    column = ColumnStatistics(type="string", nulls=12, min="a" * 20, max="z" * 20)
    statistics = Statistics(
        total_records=10_000,
        services={f"service_{number}": service for number in range(10)},
        columns={f"column_{number}": column for number in range(15)},
    )
    assert len(json.dumps(statistics.to_dict())) < 5_000


def test_the_repr_is_one_short_line():
    statistics = Statistics(total_records=1_204, valid_records=1_000, invalid_records=200, rejected_records=4)
    assert repr(statistics) == (
        "Statistics(1,204 records: 1,000 valid, 200 invalid, 4 rejected; 0 services, 0 columns)"
    )


def test_records_that_shared_a_call_count_once_where_calls_are_asked_for():
    service = local(failed=50, not_found=7, succeeded=9, deduplicated=45, shared={"failed": 41, "not_found": 4})
    assert service.calls_ending(Status.FAILED) == 9
    assert service.calls_ending(Status.FAILED, Status.TIMED_OUT, Status.NOT_FOUND) == 12
    assert local(failed=50).calls_ending(Status.FAILED) == 50


def test_the_longest_streak_of_all_partitions_stays_and_of_equal_ones_the_first_by_place():
    streaks = [None, Streak(calls=3, error="B", file="b", row=1), Streak(calls=3, error="A", file="a", row=9), None]
    parts = [local(streak=one) for one in streaks]
    assert ServiceStatistics.merged("x", parts).streak == streaks[2]
    assert ServiceStatistics.merged(
        "x", [*parts, local(streak=Streak(calls=4, error="C", file="z", row=1))]
    ).streak == (Streak(calls=4, error="C", file="z", row=1))


def test_what_guardrails_need_is_no_part_of_the_public_form():
    service = local(shared={"failed": 1}, streak=Streak(calls=1, error="A", file="a", row=1))
    report = Statistics(failed_records=3, services={"email": service}).report(1.0)
    assert not {"failed_records"} & report.keys()
    assert not {"shared", "streak"} & report["services"]["email"].keys()


def test_tokens_are_reported_where_there_are_any():
    plain = ServiceStatistics(kind=Kind.ENRICHMENT, priority=Priority.IMPORTANT)
    model = ServiceStatistics(kind=Kind.ENRICHMENT, priority=Priority.IMPORTANT, tokens=Tokens(input=3, output=4))
    assert "tokens" not in plain.report()
    both = ServiceStatistics.merged("both", [plain, model, model])
    assert both.report()["tokens"] == {"input": 6, "output": 8}
