"""Money is counted in whole trillionths, and nothing of it is lost or invented."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.policies.money import amount, cleaned, for_tokens, shared_out, trillionths, written


@pytest.mark.parametrize(
    ("given", "money"),
    [
        (0, 0),
        (1, 10**12),
        (0.01, 10**10),
        (0.1, 10**11),
        (0.1 + 0.2, 3 * 10**11),
        (0.0000001, 10**5),
        (1e-12, 1),
        (1e-15, 1),
        (1.4e-12, 1),
        (1.6e-12, 2),
        (Decimal("0.29"), 29 * 10**10),
        (2.5e15, 25 * 10**26),
    ],
)
def test_an_amount_is_what_it_shows_rounded_to_a_trillionth(given: float, money: int) -> None:
    assert trillionths(given) == money


@pytest.mark.parametrize("given", [-0.01, float("nan"), float("inf"), Decimal("NaN")])
def test_what_is_no_amount_is_refused(given: float) -> None:
    with pytest.raises(ValueError, match="number from 0"):
        trillionths(given)


@pytest.mark.parametrize("given", [True, "1", None, 1j])
def test_what_is_no_number_is_refused(given: object) -> None:
    with pytest.raises(TypeError):
        trillionths(given)  # type: ignore[arg-type]


def test_tokens_are_added_before_they_are_rounded() -> None:
    prices = (Decimal("0.15"), Decimal("0.6"))
    assert for_tokens(zip((1, 1), prices, strict=True)) == trillionths(0.00000075)
    assert for_tokens(zip((1_000_000, 1_000_000), prices, strict=True)) == trillionths(0.75)
    assert for_tokens([(10, Decimal("0.02"))]) == trillionths(0.0000002)
    assert for_tokens([(1, Decimal("0.0000004")), (1, Decimal("0.0000004"))]) == 1
    assert for_tokens(zip((0, 0), prices, strict=True)) == 0


@pytest.mark.parametrize(
    ("money", "text"),
    [(0, "USD 0.00"), (10**10, "USD 0.01"), (12_345 * 10**11, "USD 1,234.50"), (10, "USD 0.00000000001")],
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
    assert trillionths(amount(money)) == money


_PRICES = st.decimals(min_value=0, max_value=100, places=9)


@given(st.lists(st.tuples(_PRICES, st.integers(0, 10_000)), max_size=20))
def test_calls_cost_together_what_decimals_come_to(calls: list[tuple[Decimal, int]]) -> None:
    exact = sum((price * times for price, times in calls), Decimal(0))
    assert sum(trillionths(price) * times for price, times in calls) == trillionths(exact)
    costs = [amount(trillionths(price) * times) for price, times in calls]
    if exact < 1000:
        assert cleaned(math.fsum(costs)) == float(exact)


@given(st.lists(st.tuples(st.integers(0, 10**6), st.decimals(min_value=0, max_value=100, places=6)), max_size=5))
def test_tokens_cost_exactly_what_decimals_come_to(tokens: list[tuple[int, Decimal]]) -> None:
    exact = sum((count * price for count, price in tokens), Decimal(0)) / 10**6
    assert Decimal(for_tokens(tokens)) / 10**12 == exact


def test_a_decimal_context_of_a_job_changes_nothing() -> None:
    with localcontext() as context:
        context.prec = 3
        assert trillionths(1234.567891) == 1_234_567_891 * 10**6
        assert for_tokens([(123_457, Decimal("1.234567"))]) == 123_457 * 1_234_567
