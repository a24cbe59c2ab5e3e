"""`sample`: a few real records through the pipeline, with the fate of each cell."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from dataflow.engine.applicability import exclude
from dataflow.engine.collections import kind_of
from dataflow.engine.columns import call_columns
from dataflow.engine.environment import Environment, outcomes_of
from dataflow.engine.fate import count
from dataflow.engine.foreseeing import foresee
from dataflow.engine.marks import Effect, Rows
from dataflow.engine.partition import check_rowwise, run_graph
from dataflow.engine.spending import currency_of
from dataflow.engine.verdicts import everything
from dataflow.errors import DeclarationError
from dataflow.outcomes import Outcome, Status
from dataflow.plan.graph import Step
from dataflow.plan.guardrails import Guardrails
from dataflow.plan.partitions import SourcePlan, known_rows
from dataflow.plan.pipeline import Pipeline
from dataflow.plan.quote import Quote
from dataflow.policies.money import cleaned, trillionths, written
from dataflow.services.signature import Form
from dataflow.store.catalog import Catalog
from dataflow.store.sources import read
from dataflow.store.sources.arrays import empty_table
from dataflow.wiring.applying import whole_table
from dataflow.wiring.binding import wanted_types
from dataflow.wiring.inputs import check_columns, plan_source, resolve_source, some_partitions
from dataflow.wiring.preparation import DEFAULT_CATALOG, Prepared, prepare_once
from dataflow.wiring.prospects import told_ahead
from dataflow.wiring.settings import SMALL_BYTES

_ERRORS = 20
"""Texts of errors that are printed."""
_SLICES = 4
"""Slices of the source that a sample is taken from, evenly spaced: the first records are rarely like the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What was called for a sample.

    Attributes:
        records: Of the sample.
        calls: Requests to APIs.
        cached: Records that the cache answered, once for each service.
        cost: Money for the calls.
        currency: Of the cost; empty where no service has a price.
    """

    records: int
    calls: int
    cached: int
    cost: float
    currency: str

    @property
    def told(self) -> str:
        """The bill in a sentence."""
        calls = "1 call" if self.calls == 1 else f"{self.calls:,} calls"
        parts = [f"{calls} for a sample of {self.records:,}"]
        parts += [written(trillionths(self.cost), self.currency)] if self.currency else []
        parts += [f"{self.cached:,} answered by the cache"] if self.cached else []
        return ", ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A sample as the engine ran it.

    Attributes:
        prepared: The pipeline.
        environment: The records after it.
        notes: What was decided about the source.
        unreadable: Records of the slices looked at that cannot be read.
        bytes: Of the source, as far as it was planned.
        rows: Of the source; None where nobody has counted them.
    """

    prepared: Prepared
    environment: Environment
    notes: tuple[str, ...]
    unreadable: int
    bytes: int
    rows: int | None

    @property
    def bill(self) -> Bill:
        """What was called for it."""
        counts = count(self.environment, everything(self.environment.size))
        called = {step.service.name for step in self.prepared.graph.every if step.service.api is not None}
        parts = [part for name, part in counts.services.items() if name in called]
        return Bill(
            records=self.environment.size,
            calls=sum(part.calls for part in parts),
            cached=sum(part.cached for part in parts),
            cost=cleaned(counts.cost),
            currency=currency_of(step.service for step in self.prepared.graph.every),
        )


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Sample:
    """A few records after the pipeline.

    Attributes:
        table: Their output columns, and `rejected`: why a run would reject them.
        before: The same records as the source has them.
        writers: For each column that services write, their names in listed order.
        fates: For each record, the outcome of each service by name.
        notes: What the sample shows beyond the records, such as a service that is not row-wise.
        cost: Money that the calls for it cost.
        currency: Of the cost; empty where no service has a price.
        bill: What was called for it; None where no service calls an API.
        quote: What the rest of the source would cost; None where no service calls an API, and for a source of more
            than 16 MB, which takes a while to count: `Pipeline.quote` does that.
    """

    table: pa.Table
    before: pa.Table
    writers: Mapping[str, tuple[str, ...]]
    fates: tuple[dict[str, Outcome], ...]
    notes: tuple[str, ...]
    cost: float = 0.0
    currency: str = ""
    bill: Bill | None = None
    quote: Quote | None = None

    def to_pandas(self) -> Any:
        """The table as a pandas DataFrame with Arrow types."""
        from dataflow.engine.arrow import bring_pandas_in

        return self.table.to_pandas(types_mapper=bring_pandas_in().ArrowDtype)

    def to_dict(self) -> dict[str, Any]:
        """Plain values: the records, and status, reason and error of each service for each."""
        fates = [{name: _told(one) for name, one in fate.items()} for fate in self.fates]
        bill: dict[str, Any] = {"cost": self.cost, "currency": self.currency} if self.currency else {}
        if self.bill is not None:
            bill |= {"calls": self.bill.calls, "cached": self.bill.cached}
        if self.quote is not None:
            bill["quote"] = self.quote.to_dict()
        return {"records": self.table.to_pylist(), "fates": fates, "notes": list(self.notes), **bill}

    def __str__(self) -> str:
        from dataflow.faces.render import table_text

        services = list(self.fates[0]) if self.fates else []
        rows = [
            [row, *(_cell(fate[name]) for name in services), record["rejected"] or ""]
            for row, (fate, record) in enumerate(zip(self.fates, self.table.to_pylist(), strict=True), start=1)
        ]
        lines = [table_text(["record", *services, "rejected"], rows), *self._errors()]
        lines += [f"note: {note}" for note in self.notes]
        lines += [] if self.bill is None else [f"bill: {self.bill.told}"]
        lines += (
            [] if self.quote is None else ["", "the whole source, with these answers in the cache:", str(self.quote)]
        )
        return "\n".join(lines)

    __repr__ = __str__

    def _errors(self) -> list[str]:
        """The texts of what failed, each once: a cell of the table has no room for them."""
        from dataflow.faces.texts import printable

        told: dict[tuple[str, str], int] = {}
        for row, fate in enumerate(self.fates, start=1):
            for name, one in fate.items():
                if one.error and one.error != one.reason:
                    told.setdefault((name, one.error), row)
        lines = [f"error: `{name}` for record {row}: {printable(error)}" for (name, error), row in told.items()]
        more = len(lines) - _ERRORS
        return [*lines[:_ERRORS], *([f"error: and {more} others; to_dict() has all of them"] if more > 0 else [])]

    def _repr_html_(self) -> str:
        from dataflow.faces.samples import sample_html

        return sample_html(self)


