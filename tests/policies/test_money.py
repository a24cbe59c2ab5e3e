"""Money is counted in whole millionths, and nothing of it is lost or invented."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.policies.money import amount, for_tokens, millionths, shared_out, written


@pytest.mark.parametrize(
    ("given", "money"),
    [
        (0, 0),
        (1, 1_000_000),
        (0.01, 10_000),
        (0.1, 100_000),
        (0.1 + 0.2, 300_001),
        (1e-7, 1),
        (0.0000015, 2),
        (Decimal("0.29"), 290_000),
        (2.5e6, 2_500_000_000_000),
    ],
)
def test_an_amount_is_what_it_shows_rounded_up_to_a_millionth(given: float, money: int) -> None:
    assert millionths(given) == money


@pytest.mark.parametrize("given", [-0.01, float("nan"), float("inf"), Decimal("NaN")])
def test_what_is_no_amount_is_refused(given: float) -> None:
    with pytest.raises(ValueError, match="number from 0"):
        millionths(given)


@pytest.mark.parametrize("given", [True, "1", None, 1j])
def test_what_is_no_number_is_refused(given: object) -> None:
    with pytest.raises(TypeError):
        millionths(given)  # type: ignore[arg-type]


def test_tokens_are_added_before_they_are_rounded() -> None:
    prices = (Decimal("0.15"), Decimal("0.6"))
    assert for_tokens(zip((1, 1), prices, strict=True)) == 1
    assert for_tokens(zip((1_000_000, 1_000_000), prices, strict=True)) == 750_000
    assert for_tokens(zip((0, 0), prices, strict=True)) == 0


@pytest.mark.parametrize(
    ("money", "text"),
    [(0, "USD 0.00"), (10_000, "USD 0.01"), (1_234_500_000, "USD 1,234.50"), (1, "USD 0.000001")],
)
def test_money_is_written_with_as_many_places_as_hold_something(money: int, text: str) -> None:
    assert written(money, "USD") == text


@given(st.integers(0, 10**12), st.integers(1, 500))
def test_what_is_shared_out_comes_to_the_whole(money: int, places: int) -> None:
    parts = shared_out(money, places)
    assert sum(parts) == money
    assert max(parts) - min(parts) <= 1


@given(st.integers(0, 10**12))
def test_an_amount_goes_there_and_back(money: int) -> None:
    assert millionths(amount(money)) == money
