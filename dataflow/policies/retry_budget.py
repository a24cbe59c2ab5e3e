"""Retry budget: retries cost at most a share of the calls, so that a dead provider is not called three times as often.

Pure: the state is a value, the time an argument. It is called once for each call, so a step within one slot of
time only counts, and the past is summed up once a slot.
"""

from __future__ import annotations

from dataclasses import dataclass

SLOTS = 60
"""Into which a window is cut: seconds for the default window; memory and error are bounded by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryBudget:
    """How many retries the calls pay for.

    Attributes:
        share: Of the calls in the window. 10 %: a provider in trouble gets at most that much more to do.
        window: Seconds that are looked back on.
        minimum: Retries in a window that are always allowed, without which few calls could never retry.
    """

    share: float = 0.1
    window: float = 60.0
    minimum: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetState:
    """What was called and retried in the last window; begin with `BudgetState()`.

    Attributes:
        slot: Number of the current slot of time.
        calls: In the current slot.
        retries: Granted in the current slot.
        past: (slot, calls, retries) of the 60 slots before, without empty ones, in order.
        past_calls: In the 59 slots before, which with the current one are no longer than the window.
        past_retries: In the 60 slots before, which with the current one are no shorter than the window.
    """

    slot: int = 0
    calls: int = 0
    retries: int = 0
    past: tuple[tuple[int, int, int], ...] = ()
    past_calls: int = 0
    past_retries: int = 0


def note_call(budget: RetryBudget, state: BudgetState, *, now: float) -> BudgetState:
    """The state after a first attempt; retries are noted by `take` and pay for nothing."""
    return _counted(_at(budget, state, now=now), calls=1, retries=0)


def take(budget: RetryBudget, state: BudgetState, *, now: float) -> tuple[BudgetState, bool]:
    """The state after asking for a retry, and whether it is granted.

    The bound: in the window that ends with any grant, the retries granted (this one included) are at most
    `max(minimum, share * calls in that window)`. Slots err on the strict side: a call stops paying up to one
    slot (a second by default) early, a retry is forgotten up to one slot late. A window that ends between
    grants has no more retries than the one that ends with its last grant.
    """
    state = _at(budget, state, now=now)
    retries = state.past_retries + state.retries + 1
    if retries > budget.minimum and retries > budget.share * (state.past_calls + state.calls):
        return state, False
    return _counted(state, calls=0, retries=1), True


def _counted(state: BudgetState, *, calls: int, retries: int) -> BudgetState:
    return BudgetState(
        slot=state.slot,
        calls=state.calls + calls,
        retries=state.retries + retries,
        past=state.past,
        past_calls=state.past_calls,
        past_retries=state.past_retries,
    )


def _at(budget: RetryBudget, state: BudgetState, *, now: float) -> BudgetState:
    slot = int(now // (budget.window / SLOTS))
    if slot <= state.slot:
        return state
    past = tuple(one for one in (*state.past, (state.slot, state.calls, state.retries)) if _matters(one, slot))
    return BudgetState(
        slot=slot,
        past=past,
        past_calls=sum(calls for at, calls, _ in past if at > slot - SLOTS),
        past_retries=sum(retries for _, _, retries in past),
    )


def _matters(one: tuple[int, int, int], slot: int) -> bool:
    return one[0] >= slot - SLOTS and (one[1] > 0 or one[2] > 0)
