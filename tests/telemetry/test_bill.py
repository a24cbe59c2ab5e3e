"""A bill is what was called; what its records do not account for was lost."""

from __future__ import annotations

from dataflow.faces.view import view_statistics
from dataflow.outcomes import Kind, Priority
from dataflow.telemetry.services import ServiceStatistics
from dataflow.telemetry.statistics import Statistics, called_in


def service(calls: int, cost: float, **more: int) -> ServiceStatistics:
    return ServiceStatistics(kind=Kind.ENRICHMENT, priority=Priority.IMPORTANT, calls=calls, cost=cost, **more)


KNOWN = Statistics(
    total_records=8, valid_records=8, cost=8.0, currency="USD", services={"a": service(8, 8.0, records=8, succeeded=8)}
)


def test_what_no_record_accounts_for_was_lost_and_is_said_in_words_of_its_own() -> None:
    bill = KNOWN.billed({"a": service(10, 10.5), "b": service(1, 2.0)}, currency="USD")
    assert (bill.cost, bill.services["a"].calls, bill.services["a"].succeeded) == (12.5, 10, 8)
    assert bill.services["a"].lost_cost == 2.5
    assert bill.lost_cost == 4.5
    assert "cost USD 8.00, and 4.50 for calls of lost partitions" in view_statistics(bill.report(1.0)).summary


def test_a_bill_survives_its_state_and_its_public_form() -> None:
    bill = KNOWN.billed({"a": service(10, 10.5)})
    assert Statistics.from_dict(bill.to_dict()) == bill
    assert KNOWN.billed(called_in(bill.report(1.0))) == bill
