"""Tells what happens in a run: to whoever listens, and to the logger `dataflow.run`.

A log line holds counts and sentences of dataflow's own, and no value of a record; only at DEBUG also what providers and
exceptions have said.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dataflow.errors import DataflowError
from dataflow.outcomes import Event
from dataflow.telemetry.place import placed

if TYPE_CHECKING:
    from dataflow.engine.result import Completion
    from dataflow.wiring.run import Run

logger = logging.getLogger("dataflow.run")
"""Tells the events of each run, warnings at WARNING and the others at INFO; its `extra` fields begin with `run_`."""

# Without a handler of its own, a library that warns prints to stderr.
logging.getLogger("dataflow").addHandler(logging.NullHandler())

_WARNINGS = frozenset({"warned", "stopped"})
_COUNTS = ("partitions", "records", "rejected")
_UNTOLD = frozenset({"calling"})
"""What only a display that is refreshed every second has a use for."""


class Announcer:
    """Takes the events of one run.

    Args:
        dataset: The output of the run.
        listener: Who else is told, or None.
    """

    def __init__(self, dataset: str, listener: Callable[[Event], None] | None) -> None:
        self._dataset = dataset
        self._listener = listener

    def __call__(self, event: Event) -> None:
        """Log an event, and hand it on."""
        self._log(event)
        if self._listener is not None:
            self._listener(event)

    def _log(self, event: Event) -> None:
        level = logging.WARNING if event.kind in _WARNINGS else logging.INFO
        if event.kind in _UNTOLD or not logger.isEnabledFor(level):
            return
        counts = {name: count for name in _COUNTS if (count := getattr(event, name))}
        extra = {f"run_{name}": value for name, value in {"event": event.kind, **counts}.items()}
        message = _message(event) or ", ".join(f"{name} {count}" for name, count in counts.items())
        with placed(run=event.run, dataset=self._dataset):
            logger.log(level, "%s: run %s %s: %s", self._dataset, event.run, event.kind, message, extra=extra)
            if event.said:
                logger.debug("%s: run %s %s: %s", self._dataset, event.run, event.kind, event.said)


def committed(run: str, done: Completion) -> Event:
    """What is told of a partition that is committed."""
    return Event(kind="committed", run=run, partitions=1, records=done.statistics.total_records, rejected=done.rejected)


def _message(event: Event) -> str:
    """What an event says; where a foreign error stops a run, only its class, since its text may hold anything."""
    error = sys.exception()
    if event.kind != "stopped" or error is None or isinstance(error, DataflowError):
        return event.message
    return type(error).__name__


def tell_run(span: Any, run: Run) -> None:
    """Say in the span of a run what has become of it."""
    if span is None:
        return
    span.set_attributes(
        {
            "dataflow.run": run.id,
            "dataflow.status": run.status,
            "dataflow.partitions": run.partitions,
            "dataflow.records": run.counts.total_records,
            "dataflow.rejected": run.counts.rejected_records,
        }
    )
