"""Keeps out of processes what pyarrow imports by itself and they do not ask for. Nothing else about Arrow belongs here.

pandas comes the first time that it converts a Python list or scalar, and costs more than two seconds at start-up;
numpy's masked arrays come the first time that it is given an array of numpy, and cost a hundredth of that.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa


class _Refusal(MetaPathFinder):
    """A finder that answers every question for pandas with an import error."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == "pandas":
            raise ImportError("pandas is not needed here")
        return None


def keep_pandas_out() -> None:
    """Make pyarrow settle, once for this process, that it works without pandas.

    A process that has already imported pandas is left alone. `bring_pandas_in` undoes it.
    """
    if "pandas" in sys.modules:
        return
    refusal = _Refusal()
    sys.meta_path.insert(0, refusal)
    try:
        pa.array([1])
    finally:
        sys.meta_path.remove(refusal)


def bring_pandas_in() -> ModuleType:
    """Import pandas and let pyarrow know of it; called where a service or a user asks for pandas.

    pyarrow remembers privately that pandas was missing; reading `pd` makes it look again. The test beside
    this room pins that behaviour for the versions in use.
    """
    import pandas as pd

    _ = pa.lib._pandas_api.pd
    module: ModuleType = pd
    return module


def arrow_array(values: Any, *, nulls: Any = None) -> pa.Array:
    """The array of Arrow over numbers or bools of numpy, whose memory is shared where it can be.

    Args:
        values: One dimension of them.
        nulls: Where there is none, as bools; None where all are there.
    """
    data = np.packbits(values, bitorder="little") if values.dtype == np.bool_ else np.ascontiguousarray(values)
    there = None if nulls is None else pa.py_buffer(np.packbits(~nulls, bitorder="little"))
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [there, pa.py_buffer(data)])
