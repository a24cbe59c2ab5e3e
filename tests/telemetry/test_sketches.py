from __future__ import annotations

import subprocess
import sys
from functools import reduce
from itertools import permutations

import pytest

from dataflow.telemetry.sketches import Distinct


@pytest.mark.parametrize("size", [0, 1, 2, 30, 500, 5_000, 200_000])
def test_the_estimate_is_within_its_error(size):
    sketch = Distinct.of([f"user{number}" for number in range(size)])
    assert sketch.estimate() == pytest.approx(size, rel=Distinct.relative_error)


def test_repeated_values_count_once():
    assert Distinct.of(["a", "b", "a"] * 1_000).estimate() == 2


def test_the_empty_text_is_a_value():
    assert Distinct.of(["", "a", ""]).estimate() == 2


def test_merging_counts_common_values_once():
    parts = [Distinct.of(range(start, start + 10_000)) for start in (0, 5_000, 10_000)]
    assert Distinct.merged(parts).estimate() == pytest.approx(20_000, rel=Distinct.relative_error)


@pytest.mark.parametrize("size", [5, 200, 300, 3_000])
def test_the_order_of_merging_does_not_change_the_estimate(size):
    parts = [Distinct.of(range(start, start + size)) for start in (0, size // 2, size * 3)]
    estimates = {
        reduce(lambda one, other: Distinct.merged([one, other]), order).estimate() for order in permutations(parts)
    }
    assert estimates == {Distinct.merged(parts).estimate()}


def test_a_part_without_a_sketch_makes_the_whole_unknown():
    assert Distinct.merged([Distinct.of(["a"]), None]) is None


def test_a_sketch_survives_its_text_and_is_small():
    sketch = Distinct.of(range(100_000))
    assert Distinct.from_text(sketch.to_text()) == sketch
    assert len(sketch.to_text()) < 3_000


def test_the_report_says_how_far_the_estimate_may_be_off():
    assert Distinct.of(["a", "b"]).report() == {"estimate": 2, "relative_error": 0.033}


def test_neither_the_sketch_library_nor_arrow_nor_numpy_is_imported_with_the_statistics():
    code = (
        "import sys, dataflow.telemetry.statistics; "
        "print([name for name in ('datasketches', 'numpy', 'pyarrow', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
