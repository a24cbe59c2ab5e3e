"""Keeps pandas out of processes that do not ask for it.

pyarrow imports pandas by itself the first time it converts a Python list or scalar, which costs more than
two seconds at start-up. Nothing else about Arrow belongs here.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

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
