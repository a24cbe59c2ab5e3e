"""Statistics are a dict in all that a program does with them, and a page in a notebook."""

from __future__ import annotations

import json
import pickle

import msgspec

from dataflow.outcomes import Kind, Priority
from dataflow.telemetry.report import Report
from dataflow.telemetry.statistics import ServiceStatistics, Statistics

COUNTS = Statistics(
    total_records=2,
    valid_records=2,
    services={"email": ServiceStatistics(kind=Kind.TRANSFORMATION, priority=Priority.CRITICAL, records=2, succeeded=2)},
)


def test_a_report_is_a_dict() -> None:
    report = COUNTS.report(1.0)
    assert isinstance(report, Report)
    assert report == dict(report)
    assert repr(report) == repr(dict(report))


def test_a_report_travels_as_a_dict_does() -> None:
    report = COUNTS.report(1.0)
    assert json.loads(json.dumps(report)) == report
    assert msgspec.json.decode(msgspec.json.encode(report)) == report
    assert pickle.loads(pickle.dumps(report)) == report


def test_a_report_shows_itself_in_a_notebook() -> None:
    page = COUNTS.report(1.0)._repr_html_()
    assert "2 records" in page
    assert 'aria-label="succeeded 2"' in page
