"""Bisection finds the records that raise, in a bounded number of calls."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.policies.bisection import CALLS, bisect


def caller(bad: set[int], log: list[tuple[int, int]] | None = None):
    def call(start: int, stop: int) -> list[int]:
        if log is not None:
            log.append((start, stop))
        if wrong := bad & set(range(start, stop)):
            raise ValueError(min(wrong))
        return list(range(start, stop))

    return call


@pytest.mark.parametrize("size", [1, 2, 3, 8, 13])
def test_poison_at_every_place_ends_alone(size: int) -> None:
    for bad in range(size):
        found = bisect(caller({bad}), size, error=ValueError(bad))
        assert [(one.start, one.stop) for one in found.poison] == [(bad, bad + 1)]
        assert [row for _, _, rows in found.pieces for row in rows] == [at for at in range(size) if at != bad]
        assert found.calls <= 2 * math.ceil(math.log2(size)) if size > 1 else found.calls == 0


@given(size=st.integers(1, 60), bad=st.sets(st.integers(0, 59), min_size=1), limit=st.integers(0, 40))
def test_every_record_is_in_one_piece_and_the_limit_holds(size: int, bad: set[int], limit: int) -> None:
    bad = {at % size for at in bad}
    log: list[tuple[int, int]] = []
    found = bisect(caller(bad, log), size, error=ValueError("whole"), limit=limit)
    spans = sorted([(start, stop) for start, stop, _ in found.pieces] + [(one.start, one.stop) for one in found.poison])
    assert [row for start, stop in spans for row in range(start, stop)] == list(range(size))
    assert found.calls == len(log) <= limit + 1
    assert bad <= {row for one in found.poison for row in range(one.start, one.stop)}
    for one in found.poison:
        assert set(range(one.start, one.stop)) & bad


@given(size=st.integers(1, 60), bad=st.sets(st.integers(0, 59), min_size=1))
def test_without_reaching_the_limit_only_what_raises_is_poison(size: int, bad: set[int]) -> None:
    bad = {at % size for at in bad}
    found = bisect(caller(bad), size, error=ValueError("whole"))
    assert [one.start for one in found.poison] == sorted(bad)
    if size > 1:
        assert [one.error.args for one in found.poison] == [(at,) for at in sorted(bad)]


def test_a_partition_of_poison_takes_no_more_than_the_limit_and_its_errors_stay() -> None:
    found = bisect(caller(set(range(300_000))), 300_000, error=ValueError("whole"))
    assert found.calls <= CALLS + 1
    assert sum(one.stop - one.start for one in found.poison) == 300_000
    assert found.pieces == ()


def test_a_keyboard_interrupt_is_no_poison() -> None:
    def call(start: int, stop: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bisect(call, 4, error=ValueError("whole"))


def test_an_error_that_comes_and_goes_leaves_pieces_only() -> None:
    found = bisect(lambda start, stop: stop - start, 10, error=TimeoutError())
    assert (found.poison, [piece[2] for piece in found.pieces]) == ((), [5, 5])
