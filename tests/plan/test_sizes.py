"""How large a partition is: what is said, and what follows from how long a record takes."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.errors import DeclarationError
from dataflow.plan.sizes import LONGEST, SHORTEST, Pace, PartitionSize, read_partition_size, records_each, told_pace


@pytest.mark.parametrize(
    ("given_size", "size"),
    [
        (None, None),
        (500, PartitionSize(records=500)),
        ("500", PartitionSize(records=500)),
        (" 7 ", PartitionSize(records=7)),
        ("64MiB", PartitionSize(bytes=64 << 20)),
        ("1.5 kB", PartitionSize(bytes=1500)),
        ("0.1B", PartitionSize(bytes=1)),
    ],
)
def test_numbers_are_records_and_units_are_bytes(given_size: Any, size: PartitionSize | None) -> None:
    assert read_partition_size(given_size) == size


@pytest.mark.parametrize("given_size", [0, -1, True, 1.5, "", "x", "1.5", "-3", "0", "0MB", "5 records", "3s", [5]])
def test_anything_else_is_refused_in_words(given_size: Any) -> None:
    with pytest.raises(DeclarationError) as caught:
        read_partition_size(given_size)
    told = (
        f'partition_size takes a number of records from 1, or bytes with their unit such as "64MiB", not {given_size!r}'
    )
    assert str(caught.value) == told


def test_a_small_source_of_slow_services_is_cut_for_its_threads() -> None:
    pace = Pace(seconds=0.05, records=400, largest=400)
    assert records_each(pace, threads=4) == 25
    assert records_each(pace, threads=1) is None
    assert told_pace(pace, threads=4) == "for 4 threads: a record takes about 50 ms"


@pytest.mark.parametrize(
    ("seconds", "records", "largest", "threads", "each"),
    [
        (1e-6, 1_000_000, 1_000_000, 8, None),
        (0.001, 1_000, 1_000, 8, None),
        (0.001, 10_000, 10_000, 8, 1_000),
        (0.05, 1_000_000, 500_000, 4, 1_200),
        (0.05, 1_000_000, 500_000, 1, 1_200),
        (120, 10, 10, 4, 1),
        (0.05, 400, 20, 4, None),
        (5.0, 100, 100, 1, 12),
    ],
)
def test_the_size_follows_from_time_and_threads(
    seconds: float, records: float, largest: float, threads: int, each: int | None
) -> None:
    assert records_each(Pace(seconds=seconds, records=records, largest=largest), threads=threads) == each


@given(st.floats(1e-7, 100), st.integers(1, 10**8), st.integers(1, 200))
def test_no_partition_is_long_nor_are_many_short(seconds: float, records: int, threads: int) -> None:
    each = records_each(Pace(seconds=seconds, records=records, largest=records), threads=threads)
    if each is None:
        return
    assert each == 1 or each * seconds <= LONGEST * (1 + 1e-9) + seconds
    assert seconds * records > SHORTEST
    partitions = math.ceil(records / each)
    assert partitions <= math.ceil(seconds * records / SHORTEST) + 1
