"""What a worker process needs, imported once in the fork server; importing this module is all it does.

Workers forked from there start with everything in memory. Nothing of a job belongs here: it may change between
two runs of one process.
"""

from __future__ import annotations

import gc
import importlib
import os

from dataflow.engine.processes import package_folder

_MODULES = (
    "distributed.nanny",
    "pyarrow.compute",
    "pyarrow.csv",
    "pyarrow.parquet",
    "dataflow.engine.arrow",
    "dataflow.engine.plugin",
    "dataflow.engine.program",
    "dataflow.engine.result",
    # What tasks name as their factory; a name only, since this room does not know that one.
    "dataflow.wiring.worker",
)


def _import_all() -> None:
    # Collecting while modules are made finds nothing and takes a tenth of the time; what is frozen stays shared
    # between the workers, since no collection writes to it.
    gc.disable()
    try:
        for name in _MODULES:
            importlib.import_module(name)
        importlib.import_module("dataflow.engine.arrow").keep_pandas_out()
    finally:
        gc.enable()
        gc.freeze()


def _restore_path() -> None:
    """Take back what `processes` put before PYTHONPATH to be found here; programs that services start inherit it."""
    path = os.environ.get("PYTHONPATH", "").removeprefix(package_folder()).removeprefix(os.pathsep)
    if path:
        os.environ["PYTHONPATH"] = path
    else:
        os.environ.pop("PYTHONPATH", None)


_import_all()
_restore_path()
