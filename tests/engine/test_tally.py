"""The counts of a partition under way."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from dataflow.engine.tally import Tally, merged_tallies, status_of
from dataflow.errors import NotFound, Skip
from dataflow.outcomes import Kind, Priority, Status
from dataflow.policies.money import trillionths
from dataflow.telemetry.services import ServiceStatistics


def tally(*seconds: float, cost: int = 0) -> Tally:
    made = Tally()
    for one in seconds:
        made.add(Status.SUCCEEDED)
        made.end(SimpleNamespace(attempts=2, retries=1, cost=cost, seconds=one, waited={"rate": 0.5}))
    return made


def test_what_is_read_is_json_that_the_statistics_of_a_service_take():
    told = json.loads(json.dumps(tally(0.1, 0.3, cost=trillionths(2.5)).read()))
    part = ServiceStatistics.from_dict({**told, "kind": Kind.ENRICHMENT, "priority": Priority.IMPORTANT})
    assert (part.records, part.succeeded, part.calls, part.retries, part.cost) == (2, 2, 4, 2, 5.0)
    assert (part.duration.count, part.waited.rate) == (2, 1.0)


def test_reading_again_forgets_nothing():
    made = tally(0.1)
    first, second = made.read(), made.read()
    assert first == second
    assert first["duration"]["count"] == 1


def test_a_call_that_was_never_attempted_has_no_duration():
    made = Tally()
    made.end(SimpleNamespace(attempts=0, retries=0, cost=0, seconds=0.0, waited={}))
    assert made.read()["duration"] == {}


def test_tasks_add_up_and_distinct_keys_count_calls_but_no_records():
    merged = merged_tallies([({"a": tally(0.1)}, True), ({"a": tally(0.2, 0.3)}, False), ({"b": tally(1.0)}, True)])
    assert (merged["a"]["records"], merged["a"]["calls"], merged["a"]["duration"]["count"]) == (1, 6, 3)
    assert merged["a"]["waited"] == {"rate": 1.5}
    assert merged["b"]["records"] == 1
    assert merged_tallies([]) == {}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, Status.SUCCEEDED),
        (NotFound(), Status.NOT_FOUND),
        (Skip("why"), Status.SKIPPED),
        (SimpleNamespace(not_attempted=True), Status.NOT_ATTEMPTED),
        (SimpleNamespace(timed_out=True), Status.TIMED_OUT),
        (ValueError(), Status.FAILED),
    ],
)
def test_an_error_says_how_its_record_has_ended(error, status):
    assert status_of(error) is status
