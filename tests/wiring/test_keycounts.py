"""Keys of partitions are added up: each once, exactly up to a bound, estimated beyond it."""

from __future__ import annotations

import numpy as np
import pytest

from dataflow.wiring.keycounts import Keys


def test_keys_of_several_partitions_count_once() -> None:
    keys = Keys()
    for start in (0, 50, 100):
        keys.add(np.arange(start, start + 100))
    assert (keys.added, keys.distinct(), keys.estimated) == (300, 200, False)


def test_beyond_the_bound_a_sketch_estimates() -> None:
    keys = Keys(most=1000)
    for start in range(0, 20_000, 500):
        keys.add(np.arange(start, start + 1000) * 0x9E3779B97F4A7C1)
    assert keys.estimated
    assert keys.distinct() == pytest.approx(20_500, rel=0.1)


def test_keys_that_others_have_too_are_known() -> None:
    one, other = Keys(), Keys()
    one.add(np.arange(100))
    other.add(np.arange(90, 200))
    assert one.among(other) == 10
