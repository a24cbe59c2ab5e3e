"""The parts that ship for tests of jobs."""

from __future__ import annotations

from dataflow.testing import SettableClock, memory_catalog


def test_a_settable_clock_stands_still_until_it_is_moved() -> None:
    clock = SettableClock(5.0)
    assert clock() == clock() == 5.0
    clock.advance(1.5)
    assert clock() == 6.5


def test_each_catalog_in_memory_is_another_one() -> None:
    assert memory_catalog() != memory_catalog()
    assert memory_catalog().startswith("memory://")
