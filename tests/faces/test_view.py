from __future__ import annotations

from dataclasses import replace

from dataflow.faces.view import view_dataset, view_result, view_run, view_statistics
from dataflow.outcomes import Kind, Outcome, Priority, Status
from dataflow.store.dataset import Dataset
from dataflow.telemetry.durations import Durations
from dataflow.telemetry.statistics import ServiceStatistics, Statistics
from dataflow.telemetry.tokens import Tokens
from dataflow.wiring.result import Metadata, Result
from dataflow.wiring.run import Run

EMAIL = ServiceStatistics(kind=Kind.TRANSFORMATION, priority=Priority.CRITICAL, records=100, succeeded=100)
COMPANY = ServiceStatistics(
    kind=Kind.ENRICHMENT,
    priority=Priority.IMPORTANT,
    records=100,
    succeeded=1,
    failed=99,
    errors={"TimeoutError": 9, "KeyError": 90},
)
COUNTS = Statistics(
    total_records=1100,
    valid_records=1000,
    invalid_records=90,
    rejected_records=10,
    services={"email": EMAIL, "company": COMPANY},
)


def dataset(version: int | None) -> Dataset:
    manifest = {
        "rows": 1090,
        "rejected": 10,
        "bytes": 2000,
        "parts": [{}, {}],
        "run": "r1",
        "created": "2026-01-01T00:00:00+00:00",
        "key": ["id"],
        "columns": [{"name": "id", "type": "int64"}],
    }
    statistics = COUNTS.report(2.0)
    return Dataset(name="leads", version=version, path="/p", meta="/m", manifest=manifest, statistics=statistics)


def test_the_summary_leaves_out_what_is_zero():
    summary = view_statistics(COUNTS.report(2.0)).summary
    assert summary == ("1,100 records", "1,000 valid", "90 invalid", "10 rejected", "2.0 s", "550 records/s")


def test_services_show_only_outcomes_that_came_up():
    table = view_statistics(COUNTS.report(2.0)).services
    assert table.headers == ("service", "succeeded", "failed", "slowest")
    assert table.rows == (("email", "100", "", ""), ("company", "1", "99", ""))


def test_cost_and_the_slowest_call_are_shown_where_there_are_any():
    durations = Durations.of([0.5, 12.5])
    priced = ServiceStatistics(
        kind=Kind.ENRICHMENT, priority=Priority.OPTIONAL, cached=2, records=2, cost=1.5, duration=durations
    )
    view = view_statistics(Statistics(total_records=2, valid_records=2, cost=1.5, services={"a": priced}).report(1.0))
    assert "cost 1.50" in view.summary
    assert view.services.rows == (("a", "2", "1.50", "12.5 s"),)


def test_errors_are_named_the_most_frequent_first():
    assert view_statistics(COUNTS.report(2.0)).errors == (("company", "KeyError 90, TimeoutError 9"),)


def test_nothing_is_nothing():
    view = view_statistics(Statistics().report(0.0))
    assert (view.summary, view.services.rows, view.errors) == (("0 records",), (), ())


def test_a_published_run_names_its_version():
    run = Run(id="r1", output="leads", catalog="c", status="published", dataset=dataset(3), counts=COUNTS, duration=2.0)
    view = view_run(run)
    assert (view.target, view.path, view.status) == ("leads@v3", "/p", "published")
    assert view.statistics["total_records"] == 1100


def test_an_unchanged_run_shows_the_statistics_of_what_is_there():
    view = view_run(Run(id="r1", output="leads", catalog="c", status="unchanged", dataset=dataset(3)))
    assert view.statistics["total_records"] == 1100


def test_a_dataset_is_read_off_its_manifest():
    view = view_dataset(dataset(None))
    assert (view.target, view.rows, view.rejected, view.parts, view.bytes) == ("leads", 1090, 10, 2, 2000)
    assert (view.key, view.columns) == (("id",), (("id", "int64"),))


def test_a_result_parts_values_verdicts_and_failures():
    failed = Outcome(service="company", status=Status.TIMED_OUT, reason="TimeoutError")
    metadata = Metadata(
        execution_id="e",
        total_duration=0.25,
        services_executed=4,
        success_count=3,
        failure_count=1,
        failures=(failed,),
        completeness=0.5,
        cost=0.0,
        rejected=None,
    )
    verdict = {"validator": "email_ok", "is_valid": False, "errors": ["a", "b"]}
    view = view_result(Result(data={"id": 1, "validations": [verdict]}, metadata=metadata))
    assert view.summary == ("3 of 4 services succeeded", "250 ms", "50 % complete")
    assert (view.data, view.verdicts) == ((("id", 1),), (("email_ok", False, "a; b"),))
    assert view.failures == (("company", "timed_out", "TimeoutError", ""),)


def test_tokens_stand_beside_what_they_cost():
    model = replace(COMPANY, tokens=Tokens(input=12_000, output=340), cost=0.5)
    table = view_statistics(replace(COUNTS, services={"email": EMAIL, "model": model}).report(2.0)).services
    at = table.headers.index("tokens")
    assert table.headers[at + 1] == "cost"
    assert [row[at] for row in table.rows] == ["", "12,000 in, 340 out"]
