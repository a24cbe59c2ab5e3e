"""`for_each` over the records of a partition: items become records, their results a list again.

What runs inside is a graph like any other and is run by whoever runs those. Here is only how records and items
belong together, and what the fate of an item means for its record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataflow.engine.arrow import arrow_array
from dataflow.engine.environment import Environment, Taints
from dataflow.engine.fate import count_service, output_table
from dataflow.engine.marks import Effect, Failure, Mask, MemberEffect, Rows, join_chunks, mask_of
from dataflow.engine.resources import Resources
from dataflow.engine.verdicts import everything
from dataflow.outcomes import Priority, Status
from dataflow.plan.graph import Column, Graph, Step
from dataflow.plan.nesting import Nest
from dataflow.services.signature import Form
from dataflow.telemetry.services import ServiceStatistics

LOST = "item failed"
"""The reason where a critical service has failed for some item of a record."""


class RunGraph(Protocol):
    """Runs a graph over the records of a table."""

    def __call__(self, graph: Graph, table: pa.Table, resources: Resources, *, taints: Taints) -> Environment:
        """All columns, and what each step did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """The items of some records, one after the other.

    Attributes:
        values: The items.
        parents: The record of each, ascending.
        lengths: Items of each record.
    """

    values: Any
    parents: Rows
    lengths: Rows

    @classmethod
    def of(cls, lists: Any) -> Items:
        """Those in a column of lists, in whichever layout; a null list has none."""
        joined = join_chunks(lists)
        counted = pc.fill_null(pc.list_value_length(joined), 0)
        lengths = counted.to_numpy(zero_copy_only=False).astype(np.int64, copy=False)
        return cls(values=pc.list_flatten(joined), parents=np.repeat(np.arange(len(lengths)), lengths), lengths=lengths)

    @property
    def places(self) -> Rows:
        """The place of each item in its list, from 0."""
        starts = np.cumsum(self.lengths) - self.lengths
        return np.arange(len(self.parents)) - np.repeat(starts, self.lengths)


def run_each(step: Step, environment: Environment, resources: Resources, *, rows: Rows | None, run: RunGraph) -> Effect:
    """Run what is inside a `for_each` for the items of some records."""
    assert step.nest is not None
    nested = Nested(step.nest, environment, rows=rows)
    inside = fitted(resources, step)
    if step.nest.record is not None:
        nested.begin(run(step.nest.record, nested.given, inside.pop(0), taints=nested.taints))
    if step.nest.items is not None:
        nested.go_on(run(step.nest.items, nested.items_table(), inside.pop(0), taints=nested.item_taints()))
    return nested.effect()


def fitted(resources: Resources, step: Step) -> list[Resources]:
    """What the graphs inside a step need, in the order of work."""
    # What is known by the places of records says nothing of items.
    apart = replace(resources, answers=None, effects=None, kept={})
    return [
        replace(
            apart,
            functions=one.functions,
            indexes=one.indexes,
            nested=one.nested,
            _locks=one.locks,
            _instances=one.instances,
        )
        for one in resources.nested[step.index]
    ]


def idle(step: Step) -> tuple[MemberEffect, ...]:
    """What the services inside a step do where it has nothing to do."""
    inside = step.every[1:]
    return tuple(
        MemberEffect(
            service=one.service,
            statistics=ServiceStatistics(
                kind=one.service.kind,
                priority=one.service.policy.priority,
                member_of=one.service.member_of or step.service.name,
            ),
        )
        for one in inside
    )


