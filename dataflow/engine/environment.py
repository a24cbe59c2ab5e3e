"""What is known of one partition while it runs: the columns in their versions, and the effect of each step.

Python lists of a column are made once and dropped with their last reader.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataflow.engine.arrow import arrow_array
from dataflow.engine.marks import Effect, Exclusions, Mask, Rows, mask_of
from dataflow.engine.values import to_python
from dataflow.outcomes import Kind, Outcome, Priority, Status
from dataflow.plan.graph import Column, Graph, Step
from dataflow.services.context import Outcomes
from dataflow.services.signature import REQUIRED, Form, Injected
from dataflow.services.types import holds

Taints = Mapping[Column, Sequence[tuple[str, Rows]]]
"""For a column, why a service left nulls in it, with the rows."""


class Environment:
    """The columns and effects of one partition.

    Attributes:
        graph: The bound pipeline.
        size: Records.
        effects: What each step did, by its index.
        taints: For a column, why a service left nulls in it (`company failed`), with the rows.
    """

    def __init__(self, graph: Graph, table: pa.Table, *, taints: Taints | None = None) -> None:
        self.graph = graph
        self.size = table.num_rows
        self.effects: dict[int, Effect] = {}
        self.taints = {column: list(several) for column, several in (taints or {}).items()}
        self._columns: dict[Column, Any] = {Column(name, 0): _column_of(table, name) for name in graph.source.names}
        self._lists: dict[Column, list[Any]] = {}
        self._readers = Counter(
            column
            for step in (graph.steps if self.size > 1 else ())
            if step.service.form in (Form.RECORD, Form.ASYNC, Form.HTTP, Form.LLM, Form.COMPOSITE)
            for column in step.inputs
        )

    def column(self, column: Column) -> Any:
        """The Arrow column of a version."""
        return self._columns[column]

    def has(self, column: Column) -> bool:
        """Whether a version was made by now."""
        return column in self._columns

    def source_column(self, name: str) -> Any:
        """A column as the source has it."""
        return self._columns[Column(name, 0)]

    def columns_of(self, step: Step, rows: Rows | None) -> list[Any]:
        """The argument columns of a column service or lookup, as Arrow."""
        indices = None if rows is None else arrow_array(rows)
        columns = [self._argument(step, column, at) for at, column in self._reads(step)]
        return columns if indices is None else [pc.take(column, indices) for column in columns]

    def _reads(self, step: Step) -> list[tuple[int, Column | None]]:
        return [(at, column) for at, read in enumerate(step.reads) for column in read.columns]

    def _argument(self, step: Step, column: Column | None, at: int) -> Any:
        if column is not None:
            return self._columns[column]
        return pa.array([step.reads[at].parameter.default] * self.size)

    def values_of(
        self, step: Step, rows: Rows | None, size: int, *, injected: Mapping[Injected, Any]
    ) -> list[Sequence[Any]]:
        """The argument columns of a record service, as lists of Python values, with what is injected for each."""

        def given(wanted: Injected) -> Sequence[Any]:
            if wanted in injected or wanted is not Injected.OUTCOMES:
                return [injected[wanted]] * size
            return self._outcomes(step, range(self.size) if rows is None else rows.tolist())

        return fill_arguments(step, size, injected=given, values=lambda column: self._list(column, rows))

    def _list(self, column: Column, rows: Rows | None) -> list[Any]:
        if self.size == 1:
            # Made again faster than kept.
            return self._fresh(column, rows)
        self._readers[column] -= 1
        if pa.types.is_nested(self._columns[column].type):
            return self._fresh(column, rows)
        if rows is not None and len(rows) * 2 < self.size:
            return self._fresh(column, rows)
        values = self._lists.get(column)
        if values is None:
            values = to_python(self._columns[column])
        if self._readers[column] > 0:
            self._lists[column] = values
        else:
            self._lists.pop(column, None)
        if rows is None:
            return values
        selected = np.zeros(self.size, np.bool_)
        selected[rows] = True
        return type(values)(itertools.compress(values, selected.tolist()))

    def _fresh(self, column: Column, rows: Rows | None) -> list[Any]:
        """Values that nobody else sees: a service may change a list or a dict that it was given."""
        values = self._columns[column]
        return to_python(values if rows is None else pc.take(values, arrow_array(rows)))

    def _outcomes(self, step: Step, rows: Sequence[int]) -> list[Outcomes]:
        """What the earlier steps did for each record; records for which all of it is the same share one."""
        if not step.after:
            return [Outcomes({})] * len(rows)
        known: list[list[Outcome]] = []
        codes = np.zeros((self.size, len(step.after)), np.int32)
        for at, index in enumerate(step.after):
            earlier = self.graph.steps[index]
            known.append([Outcome(service=earlier.service.name, status=Status.SUCCEEDED)])
            for places, outcome in _grouped(earlier, self.effects[index]):
                codes[places, at] = len(known[at])
                known[at].append(outcome)
        # Each row of codes as one value: a number of all of them together could be too large.
        wanted = codes[list(rows)].view(np.dtype((np.void, codes.itemsize * codes.shape[1]))).ravel()
        _, first, of = np.unique(wanted, return_index=True, return_inverse=True)
        found = [[one[code] for one, code in zip(known, codes[rows[at]], strict=True)] for at in first.tolist()]
        made = [Outcomes({outcome.service: outcome for outcome in one}) for one in found]
        return [made[place] for place in of.tolist()]

    def add(self, step: Step, effect: Effect) -> None:
        """Take in what a step did."""
        for column, values in zip(step.writes, effect.values, strict=True):
            self._columns[column] = values
        # Last: whoever sees it on another thread reads the columns.
        self.effects[step.index] = effect

    def settle(self, step: Step, effect: Effect, exclusions: Exclusions) -> tuple[Any, ...]:
        """The values of a step with earlier values kept and defaults filled in; notes nulls that failures left."""
        passed_on = (*exclusions.tainted, *self._passed_on(step))
        if not effect.failures and not passed_on and not any(step.replaces):
            return effect.values
        settled = []
        failed = effect.failed_rows
        for at, (column, values) in enumerate(zip(step.writes, effect.values, strict=True)):
            value = values
            before = step.replaces[at]
            if before is not None and self._keeps(step, before, effect=effect, exclusions=exclusions):
                value = self._keep(step, value, before, effect=effect, exclusions=exclusions)
            if len(failed) and step.service.policy.default is not REQUIRED:
                value = _fill(value, mask_of(failed, self.size), _default(step, at))
            elif len(failed):
                self.taints.setdefault(column, []).extend(_taints(step, effect))
            for taint in passed_on:
                self.taints.setdefault(column, []).append(taint)
            settled.append(value)
        return tuple(settled)

    def _passed_on(self, step: Step) -> list[tuple[str, Rows]]:
        """The taints that nulls carry through a column service, which is called with them."""
        if step.service.form is not Form.COLUMN:
            return []
        return [taint for column in step.inputs for taint in self.taints.get(column, ())]

    def _keeps(self, step: Step, before: Column, *, effect: Effect, exclusions: Exclusions) -> bool:
        if len(exclusions.kept) > 0 or step.service.policy.overwrite == "nulls":
            return True
        return _merges(step, before) and bool(effect.failures or effect.marks or exclusions.marks)

    def _keep(self, step: Step, value: Any, before: Column, *, effect: Effect, exclusions: Exclusions) -> Any:
        earlier = self._columns[before]
        if not holds(value.type, earlier.type):
            return value
        mask = mask_of(exclusions.kept, self.size)
        if _merges(step, before):
            mask |= self._unanswered(effect, exclusions)
        kept = arrow_array(mask)
        if step.service.policy.overwrite == "nulls":
            kept = pc.or_(kept, pc.is_valid(earlier))
        joined = earlier.combine_chunks() if isinstance(earlier, pa.ChunkedArray) else earlier
        return pc.if_else(kept, joined if joined.type == value.type else joined.cast(value.type), value)

    def _unanswered(self, effect: Effect, exclusions: Exclusions) -> Mask:
        """The records for which a service has no answer, whatever the reason."""
        mask = mask_of(effect.failed_rows, self.size)
        for mark in (*effect.marks, *exclusions.marks):
            if mark.status is not Status.CACHED:
                mask[mark.rows] = True
        return mask

    def rejected_by(self, steps: Sequence[int]) -> Mask:
        """The records that these steps have rejected."""
        mask = np.zeros(self.size, np.bool_)
        for index in steps:
            mask |= self.rejected_in(self.graph.steps[index])
        return mask

    def rejected_in(self, step: Step) -> Mask:
        """The records that one step has rejected: by failure, by verdict or by an author's word."""
        effect = self.effects[step.index]
        mask = np.zeros(self.size, np.bool_)
        if effect.failures and step.service.policy.priority is Priority.CRITICAL:
            mask[effect.failed_rows] = True
        if effect.rejections:
            mask[[row for row, _ in effect.rejections]] = True
        if self.graph.invalid == "reject" and effect.verdicts is not None:
            mask |= ~effect.verdicts.valid
        return mask

    def unfit(self, steps: Sequence[int]) -> Mask:
        """The records that some of these validations found invalid or failed for."""
        mask = np.zeros(self.size, np.bool_)
        for index in steps:
            effect = self.effects[index]
            if effect.verdicts is not None:
                mask |= ~effect.verdicts.valid
            mask[effect.failed_rows] = True
        return mask

    def of_kind(self, kind: Kind) -> list[tuple[Step, Effect]]:
        """The steps of a kind with their effects, in listed order."""
        return [(step, self.effects[step.index]) for step in self.graph.of_kind(kind)]


