"""Statistics in a notebook: every number, and small pictures beside them."""

from __future__ import annotations

from typing import Any

from dataflow.faces.counts import statistics_html

EVIL = "<script>alert(1)</script>"
TIMES = {"p50": 0.08, "p95": 0.12, "p99": 0.3, "max": 1.2}
REPORT: dict[str, Any] = {
    "total_records": 1_000,
    "valid_records": 900,
    "invalid_records": 60,
    "rejected_records": 40,
    "completeness": 0.75,
    "services": {
        "email": {"succeeded": 1_000, "duration": {"p50": None, "p95": None, "max": None}},
        "company": {"succeeded": 700, "failed": 40, "skipped": 260, "duration": TIMES, "errors": {"HTTP 500": 40}},
    },
}


def test_records_and_completeness_have_bars() -> None:
    page = statistics_html(REPORT)
    assert 'aria-label="valid 900, invalid 60, rejected 40"' in page
    assert 'aria-label="75 %"' in page


def test_each_service_has_a_bar_of_its_outcomes_and_the_marks_of_its_durations() -> None:
    page = statistics_html(REPORT)
    assert 'aria-label="succeeded 1,000"' in page
    assert 'aria-label="succeeded 700, failed 40, skipped 260"' in page
    assert 'aria-label="p50 80 ms, p95 120 ms, max 1.2 s"' in page
    assert "10 ms .. 10 s" in page


def test_numbers_stand_beside_the_pictures() -> None:
    page = statistics_html(REPORT)
    for told in (">700</td>", ">40</td>", ">260</td>", "1.2 s", "company: HTTP 500 40"):
        assert told in page


def test_the_legend_names_what_is_there_and_nothing_else() -> None:
    legend = statistics_html(REPORT).rpartition("</table>")[2]
    assert "succeeded" in legend
    assert "median" in legend
    assert "timed out" not in legend


def test_without_durations_there_is_no_axis() -> None:
    report = {"total_records": 1, "services": {"email": {"succeeded": 1}}}
    assert "median" not in statistics_html(report)


def test_statistics_without_services_are_a_line() -> None:
    assert statistics_html({"total_records": 0}) == "<div>0 records</div>"


def test_names_of_services_are_text(tags: Any) -> None:
    for name in (EVIL, "x" * 10_000, "שלום 🚀"):
        page = statistics_html({"total_records": 1, "services": {name: {"succeeded": 1, "errors": {EVIL: 1}}}})
        read = tags(page)
        assert "script" not in read.seen
        assert read.open == []
        assert len(page) < 10_000
