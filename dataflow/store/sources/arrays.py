"""Arrow arrays made from memory, since making them from Python values would let pyarrow import pandas."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def int64_array(values: npt.NDArray[np.int64]) -> pa.Array:
    """The numbers as an Arrow array over the same memory."""
    contiguous = np.ascontiguousarray(values, dtype=np.int64)
    return pa.Array.from_buffers(pa.int64(), len(contiguous), [None, pa.py_buffer(contiguous)])


def row_numbers(first: int, count: int) -> pa.Array:
    """`count` source rows, beginning with `first`."""
    return int64_array(np.arange(first, first + count, dtype=np.int64))


def nulls(count: int, schema: pa.Schema) -> pa.Table:
    """A table of so many records of which nothing is known."""
    return pa.Table.from_arrays([pa.nulls(count, column.type) for column in schema], schema=schema)


def empty_table(schema: pa.Schema) -> pa.Table:
    """A table without rows; Arrow's own cannot be made for extension types within lists and structs."""
    return nulls(0, schema)
