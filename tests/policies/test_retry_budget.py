"""The retry budget: retries never cost more than their share."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dataflow.policies.retry_budget import SLOTS, BudgetState, RetryBudget, note_call, take

budgets = st.builds(
    RetryBudget,
    share=st.sampled_from([0.0, 0.1, 0.29, 1.0]),
    window=st.sampled_from([1.0, 7.0, 60.0, 3600.0]),
    minimum=st.integers(0, 12),
)
steps = st.lists(st.tuples(st.sampled_from([0.0, 0.003, 0.02, 0.3, 1.1]), st.integers(0, 40), st.integers(0, 8)))
"""(share of the window that passes, calls, retries asked for)"""


def called(budget: RetryBudget, state: BudgetState, *, calls: int, now: float) -> BudgetState:
    for _ in range(calls):
        state = note_call(budget, state, now=now)
    return state


def granted(budget: RetryBudget, state: BudgetState, *, asked: int, now: float) -> tuple[BudgetState, int]:
    count = 0
    for _ in range(asked):
        state, fine = take(budget, state, now=now)
        count += fine
    return state, count


def test_few_calls_have_the_minimum() -> None:
    assert granted(RetryBudget(), BudgetState(), asked=50, now=1000)[1] == 10


def test_many_calls_pay_for_a_tenth() -> None:
    state = called(RetryBudget(), BudgetState(), calls=1000, now=1000)
    assert granted(RetryBudget(), state, asked=500, now=1030)[1] == 100


def test_what_was_called_and_retried_a_window_ago_is_forgotten() -> None:
    budget = RetryBudget()
    state, _ = granted(budget, called(budget, BudgetState(), calls=1000, now=1000), asked=500, now=1000)
    assert granted(budget, state, asked=50, now=1060.999)[1] == 0
    assert granted(budget, state, asked=50, now=1061)[1] == 10


def test_calls_stop_paying_with_the_window_and_retries_without_calls_are_remembered() -> None:
    budget = RetryBudget()
    state = called(budget, BudgetState(), calls=1000, now=1000)
    assert granted(budget, state, asked=500, now=1059.999)[1] == 100
    assert granted(budget, state, asked=500, now=1060)[1] == 10
    state, _ = granted(budget, BudgetState(), asked=10, now=1000)
    assert granted(budget, state, asked=10, now=1030)[1] == 0


def test_every_call_of_a_dead_provider_costs_a_tenth_more_at_most() -> None:
    budget, state, retries = RetryBudget(), BudgetState(), 0
    for call in range(5000):
        state = note_call(budget, state, now=call * 0.01)
        state, count = granted(budget, state, asked=2, now=call * 0.01)
        retries += count
    assert 490 <= retries <= 500


@given(budget=budgets, steps=steps)
def test_no_window_that_ends_with_a_grant_has_more_retries_than_its_calls_pay_for(
    budget: RetryBudget, steps: list[tuple[float, int, int]]
) -> None:
    state, now = BudgetState(), 0.0
    calls: list[float] = []
    grants: list[float] = []
    for passed, count, asked in steps:
        now += passed * budget.window
        state = called(budget, state, calls=count, now=now)
        calls += [now] * count
        state, fine = granted(budget, state, asked=asked, now=now)
        grants += [now] * fine
        if fine:
            paid = sum(at > now - budget.window for at in calls)
            assert sum(at > now - budget.window for at in grants) <= max(budget.minimum, budget.share * paid)
        assert len(state.past) <= SLOTS


@given(budget=budgets, steps=steps)
def test_a_retry_is_refused_only_where_one_more_slot_of_time_would_not_pay_for_it(
    budget: RetryBudget, steps: list[tuple[float, int, int]]
) -> None:
    state, now, width = BudgetState(), 0.0, budget.window / SLOTS
    calls: list[float] = []
    grants: list[float] = []
    for passed, count, asked in steps:
        now += passed * budget.window
        state = called(budget, state, calls=count, now=now)
        calls += [now] * count
        state, fine = granted(budget, state, asked=asked, now=now)
        grants += [now] * fine
        if fine < asked:
            paid = sum(at >= now - budget.window + 1.001 * width for at in calls)
            used = sum(at > now - budget.window - 1.001 * width for at in grants)
            assert used + 1 > max(budget.minimum, budget.share * paid)


def test_a_clock_that_stands_still_or_slips_back_gives_no_fresh_budget() -> None:
    state, count = granted(RetryBudget(), BudgetState(), asked=20, now=1000)
    assert (count, granted(RetryBudget(), state, asked=20, now=900)[1]) == (10, 0)
