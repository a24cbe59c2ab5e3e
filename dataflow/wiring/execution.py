"""One record through a pipeline as an execution with an id: made ready, awaited, told about in logs.

Which loop and which threads it uses is decided by whoever calls. A log holds counts and no value of a record.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from dataflow.engine.awaiting import SharedCalls, Threads, await_graph
from dataflow.engine.environment import Environment
from dataflow.engine.fate import output_columns
from dataflow.engine.gathering import Companion
from dataflow.engine.resources import Resources
from dataflow.engine.tracing import beginning
from dataflow.engine.waiting import Flights, IOLoop
from dataflow.errors import CriticalServiceFailed, DeclarationError
from dataflow.plan.pipeline import Pipeline
from dataflow.services.context import Context, current_execution
from dataflow.telemetry.place import placed
from dataflow.wiring.memory import calling_with
from dataflow.wiring.preparation import DEFAULT_CATALOG, Prepared, has_needs, is_prepared
from dataflow.wiring.records import merged, prepare_records, to_record, to_table
from dataflow.wiring.result import Result, check_critical, metadata_of

logger = logging.getLogger("dataflow.execution")
"""Tells the start and the end of each execution, at INFO; its `extra` fields begin with `execution_`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What holds for one record, or for each of several.

    Attributes:
        catalog: Where lookups find datasets, and where answers are kept.
        parameters: For `flow.Context`.
        offline: Whether only the cache may answer in place of APIs.
    """

    catalog: str = DEFAULT_CATALOG
    parameters: Mapping[str, Any] = field(default_factory=dict)
    offline: bool = False


def check_not_here(io: IOLoop, pipeline: Pipeline, *, instead: str) -> None:
    """Refuse to wait on the very loop that would have to do the work.

    Raises:
        DeclarationError: An async service called, where it has to await.
    """
    if io.is_here:
        raise DeclarationError(
            f"`{pipeline.name}` is called by an async service on the event loop that its own services need; "
            f"use `await pipeline.{instead}(...)` there"
        )


class Execution:
    """One record on its way.

    Args:
        pipeline: What is done to it.
        record: Column to value.
        settings: What holds for it.
    """

    def __init__(self, pipeline: Pipeline, record: Mapping[str, Any], settings: Settings) -> None:
        self.pipeline = pipeline
        self.record = record
        self.settings = settings
        self.id = uuid.uuid4().hex[:12]
        self._parent = current_execution()
        self._began = time.perf_counter()
        self._table: pa.Table | None = None
        self._prepared: Prepared | None = None

    def prepare_at_hand(self) -> bool:
        """Make the pipeline ready if such a record has come before, which takes no time; whether that was so.

        Raises:
            DeclarationError: The record does not fit the pipeline.
        """
        if not has_needs(self.pipeline, catalog=self.settings.catalog):
            return False
        schema = self._read().schema
        if not is_prepared(self.pipeline, schema, catalog=self.settings.catalog, offline=self.settings.offline):
            return False
        self.prepare()
        return True

    def prepare(self) -> Prepared:
        """Make the pipeline ready for the record: the first time its tables are read and its classes set up.

        Raises:
            DeclarationError: The record does not fit the pipeline.
        """
        catalog, offline = self.settings.catalog, self.settings.offline
        schema = self._read().schema
        prepared = prepare_records(self.pipeline, schema, names=list(self.record), catalog=catalog, offline=offline)
        self._prepared = prepared
        self._tell("started")
        return prepared

    def _read(self) -> pa.Table:
        """The record as a table."""
        if self._table is None:
            self._table, misfits = to_table(self.pipeline, [self.record], catalog=self.settings.catalog)
            if misfits:
                raise DeclarationError(f"`{self.pipeline.name}` cannot read the record: {misfits[0]}")
        return self._table

    async def run(
        self,
        io: IOLoop,
        flights: Flights,
        *,
        computing: Threads,
        waiting: Threads,
        calls: SharedCalls | None = None,
        record: Companion | None = None,
    ) -> Environment:
        """Run its services; on the loop that is given."""
        assert self._prepared is not None
        assert self._table is not None
        context = Context(run=self.id, parameters=self.settings.parameters)
        resources: Resources = replace(
            self._prepared.resources, context=context, io=io, fail_fast=True, flights=flights
        )
        try:
            with beginning("dataflow.execution", execution=self.id), calling_with(self.settings.parameters):
                return await await_graph(
                    self._prepared.graph,
                    self._table,
                    resources,
                    computing=computing,
                    waiting=waiting,
                    calls=calls,
                    record=record,
                )
        except BaseException as error:
            self._tell("stopped", duration=time.perf_counter() - self._began, error=type(error).__name__)
            raise

    def result(self, environment: Environment) -> Result:
        """What comes back.

        Raises:
            CriticalServiceFailed: The record is incomplete.
        """
        duration = time.perf_counter() - self._began
        try:
            check_critical(environment)
        except CriticalServiceFailed as error:
            self._tell("failed", duration=duration, critical=error.services)
            raise
        output = to_record(output_columns(environment), environment.graph.output)
        metadata = metadata_of(environment, output, execution=self.id, parent=self._parent, duration=duration)
        self._tell(
            "ended",
            duration=duration,
            services=metadata.services_executed,
            succeeded=metadata.success_count,
            failed=metadata.failure_count,
            degraded=metadata.degraded,
            cost=metadata.cost,
        )
        return Result(data=merged(self.record, output), metadata=metadata)

    def _tell(self, event: str, **counts: Any) -> None:
        if not logger.isEnabledFor(logging.INFO):
            return
        known = {"id": self.id, "parent": self._parent or None, "pipeline": self.pipeline.name, "event": event}
        if event == "started":
            counts = {"services": len(self.pipeline.services)}
        extra = {f"execution_{name}": value for name, value in {**known, **counts}.items()}
        said = ", ".join(f"{name} {value}" for name, value in counts.items())
        with placed(execution=self.id):
            logger.info("%s: execution %s %s (%s)", self.pipeline.name, self.id, event, said, extra=extra)