class Nested:
    """The records and the items of one `for_each`, and what was done for them."""

    def __init__(self, nest: Nest, environment: Environment, *, rows: Rows | None) -> None:
        self._nest = nest
        self._size = environment.size if rows is None else len(rows)
        lists = _taken(environment.column(nest.column), rows)
        columns = {name: _taken(environment.column(column), rows) for name, column in nest.given.items()}
        self.given = pa.table(columns or {"": pa.nulls(self._size, pa.bool_())})
        self.taints = _given_taints(nest, environment, rows)
        self._items = Items.of(lists)
        self._records: Environment | None = None
        self._done: Environment | None = None
        self.alive = np.arange(len(self._items.parents))

    def begin(self, environment: Environment) -> None:
        """Take in what was done once for each record; those that it has rejected have no living items."""
        self._records = environment
        self.alive = np.flatnonzero(~_rejected(environment)[self._items.parents])

    @property
    def parents(self) -> Rows:
        """The record of each living item."""
        return self._items.parents[self.alive]

    def items_table(self) -> pa.Table:
        """The living items as records."""
        values, parents = _taken(self._items.values, self.alive), self._items.parents[self.alive]
        single = {self._nest.item: values}
        if pa.types.is_struct(values.type):
            single |= {field.name: pc.struct_field(values, field.name) for field in values.type}
        known = {name: self.given[name] for name in self._nest.given}
        if self._records is not None:
            known |= {one.name: _last(self._records, one, kind) for one, kind in self._records.graph.last.items()}
        others = {name: _taken(column, parents) for name, column in known.items() if name not in single}
        return pa.table({**single, **others})

    def item_taints(self) -> Taints:
        """Why some columns of the living items are null."""
        found = dict(self.taints)
        if self._records is not None:
            tainted = [one for one in self._records.graph.last if one in self._records.taints]
            found |= {Column(one.name, 0): self._records.taints[one] for one in tainted}
        parents = self._items.parents[self.alive]
        return {
            column: [(reason, np.flatnonzero(mask_of(rows, self._size)[parents])) for reason, rows in several]
            for column, several in found.items()
        }

    def go_on(self, environment: Environment) -> None:
        """Take in what was done for the living items."""
        self._done = environment

    def effect(self) -> Effect:
        """All of it as the effect of one service on the records."""
        members = self._all_members()
        return Effect(values=(self._lists(),), failures=tuple(self._failures(members)), members=tuple(members))

    def lost(self) -> Rows:
        """The records that lack an item by what was done so far."""
        return np.array([failure.row for failure in self._failures(self._all_members())], np.int64)

    def _all_members(self) -> list[MemberEffect]:
        records = [] if self._records is None else _members(self._records)
        return records + ([] if self._done is None else _members(self._done, self.parents))

    def _lists(self) -> pa.Array:
        offsets = np.concatenate([[0], np.cumsum(self._items.lengths)]).astype(np.int32)
        return pa.ListArray.from_arrays(pa.array(offsets), self._structs(), type=self._nest.type)

    def _structs(self) -> pa.Array:
        """The result of each item, null where it is lost."""
        kind, total = self._nest.type.value_type, len(self._items.parents)
        if not len(self.alive):
            return pa.nulls(total, kind)
        given = done = self.items_table()
        lost = np.zeros(len(self.alive), np.bool_)
        if self._done is not None:
            done, lost = output_table(self._done, kept=everything(len(self.alive))), _rejected(self._done)
        arrays = [join_chunks((done if made else given)[name]) for name, made in self._nest.fields]
        found = pa.StructArray.from_arrays(arrays, fields=list(kind), mask=pa.array(lost))
        if len(self.alive) == total:
            return found
        places = np.zeros(total, np.int64)
        places[self.alive] = np.arange(len(self.alive))
        return found.take(pa.array(places, mask=~mask_of(self.alive, total)))

    def _failures(self, members: Sequence[MemberEffect]) -> list[Failure]:
        """One for each record that lacks an item, or a service that was not attempted."""
        found: dict[int, Failure] = {}
        for member, failure, where in self._told(members):
            status = failure.status if failure.status is Status.NOT_ATTEMPTED else Status.FAILED
            if status is Status.FAILED and member.service.policy.priority is not Priority.CRITICAL:
                continue
            before = found.get(failure.row)
            if before is None or (status is Status.NOT_ATTEMPTED and before.status is Status.FAILED):
                reason = failure.reason if status is Status.NOT_ATTEMPTED else LOST
                before_it = f"{where}`{member.service.name}`: "
                found[failure.row] = Failure(
                    row=failure.row,
                    reason=reason,
                    error=before_it + failure.error,
                    plain=None if failure.plain is None else before_it + failure.plain,
                    status=status,
                    attempts=0,
                    duration=0.0,
                )
        return [found[row] for row in sorted(found)]

    def _told(self, members: Sequence[MemberEffect]) -> list[tuple[MemberEffect, Failure, str]]:
        """The failures inside, those of the records first, then by item."""
        places = self._items.places[self.alive]
        listed = [
            (item, number, member, failure)
            for number, member in enumerate(members)
            for failure, item in zip(member.failures, member.items or [-1] * len(member.failures), strict=True)
        ]
        return [
            (member, failure, "" if item < 0 else f"item {places[item] + 1}: ")
            for item, _, member, failure in sorted(listed, key=lambda one: one[:2])
        ]


def _members(environment: Environment, parents: Rows | None = None) -> list[MemberEffect]:
    """What each step inside did, its failures by record; `parents` are the records of items."""
    found = []
    for step in environment.graph.steps:
        effect = environment.effects.get(step.index)
        if effect is None:
            # Only what needs no call was run.
            continue
        if step.service.member_of and step.service.form is Form.COMPOSITE:
            continue
        statistics = count_service(step, effect, size=environment.size, streak=None)
        statistics = replace(statistics, member_of=statistics.member_of or environment.graph.name)
        found.append(MemberEffect(service=step.service, statistics=statistics, failures=effect.failures))
        found += effect.members
    return found if parents is None else [_by_record(member, parents) for member in found]


def _by_record(member: MemberEffect, parents: Rows) -> MemberEffect:
    return replace(
        member,
        failures=tuple(replace(one, row=int(parents[one.row])) for one in member.failures),
        items=tuple(one.row for one in member.failures),
    )


def _last(environment: Environment, column: Column, kind: pa.DataType) -> Any:
    """The last version of a column, or nulls where it waits for a call."""
    return environment.column(column) if environment.has(column) else pa.nulls(environment.size, kind)


def _rejected(environment: Environment) -> Mask:
    return environment.rejected_by(sorted(environment.effects))


def _taken(column: Any, rows: Rows | None) -> Any:
    joined = join_chunks(column)
    return joined if rows is None else pc.take(joined, arrow_array(rows))


def _given_taints(nest: Nest, environment: Environment, rows: Rows | None) -> dict[Column, list[tuple[str, Rows]]]:
    """Why some columns of the records are null, by their places among these records."""

    def placed(tainted: Rows) -> Rows:
        mask = mask_of(tainted, environment.size)
        return np.flatnonzero(mask if rows is None else mask[rows])

    known: Mapping[Column, list[tuple[str, Rows]]] = environment.taints
    return {
        Column(name, 0): [(reason, placed(tainted)) for reason, tainted in known[column]]
        for name, column in nest.given.items()
        if column in known
    }
