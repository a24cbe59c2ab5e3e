"""What runs on a worker of a cluster: the job, loaded once per process, and the task that runs one partition.

The scheduler imports this module too, since a task names its function. So nothing is imported at its top but the
standard library and distributed; and tasks are plain dictionaries.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from distributed import Worker, WorkerPlugin

if TYPE_CHECKING:
    from dataflow.engine.program import Program
    from dataflow.engine.result import Completion
    from dataflow.plan.resolve import Task

_RUNNING = {"executing", "long-running"}
_DROPPED = {"released", "cancelled", "forgotten"}
"""What becomes of a running task that is taken back; one that ends by itself is in memory or erred."""

Work = Callable[["Task"], "Completion"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What every worker is given once for a run.

    Attributes:
        program: The job.
        setup: What the factory needs to know about the run, plain JSON values.
        factory: `module:function`; called once per process as `function(object, setup, worker)` with the object
            that the program stands for and the Dask worker, it returns the function that does one
            `Task`. Where that function has an attribute `close`, it is called at the end of the run.
        secrets: Values that the workers lack, kept in their memory; never written or shown.
        variables: What stands in the environment while the job is loaded; never written or shown.
    """

    program: Program
    setup: dict[str, Any]
    factory: str
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    variables: Mapping[str, str | None] = field(default_factory=dict, repr=False)


class JobPlugin(WorkerPlugin):  # type: ignore[misc]
    """Keeps one assignment ready in a worker process, also in one that joins later.

    Args:
        assignment: What to prepare.
        key: Names this assignment in tasks; another run has another, so nothing is ever replaced.
    """

    def __init__(self, assignment: Assignment, *, key: str) -> None:
        self.name = f"dataflow-job-{key}"
        self.key = key
        self.assignment = assignment

    async def setup(self, worker: Worker) -> None:
        """Load the job, so that what is wrong with it is said before any partition."""
        from dataflow.engine.told import leave_out_told

        leave_out_told()
        _assignments[self.key] = self.assignment
        _homes[self.key] = worker
        # A job may import for seconds; on the loop that would make the worker deaf.
        await asyncio.to_thread(work_of, self.key)

    def transition(self, key: Any, start: str, finish: str, **details: Any) -> None:
        """End the calls of a partition that nobody waits for any more, such as when its client has died."""
        if start in _RUNNING and finish in _DROPPED and self.key in str(key):
            cancel(self.key)

    async def teardown(self, worker: Worker) -> None:
        """Close and forget what was made for the run; what was imported stays imported."""
        from dataflow.engine.exporting import flush

        _assignments.pop(self.key, None)
        _homes.pop(self.key, None)
        close = getattr(_works.pop(self.key, None), "close", None)
        if close is not None:
            await asyncio.to_thread(close)
        await asyncio.to_thread(flush)


def perform(task: dict[str, Any]) -> Completion:
    """Run one partition: the only function that is ever submitted.

    Args:
        task: `key` of the assignment and `spec`, a task as a dictionary.
    """
    from dataflow.plan.resolve import read_task

    return work_of(task["key"])(read_task(task["spec"]))


def halt(key: str) -> None:
    """Let the work of an assignment make no new calls in this process, where it makes any."""
    stop = getattr(_works.get(key), "halt", None)
    if stop is not None:
        stop()


def cancel(key: str) -> None:
    """End the calls that the work of an assignment has in flight in this process."""
    stop = getattr(_works.get(key), "cancel", None)
    if stop is not None:
        stop()


def work_of(key: str) -> Work:
    """The function that runs partitions of an assignment; prepared once per process, whoever asks first."""
    with _preparing:
        if key not in _works:
            _works[key] = _prepare(_assignments[key], _homes.get(key))
        return _works[key]


_assignments: dict[str, Assignment] = {}
_works: dict[str, Work] = {}
_homes: dict[str, Worker] = {}
_preparing = threading.RLock()


def _prepare(assignment: Assignment, worker: Worker | None) -> Work:
    from dataflow.engine.arrow import bring_pandas_in
    from dataflow.engine.exporting import start_exporting
    from dataflow.engine.program import load
    from dataflow.services.context import keep_secrets

    if asked := os.environ.get("DATAFLOW_LOG"):
        from dataflow.telemetry.logs import start_logging

        start_logging(asked)
    start_exporting()
    keep_secrets(assignment.secrets)
    value = load(assignment.program, assignment.variables)
    if "pandas" in sys.modules:
        # The job imported it itself, after this process had told Arrow that there is none.
        bring_pandas_in()
    module, _, name = assignment.factory.partition(":")
    work: Work = getattr(importlib.import_module(module), name)(value, assignment.setup, worker)
    return work
