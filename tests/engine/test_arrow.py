"""pandas stays out of processes that do not ask for it, and comes in whole where one does."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.engine.arrow import arrow_array

BEFORE = """
import sys
import pyarrow as pa, pyarrow.compute as pc
from dataflow.engine.arrow import bring_pandas_in, keep_pandas_out
"""


def output(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", BEFORE + code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    "use",
    [
        "pa.array([1, None, 'a'][:2])",
        "pc.add(pa.array([1]), 1)",
        "pa.scalar(1)",
        "pa.array([1.5, None]).to_numpy(zero_copy_only=False)",
        "pa.table({'a': ['x']}).to_pylist()",
        "pa.array([1000], pa.timestamp('ns')).to_pylist()",
        "pc.if_else(pa.array([True]), 'a', 'b')",
    ],
)
def test_arrow_works_without_importing_pandas(use: str) -> None:
    assert output(f"keep_pandas_out(); {use}; print('pandas' in sys.modules)") == "False"


def test_a_service_that_asks_for_pandas_gets_a_pyarrow_that_knows_it() -> None:
    code = """
keep_pandas_out()
assert 'pandas' not in sys.modules
pandas = bring_pandas_in()
column = pa.table({'a': [1, None]})['a'].to_pandas(types_mapper=pandas.ArrowDtype)
print(column.dtype, pa.Array.from_pandas(pandas.Series([1.5, float('nan')])).null_count)
"""
    assert output(code) == "int64[pyarrow] 1"


def test_a_process_that_has_pandas_already_is_left_alone() -> None:
    code = """
import pandas
keep_pandas_out()
print(pa.array(pandas.Series([1.5, float('nan')])).null_count, len(sys.meta_path) == sum(
    type(one).__name__ != '_Refusal' for one in sys.meta_path))
"""
    assert output(code) == "1 True"


@given(values=st.lists(st.integers(0, 200)), kind=st.sampled_from(["bool", "int32", "int64", "uint8", "float64"]))
def test_an_array_of_numpy_is_what_arrow_makes_of_it(values: list[int], kind: str) -> None:
    numbers = np.array(values, kind)
    nulls = np.array([value % 3 == 0 for value in values], np.bool_)
    assert arrow_array(numbers).equals(pa.array(numbers))
    assert arrow_array(numbers, nulls=nulls).equals(pa.array(numbers, mask=nulls))
    assert arrow_array(numbers[::2]).equals(pa.array(numbers[::2]))


def test_a_run_that_calls_nothing_loads_neither_masked_arrays_nor_what_calls_need() -> None:
    code = """
keep_pandas_out()
import tempfile
import dataflow as flow

@flow.transformation
def twice(number: int | None) -> int:
    return number * 2

@flow.validation
def small(twice: int) -> bool:
    return twice < 10

job = flow.Job(flow.Pipeline("p", [twice, small]), source=pa.table({"number": [1, None, 7]}), output="o")
job.run(catalog=tempfile.mkdtemp())
print([name for name in ("numpy.ma", "dataflow.engine.control.plane", "aiohttp") if name in sys.modules])
"""
    assert output(code) == "[]"