def _told(outcome: Outcome) -> list[str | None]:
    told = [outcome.status.value, outcome.reason]
    return [*told, outcome.error] if outcome.error else told


def _cell(outcome: Outcome) -> str:
    status = outcome.status.value
    return status if outcome.reason in (None, status) else f"{status}: {outcome.reason}"


def sample(
    pipeline: Pipeline,
    source: Any,
    *,
    n: int = 20,
    catalog: str = DEFAULT_CATALOG,
    offline: bool = False,
    guardrails: Guardrails | None = None,
    error_texts: bool = True,
) -> Sample:
    """Run `n` records; see `Pipeline.sample`.

    Guardrails say what a run would make of records like these, and `error_texts` whether what providers and exceptions
    say may be shown.
    """
    trial = run_sample(pipeline, source, n=n, catalog=catalog, offline=offline, error_texts=error_texts)
    prepared, environment, bill = trial.prepared, trial.environment, trial.bill
    notes = [*trial.notes, *prepared.graph.notes, *_not_rowwise(prepared, environment)]
    steps = frozenset(step.index for step in prepared.graph.steps)
    notes += told_ahead(guardrails or Guardrails(), prepared.graph, foresee(environment, steps), records=trial.rows)
    if trial.unreadable:
        notes.append(f"records of the slices looked at that cannot be read, and would be rejected: {trial.unreadable}")
    return Sample(
        table=whole_table(environment),
        before=pa.table({name: environment.source_column(name) for name in environment.graph.source.names}),
        writers=_writers(environment.graph.steps),
        fates=_fates(environment),
        notes=tuple(notes),
        cost=bill.cost,
        currency=bill.currency,
        bill=bill if prepared.graph.calls_apis else None,
        quote=_quote_for_the_rest(pipeline, source, trial, catalog=catalog) if not offline else None,
    )