def _column_of(table: pa.Table, name: str) -> Any:
    """A column of a table; that of a single record in one piece, which is read many times faster."""
    column = table[name]
    return column.chunk(0) if len(column) == 1 and column.num_chunks == 1 else column


def fill_arguments(
    step: Step,
    size: int,
    *,
    injected: Callable[[Injected], Sequence[Any]],
    values: Callable[[Column], Sequence[Any]],
) -> list[Sequence[Any]]:
    """What each parameter of a step gets, a list for each of its columns.

    Args:
        step: A service that is called by record.
        size: Records.
        injected: Gives what is injected for each record.
        values: Gives the Python values of a column.
    """
    arguments: list[Sequence[Any]] = []
    for read in step.reads:
        if read.parameter.injected is not None:
            arguments.append(injected(read.parameter.injected))
        defaults = read.parameter.field_defaults()
        for column, name in zip(read.columns, read.parameter.columns, strict=False):
            if column is None:
                default = defaults.get(name, read.parameter.default)
                arguments.append([None if default is REQUIRED else default] * size)
            else:
                arguments.append(values(column))
    return arguments


def outcomes_of(step: Step, effect: Effect) -> list[tuple[int, Outcome]]:
    """The outcomes of a step that did not simply succeed, by row."""
    return [(row, outcome) for rows, outcome in _grouped(step, effect) for row in rows]


