"""`sample`: a few real records through the pipeline, with the fate of each cell."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from dataflow.engine.environment import Environment, outcomes_of
from dataflow.engine.marks import Effect
from dataflow.engine.partition import check_rowwise, run_graph
from dataflow.outcomes import Outcome, Status
from dataflow.plan.partitions import SourcePlan
from dataflow.plan.pipeline import Pipeline
from dataflow.services.signature import Form
from dataflow.store.catalog import Catalog
from dataflow.store.sources import read
from dataflow.wiring.applying import run_table
from dataflow.wiring.binding import wanted_types
from dataflow.wiring.inputs import check_columns, plan_source, resolve_source
from dataflow.wiring.preparation import DEFAULT_CATALOG, Prepared, prepare_once

_SLICES = 4
"""Slices of the source that a sample is taken from, evenly spaced: the first records are rarely like the rest."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Sample:
    """A few records after the pipeline.

    Attributes:
        table: Their output columns, and `rejected`: why a run would reject them.
        fates: For each record, the outcome of each service by name.
        notes: What the sample shows beyond the records, such as a service that is not row-wise.
    """

    table: pa.Table
    fates: tuple[dict[str, Outcome], ...]
    notes: tuple[str, ...]

    def to_pandas(self) -> Any:
        """The table as a pandas DataFrame with Arrow types."""
        from dataflow.engine.arrow import bring_pandas_in

        return self.table.to_pandas(types_mapper=bring_pandas_in().ArrowDtype)

    def to_dict(self) -> dict[str, Any]:
        """Plain values: the records, and status and reason of each service for each."""
        fates = [{name: [one.status.value, one.reason] for name, one in fate.items()} for fate in self.fates]
        return {"records": self.table.to_pylist(), "fates": fates, "notes": list(self.notes)}

    def __str__(self) -> str:
        from dataflow.faces.render import table_text

        services = list(self.fates[0]) if self.fates else []
        rows = [
            [row, *(_cell(fate[name]) for name in services), record["rejected"] or ""]
            for row, (fate, record) in enumerate(zip(self.fates, self.table.to_pylist(), strict=True), start=1)
        ]
        lines = [table_text(["record", *services, "rejected"], rows), *(f"note: {note}" for note in self.notes)]
        return "\n".join(lines)

    __repr__ = __str__


def _cell(outcome: Outcome) -> str:
    return outcome.status.value if outcome.reason is None else f"{outcome.status.value}: {outcome.reason}"


def sample(pipeline: Pipeline, source: Any, *, n: int = 20, catalog: str = DEFAULT_CATALOG) -> Sample:
    """Run `n` records; see `Pipeline.sample`."""
    datasets = Catalog(catalog)
    resolved = resolve_source(source, catalog=datasets, spool=Path(str(datasets.root)) / "_sources")
    plan = plan_source(resolved, wanted_types(pipeline))
    check_columns(plan.schema)
    table, unreadable = _take(plan, n)
    prepared = prepare_once(pipeline, plan.schema, catalog=catalog)
    environment = run_graph(prepared.graph, table, prepared.resources)
    notes = [*plan.notes, *prepared.graph.notes, *_not_rowwise(prepared, table, environment)]
    if unreadable:
        notes.append(f"{unreadable} records of the slices looked at cannot be read and would be rejected")
    return Sample(table=run_table(prepared, table), fates=_fates(environment), notes=tuple(notes))


def _take(plan: SourcePlan, n: int) -> tuple[pa.Table, int]:
    count = min(_SLICES, len(plan.specs), n)
    chosen = [plan.specs[at * len(plan.specs) // count] for at in range(count)] if count else []
    tables, unreadable = [], 0
    for at, spec in enumerate(chosen):
        batch = read(plan.options, spec, schema=plan.schema)
        unreadable += len(batch.unreadable)
        share = n // count + (at < n % count)
        tables.append(batch.table.take(_spread(batch.table.num_rows, share)))
    return (pa.concat_tables(tables) if tables else plan.schema.empty_table()), unreadable


def _spread(size: int, n: int) -> pa.Array:
    n = min(size, n)
    return pa.array([at * size // n for at in range(n)], pa.int64())


def _fates(environment: Environment) -> tuple[dict[str, Outcome], ...]:
    steps = environment.graph.steps
    fates: list[dict[str, Outcome]] = [
        {step.service.name: Outcome(service=step.service.name, status=Status.SUCCEEDED) for step in steps}
        for _ in range(environment.size)
    ]
    for step in steps:
        for row, outcome in outcomes_of(step, environment.effects[step.index]):
            fates[row][step.service.name] = outcome
    return tuple(fates)


def _not_rowwise(prepared: Prepared, table: pa.Table, environment: Environment) -> list[str]:
    """The column services that give something else for a table than for its two random parts."""
    rows = table.num_rows
    notes = []
    for seed in (1, 2) if rows > 1 else ():
        cut = random.Random(seed).randrange(1, rows)
        parts = [
            run_graph(prepared.graph, table.slice(*part), prepared.resources) for part in ((0, cut), (cut, rows - cut))
        ]
        for step in prepared.graph.steps:
            halves: Sequence[Effect] = [part.effects[step.index] for part in parts]
            whole = environment.effects[step.index]
            if step.service.form is Form.COLUMN and step.service.policy.rowwise and not check_rowwise(whole, halves):
                notes.append(
                    f"`{step.service.name}` is not row-wise: its result depends on which records come together"
                )
    return list(dict.fromkeys(notes))