def _quote_for_the_rest(pipeline: Pipeline, source: Any, trial: Trial, *, catalog: str) -> Quote | None:
    """The quote where it is counted in a moment; a Dask collection would have to be computed for it."""
    if not trial.prepared.graph.calls_apis or trial.bytes > SMALL_BYTES or kind_of(source) in ("dask", "bag"):
        return None
    from dataflow.wiring.quoting import quote

    quoted = quote(pipeline, source, catalog=catalog, trial=trial)
    return replace(quoted, notes=tuple(note for note in quoted.notes if note != trial.bill.told))


def run_sample(
    pipeline: Pipeline,
    source: Any,
    *,
    n: int,
    catalog: str = DEFAULT_CATALOG,
    offline: bool = False,
    error_texts: bool = True,
) -> Trial:
    """Run `n` records of a source, evenly spaced.

    Raises:
        DataflowError: The source cannot be read, or the services do not fit it.
    """
    if n < 1:
        raise DeclarationError("a sample has at least one record: n takes a whole number from 1")
    with tempfile.TemporaryDirectory(prefix="dataflow-") as spool:
        found = resolve_source(some_partitions(source, _SLICES), catalog=Catalog(catalog), spool=spool)
        plan = plan_source(found, wanted_types(pipeline))
        check_columns(plan.schema)
        table, unreadable = _take(plan, n)
    prepared = prepare_once(pipeline, plan.schema, catalog=catalog, offline=offline)
    resources = replace(prepared.resources, error_texts=error_texts)
    environment = run_graph(prepared.graph, table, resources)
    return Trial(
        prepared=prepared,
        environment=environment,
        notes=plan.notes,
        unreadable=unreadable,
        bytes=sum(file.size for file in plan.files),
        rows=None if kind_of(source) in ("dask", "bag") else known_rows(plan.specs),
    )


def _take(plan: SourcePlan, n: int) -> tuple[pa.Table, int]:
    count = min(_SLICES, len(plan.specs), n)
    chosen = [plan.specs[at * len(plan.specs) // count] for at in range(count)] if count else []
    tables, unreadable = [], 0
    for at, spec in enumerate(chosen):
        batch = read(plan.options, spec, schema=plan.schema)
        unreadable += len(batch.unreadable)
        share = n // count + (at < n % count)
        tables.append(batch.table.take(_spread(batch.table.num_rows, share)))
    return (pa.concat_tables(tables) if tables else empty_table(plan.schema)), unreadable


def _spread(size: int, n: int) -> pa.Array:
    n = min(size, n)
    return pa.array([at * size // n for at in range(n)], pa.int64())


def _writers(steps: Iterable[Step]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for step in steps:
        for column in step.writes:
            found[column.name] = (*found.get(column.name, ()), step.service.name)
    return found


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


def _not_rowwise(prepared: Prepared, environment: Environment) -> list[str]:
    """The column services that give something else for their records than for two random parts of them.

    Only these are called again: the others may cost money.
    """
    steps = [one for one in prepared.graph.steps if one.service.form is Form.COLUMN and one.service.policy.rowwise]
    return [
        f"`{step.service.name}` is not row-wise: its result depends on which records come together"
        for step in steps
        if not _is_rowwise(step, prepared, environment)
    ]


def _is_rowwise(step: Step, prepared: Prepared, environment: Environment) -> bool:
    chosen = exclude(step, environment).rows
    rows = np.arange(environment.size) if chosen is None else chosen
    if len(rows) < 2:
        return True

    def called(part: Rows) -> Effect:
        with prepared.resources.hold(step):
            function = prepared.resources.function(step)
            columns, resources = environment.columns_of(step, part), prepared.resources
            return call_columns(step, function, columns, resources.context, patience=resources.patience(step))

    whole = called(rows)
    cuts = [random.Random(seed).randrange(1, len(rows)) for seed in (1, 2)]
    return all(check_rowwise(whole, [called(rows[:cut]), called(rows[cut:])]) for cut in cuts)