def _grouped(step: Step, effect: Effect) -> Iterator[tuple[list[int], Outcome]]:
    """The outcomes of a step that did not simply succeed, each with its rows."""
    name = step.service.name
    for mark in effect.marks:
        yield mark.rows.tolist(), Outcome(service=name, status=mark.status, reason=mark.reason, attempts=0)
    for failure in effect.failures:
        outcome = Outcome(
            service=name,
            status=failure.status,
            reason=failure.reason,
            error=failure.error,
            attempts=failure.attempts,
            duration=failure.duration,
            cost=failure.cost,
        )
        yield [failure.row], outcome


def _merges(step: Step, before: Column) -> bool:
    """Whether what an earlier service gave stays where this one has no answer.

    It does not so with what a transformation rewrites, which is not fit as it was, nor with a column of the source,
    which this one was listed to replace.
    """
    return step.service.kind is Kind.ENRICHMENT and before.version > 0


def _taints(step: Step, effect: Effect) -> list[tuple[str, Rows]]:
    """Why the nulls of a step are there."""
    name, unattempted = step.service.name, effect.unattempted_rows
    failed = np.setdiff1d(effect.failed_rows, unattempted, assume_unique=True)
    reasons = [(f"{name} failed", failed), (f"{name} not attempted", unattempted)]
    return [(reason, rows) for reason, rows in reasons if len(rows)]


def _default(step: Step, at: int) -> Any:
    returns, value, field = step.service.returns, step.service.policy.default, step.fields[at]
    if returns is not None and returns.plain is not None and value is not None and not isinstance(value, Mapping):
        value = returns.plain(value)
    if field is not None and value is not None:
        value = value.get(field)
    return pa.array([value], step.types[at])[0]


def _fill(value: Any, mask: Mask, default: Any) -> Any:
    joined = value.combine_chunks() if isinstance(value, pa.ChunkedArray) else value
    return pc.if_else(arrow_array(mask), default, joined)
