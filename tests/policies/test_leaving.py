"""Answers that are paid for, or scarce, leave their host within seconds; others when it costs little."""

from __future__ import annotations

import pytest

from dataflow.policies.leaving import LATE, SOON, Leaving, leaving
from dataflow.policies.rate import read_rates


@pytest.mark.parametrize(
    ("priced", "rate", "expected"),
    [(True, None, SOON), (False, None, LATE), (False, "50/s", LATE), (False, "1000/day", SOON), (True, "50/s", SOON)],
)
def test_what_is_paid_for_or_scarce_leaves_soon(priced: bool, rate: str | None, expected: Leaving) -> None:
    rates = () if rate is None else read_rates(rate, where="test")
    assert leaving(priced=priced, rates=rates) == expected
