"""Worker processes that start fast, never import the user's `__main__`, and leave Ctrl-C to the driver.

`start` is called before anything of Dask is imported: what workers need is then imported beside the caller.
Nothing here knows Dask or a job.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import context, process
from pathlib import Path
from types import ModuleType
from typing import Any

METHOD = "dataflow"
"""The start method under which `multiprocessing.get_context` gives these processes."""

_ENVIRONMENT = {
    # What Dask sets before it spawns a worker, since it is read when a process starts; the server is that start.
    # Its MALLOC_TRIM_THRESHOLD_ is another here: memory that one partition gives back is cleared by the kernel
    # before the next one has it again, which took a tenth of the time of both.
    "MALLOC_MMAP_THRESHOLD_": str(64 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(128 << 20),
    "MIMALLOC_PURGE_DELAY": "1000",
    "MKL_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONHASHSEED": "6640",
}


def start(*, preload: Sequence[str] = (), fork: bool = sys.platform != "win32") -> None:
    """Make `METHOD` known and begin to import for later workers, in the background; takes milliseconds.

    A second call does nothing while the server runs.

    Args:
        preload: Modules to import for them beside our own; pandas must be among them if the job will need it.
        fork: Fork workers from a server; without, or where that fails, they are spawned and start slowly.
    """
    # Only this registry leads from a name in Dask's configuration to a context.
    contexts = context._concrete_contexts  # type: ignore[attr-defined]
    contexts[METHOD] = (_forked(preload) if fork else None) or SpawnedContext()


class WorkerProcess(process.BaseProcess):
    """A child that ignores Ctrl-C: the terminal sends it to all, and the driver decides what it means."""

    # Children of a worker are spawned, as under Dask's own configuration.
    _start_method = "spawn"

    def run(self) -> None:
        """Run the target."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        super().run()


class SpawnedProcess(WorkerProcess, context.SpawnProcess):
    """A worker process with an interpreter of its own."""

    @staticmethod
    def _Popen(process_obj: process.BaseProcess) -> Any:  # noqa: N802 - what multiprocessing calls
        with _main_hidden():
            return context.SpawnProcess._Popen(process_obj)


class SpawnedContext(context.SpawnContext):
    """What `multiprocessing.get_context` gives for our start method where nothing can be forked."""

    Process = SpawnedProcess


def package_folder() -> str:
    """The folder from which this package is imported."""
    return str(Path(__file__).parents[2])


def preparation(name: str) -> dict[str, Any]:
    """What `multiprocessing` tells a child about its parent, without the way to the parent's `__main__`."""
    return {
        "name": name,
        "authkey": process.current_process().authkey,
        "sys_path": [path or os.getcwd() for path in sys.path],  # noqa: PTH109 - a string, as the others
        "dir": os.getcwd(),  # noqa: PTH109
    }


def _forked(preload: Sequence[str]) -> context.BaseContext | None:
    try:
        multiprocessing.get_context("forkserver")
        from dataflow.engine import forkserver

        forkserver.server.set_forkserver_preload([*preload, "dataflow.engine.preload"])
        with _environment():
            forkserver.server.ensure_running()
    except (ImportError, OSError, ValueError):
        return None
    return forkserver.ForkedContext()


@contextmanager
def _environment() -> Iterator[None]:
    """The environment in which the server starts; it must find this very package."""
    path = os.pathsep.join(filter(None, [package_folder(), os.environ.get("PYTHONPATH")]))
    before = dict(os.environ)
    os.environ.update({**_ENVIRONMENT, **before, "PYTHONPATH": path})
    try:
        yield
    finally:
        for name in {*_ENVIRONMENT, "PYTHONPATH"}:
            if name in before:
                os.environ[name] = before[name]
            else:
                del os.environ[name]


@contextmanager
def _main_hidden() -> Iterator[None]:
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
