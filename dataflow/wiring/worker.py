"""What a process does before its first partition of a run, and for each partition: read, run, settle, commit."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

from dataflow.engine.arrow import keep_pandas_out
from dataflow.engine.fate import settle
from dataflow.engine.partition import run_graph
from dataflow.engine.resources import Resources, make_resources
from dataflow.engine.result import Completion
from dataflow.plan.graph import Graph
from dataflow.plan.partitions import Batch, PartitionSpec
from dataflow.plan.pipeline import Job, Pipeline
from dataflow.services.context import Context
from dataflow.store.catalog import Catalog
from dataflow.store.commit import CommitRecord, RunFolder
from dataflow.store.sources import read
from dataflow.wiring.binding import bind_pipeline, lookup_tables, prepare_arrow

FACTORY = "dataflow.wiring.worker:prepare"

Work = Callable[[PartitionSpec], Completion]


def make_setup(
    folder: RunFolder,
    *,
    options: Mapping[str, Any],
    schema: pa.Schema,
    key: tuple[str, ...],
    catalog: str,
    parameters: Mapping[str, Any],
    profile: bool,
) -> dict[str, Any]:
    """What workers need beside the job, as plain JSON values."""
    return {
        "folder": folder.to_dict(),
        "options": dict(options),
        "schema": base64.b64encode(schema.serialize().to_pybytes()).decode(),
        "key": list(key),
        "catalog": catalog,
        "parameters": dict(parameters),
        "profile": profile,
    }


def prepare(loaded: Job | Pipeline, setup: Mapping[str, Any]) -> Work:
    """Set a process up for a run; called once per process and run.

    Args:
        loaded: The job or pipeline, as the program gave it.
        setup: What `make_setup` made.

    Returns:
        The function that runs and commits one partition.

    Raises:
        DataflowError: The pipeline cannot be bound or set up here.
    """
    keep_pandas_out()
    pipeline = loaded.pipeline if isinstance(loaded, Job) else loaded
    schema = read_schema(setup["schema"])
    tables = lookup_tables(pipeline, Catalog(setup["catalog"]))
    graph = bind_pipeline(pipeline, schema, tables)
    prepare_arrow(graph)
    folder = RunFolder.from_dict(setup["folder"])
    context = Context(run=folder.run, parameters=setup["parameters"])
    return PartitionWork(graph, folder, make_resources(graph, tables=tables, context=context), setup=setup)


class PartitionWork:
    """The function that reads, runs, settles and commits one partition, unless it is committed already."""

    def __init__(self, graph: Graph, folder: RunFolder, resources: Resources, *, setup: Mapping[str, Any]) -> None:
        self._graph = graph
        self._folder = folder
        self._resources = resources
        self._options = setup["options"]
        self._schema = read_schema(setup["schema"])
        self._key = tuple(setup["key"])
        self._profile = setup["profile"]
        self.close = resources.close

    def __call__(self, spec: PartitionSpec) -> Completion:
        record = self._folder.find(spec)
        if record is None:
            batch = _cut(read(self._options, spec, schema=self._schema), spec, self._options)
            environment = run_graph(self._graph, batch.table, self._resources)
            result = settle(environment, batch, key=self._key, path=spec.path)
            record = self._folder.commit(spec, result, profile=self._profile)
        return completion(record)


def _cut(batch: Batch, spec: PartitionSpec, options: Mapping[str, Any]) -> Batch:
    """The first `spec.rows` records of a slice, where the run has a limit."""
    if "first_records" not in options or batch.table.num_rows + len(batch.unreadable) <= spec.rows:
        return batch
    numbers = sorted([*batch.rows.to_pylist(), *(one.row for one in batch.unreadable)])
    last = numbers[spec.rows - 1]
    kept = sum(row <= last for row in batch.rows.to_pylist())
    return Batch(
        table=batch.table.slice(0, kept),
        rows=batch.rows.slice(0, kept),
        unreadable=tuple(one for one in batch.unreadable if one.row <= last),
    )


def read_schema(text: str) -> pa.Schema:
    """The schema that `make_setup` wrote."""
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))


def completion(record: CommitRecord) -> Completion:
    """What goes back to the driver for a commit record."""
    return Completion(
        identity=record.identity,
        index=record.index,
        rows=record.rows,
        rejected=record.rejected,
        statistics=record.counts.statistics,
    )
