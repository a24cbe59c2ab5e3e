"""The distinct keys of one partition for every service that calls out, found without a call.

Services that compute are run. A service that calls out is answered from memory as far as that goes; what it would
answer the other records is open, and so is all that depends on it: for these records a later service may ask or not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataflow.engine.applicability import exclude
from dataflow.engine.calling import Answers, judge
from dataflow.engine.distinct import group
from dataflow.engine.environment import Environment
from dataflow.engine.foreseeing import Foreseen, foresee
from dataflow.engine.http.memory import AnswerStore, Memory
from dataflow.engine.http.sharing import Shared, spread_answers
from dataflow.engine.keys import is_unlike, key_of, keys_of
from dataflow.engine.marks import Effect, Mask, Rows, mask_of, nulls_of
from dataflow.engine.nested import Nested, fitted
from dataflow.engine.partition import finish, nothing, run_step
from dataflow.engine.resources import Resources
from dataflow.plan.foresight import call_free
from dataflow.plan.graph import Column, Graph, Step
from dataflow.plan.partitions import Batch
from dataflow.services.signature import Injected

Numbers = npt.NDArray[np.int64]

NO_KEYS: Numbers = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepKeys:
    """The keys of one service in one partition, each as the number that its first eight bytes make.

    Attributes:
        records: Records that ask for sure.
        fresh: Their keys that memory does not answer.
        cached: Their keys that it answers.
        open_records: Further records, that ask or not as other services answer.
        open_fresh: Their keys that memory does not answer; None where their inputs are not known yet.
        open_cached: Their keys that it answers.
        after: The services that decide about the open records.
        reads: The one of them whose answers all open inputs are made of, or None.
    """

    records: int
    fresh: Numbers
    cached: Numbers
    open_records: int = 0
    open_fresh: Numbers | None = None
    open_cached: Numbers = field(default_factory=lambda: NO_KEYS)
    after: frozenset[str] = frozenset()
    reads: str | None = None


def needed_steps(graph: Graph, also: Iterable[int] = ()) -> list[Step]:
    """The services that call out, and those that they wait for, with some others, in listed order."""
    needed = set(also)
    waiting = [step.index for step in graph.steps if step.service.calls_out]
    while waiting:
        index = waiting.pop()
        if index not in needed:
            needed.add(index)
            waiting += graph.steps[index].after
    return [graph.steps[index] for index in sorted(needed)]


def count_keys(
    graph: Graph, table: pa.Table, resources: Resources, *, store: AnswerStore | None
) -> dict[str, StepKeys]:
    """The keys of every service that calls out, by its name; nothing is called.

    Args:
        graph: The bound pipeline.
        table: The records of the partition.
        resources: What the services that compute need.
        store: What is remembered; None for nothing.

    Raises:
        DeclarationError: An input is of a type that cannot be part of a key.
    """
    walk = _Walk(graph, table, resources, store)
    return dict(walk.steps(needed_steps(graph)))


def count_ahead(
    graph: Graph, batch: Batch, resources: Resources, *, store: AnswerStore | None, path: str
) -> tuple[dict[str, StepKeys], Foreseen]:
    """The keys of a partition as `count_keys` gives them, and what becomes of its records before any call.

    Args:
        graph: The bound pipeline.
        batch: What was read of the partition.
        resources: What the services that compute need.
        store: What is remembered; None for nothing.
        path: The source file.

    Raises:
        DeclarationError: An input is of a type that cannot be part of a key.
    """
    free = call_free(graph)
    walk = _Walk(graph, batch.table, resources, store)
    keys = dict(walk.steps(needed_steps(graph, free)))
    return keys, foresee(walk.environment, free, resources=resources, batch=batch, path=path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """What is open before a graph begins, since it is inside another.

    Attributes:
        records: The records of which something is open.
        columns: The columns that are open for them.
        deciders: The services that decide about them.
    """

    records: Mask
    columns: frozenset[Column] = frozenset()
    deciders: frozenset[str] = frozenset()


class _Walk:
    """One partition on its way through the services."""

    def __init__(
        self,
        graph: Graph,
        table: pa.Table,
        resources: Resources,
        store: AnswerStore | None,
        *,
        before: Before | None = None,
    ) -> None:
        self._graph = graph
        self._resources = resources
        self._store = store
        self._before = before or Before(records=np.zeros(table.num_rows, np.bool_))
        self.environment = Environment(graph, table)
        self._open: dict[int, Mask] = {}
        self._deciders: dict[int, frozenset[str]] = {}
        self._writers = {column: step for step in graph.steps for column in step.writes}

    def steps(self, listed: Sequence[Step]) -> Iterator[tuple[str, StepKeys]]:
        """Each service that calls out with its keys."""
        for step in listed:
            inherited = self._inherited(step)
            deciders = self._before.deciders.union(*(self._deciders[index] for index in step.after))
            if step.nest is not None and step.service.calls_out:
                yield from self._nested(step, inherited, deciders)
            elif step.service.calls_out:
                keys, effect = self._count(step, inherited, deciders)
                self._deciders[step.index] = deciders | ({step.service.name} if len(keys.fresh) else frozenset())
                if keys.open_records:
                    self._deciders[step.index] |= {step.service.name}
                self.environment.add(step, effect)
                yield step.service.name, keys
            else:
                self._open[step.index] = inherited
                self._deciders[step.index] = deciders
                self.environment.add(step, run_step(step, self.environment, self._resources, clock=lambda: 0.0))

    def _inherited(self, step: Step) -> Mask:
        """The records of which it is open what the services before it give."""
        mask = self._before.records.copy()
        for index in step.after:
            mask |= self._open[index]
        return mask

    def _nested(self, step: Step, inherited: Mask, deciders: frozenset[str]) -> Iterator[tuple[str, StepKeys]]:
        """The keys of what is inside a `for_each`; how many items a list has that is open itself is not known."""
        exclusions = exclude(step, self.environment)
        asking = mask_of(
            np.arange(self.environment.size) if exclusions.rows is None else exclusions.rows, inherited.size
        )
        rows = np.flatnonzero(asking | (inherited & self._possible(step)))
        assert step.nest is not None
        columns = {Column(name, 0) for name, one in step.nest.given.items() if self._is_open(one, rows)}
        before = Before(records=inherited[rows], columns=frozenset(columns), deciders=deciders)
        inside = fitted(self._resources, step)
        nested = Nested(step.nest, self.environment, rows=rows)
        if step.nest.record is not None:
            walk = _Walk(step.nest.record, nested.given, inside.pop(0), self._store, before=before)
            yield from walk.steps(step.nest.record.steps)
            nested.begin(walk.environment)
            before = walk.after(before)
        if step.nest.items is not None:
            parents = nested.parents
            one = _Walk(
                step.nest.items,
                nested.items_table(),
                inside.pop(0),
                self._store,
                before=replace(before, records=before.records[parents]),
            )
            yield from one.steps(needed_steps(step.nest.items))
            before = one.after(before)
        self._open[step.index] = inherited | asking
        self._deciders[step.index] = before.deciders
        none = np.empty(0, np.int64)
        self.environment.add(
            step, finish(step, self.environment, replace(exclusions, rows=none), nothing(step), texts=False)
        )

    def after(self, before: Before) -> Before:
        """What is open when the services are through; of items, the records stay as they were."""
        opened = [mask for mask in self._open.values() if mask.size == before.records.size]
        final = (column for column in self._graph.last if self._is_open(column, np.arange(self.environment.size)))
        return Before(
            records=np.logical_or.reduce([before.records, *opened]),
            columns=before.columns | {Column(column.name, 0) for column in final},
            deciders=before.deciders.union(*self._deciders.values()),
        )

    def _count(self, step: Step, inherited: Mask, deciders: frozenset[str]) -> tuple[StepKeys, Effect]:
        environment = self.environment
        exclusions = exclude(step, environment)
        asking = np.ones(environment.size, np.bool_)
        if exclusions.rows is not None:
            asking = mask_of(exclusions.rows, environment.size)
        sure = np.flatnonzero(asking & ~inherited)
        shared = self._shared(step, sure)
        answers = Answers(values=[None] * len(shared.inputs))
        answers.remembered |= self._memory(step).recall(shared.keys, answers)
        fresh = [at for at in range(len(shared.keys)) if at not in answers.remembered]
        unanswered = mask_of(np.array(fresh, np.int64), len(shared.keys))[np.array(shared.call_of, np.int64)]
        self._open[step.index] = inherited.copy()
        self._open[step.index][sure[unanswered]] = True
        keys = StepKeys(
            records=len(sure),
            fresh=numbers([shared.keys[at] for at in fresh]),
            cached=numbers([shared.keys[at] for at in sorted(answers.remembered)]),
        )
        if inherited.any():
            keys = self._opened(step, inherited, deciders, keys)
        effect = _answered(step, answers, shared)
        return keys, finish(step, environment, replace(exclusions, rows=sure[~unanswered]), effect, texts=False)

    def _shared(self, step: Step, rows: Rows) -> Shared:
        """The distinct inputs of some records, with their keys."""
        if is_unlike(step) or step.service.api is None:
            # Each of them is called, whatever it is given.
            size = len(rows)
            own = [next(_seen).to_bytes(8, "big") for _ in range(size)]
            return Shared(inputs=[()] * size, keys=own, call_of=list(range(size)))
        groups = group(step, self.environment, rows)
        first = rows[groups.first]
        columns = self.environment.values_of(step, first, len(first), injected=dict.fromkeys(Injected))
        key = key_of(step, keys_of(step))
        places: dict[bytes, int] = {}
        found = zip(*columns, strict=True) if columns else [()] * len(first)
        of = np.array([places.setdefault(key(row), len(places)) for row in found], np.int64)
        call_of = of[groups.of].tolist() if len(rows) else []
        return Shared(inputs=[()] * len(places), keys=list(places), call_of=call_of)

    def _memory(self, step: Step) -> Memory:
        service = step.service
        store = self._store if service.api is not None and not is_unlike(step) and service.returns else None
        returns: Any = service.returns
        return Memory(store, service=service.name, returns=returns)

    def _opened(self, step: Step, inherited: Mask, deciders: frozenset[str], sure: StepKeys) -> StepKeys:
        """What the records may ask for that others decide about."""
        possible = np.flatnonzero(inherited & self._possible(step))
        if not len(possible):
            return sure
        counted = replace(sure, open_records=len(possible), after=deciders, reads=self._origin(step))
        if any(self._is_open(column, possible) for column in step.inputs) or is_unlike(step):
            return counted
        keys = self._shared(step, possible).keys
        known = self._memory(step).recall(keys, Answers(values=[None] * len(keys)))
        return replace(
            counted,
            open_fresh=numbers([key for at, key in enumerate(keys) if at not in known]),
            open_cached=numbers([keys[at] for at in sorted(known)]),
            reads=None,
        )

    def _possible(self, step: Step) -> Mask:
        """The records that nothing excludes that is known already."""
        environment = self.environment
        left = np.ones(environment.size, np.bool_)
        for index in step.gated_by:
            left &= self._open[index] | ~environment.rejected_by([index])
        for read in step.reads:
            for column in read.columns:
                nulls = None if column is None or read.parameter.declared.nullable else self._nulls(column)
                if nulls is not None:
                    left &= ~nulls
        return left

    def _nulls(self, column: Column) -> Mask | None:
        """Where a column is null for sure."""
        nulls = nulls_of(self.environment.column(column))
        if nulls is not None and column in self._before.columns:
            return nulls & ~self._before.records
        writer = self._writers.get(column)
        return nulls if nulls is None or writer is None else nulls & ~self._open[writer.index]

    def _is_open(self, column: Column, rows: Rows) -> bool:
        if column in self._before.columns:
            return bool(self._before.records[rows].any())
        writer = self._writers.get(column)
        return writer is not None and bool(self._open[writer.index][rows].any())

    def _origin(self, step: Step) -> str | None:
        """The one service whose answers, with what it was asked itself, make all inputs of a step."""
        origins = frozenset[Column | str]().union(*(self._origins(column) for column in step.inputs))
        named = [one for one in origins if isinstance(one, str)]
        if len(named) != 1:
            return None
        asked = next(one for one in self._graph.steps if one.service.name == named[0]).inputs
        return named[0] if all(one in asked for one in origins if isinstance(one, Column)) else None

    def _origins(self, column: Column) -> frozenset[Column | str]:
        """The services that call out, and the columns known beforehand, that a column is made of."""
        writer = self._writers.get(column)
        if writer is None or not self._open[writer.index].any():
            return frozenset({column})
        kept = [one for one in writer.replaces if one is not None]
        before = frozenset[Column | str]().union(*(self._origins(one) for one in kept))
        if writer.service.calls_out:
            return before | {writer.service.name}
        return before.union(*(self._origins(one) for one in writer.inputs))


def _answered(step: Step, answers: Answers, shared: Shared) -> Effect:
    """What memory gives the records that it has an answer for."""
    if not answers.remembered:
        return nothing(step)
    places = {place: at for at, place in enumerate(sorted(answers.remembered))}
    known = Answers(values=[answers.values[place] for place in places], calls=0)
    known.raised = {at: answers.raised[place] for place, at in places.items() if place in answers.raised}
    known.remembered = set(range(len(places)))
    call_of = [places[place] for place in shared.call_of if place in places]
    return judge(step, spread_answers(known, Shared(inputs=[()] * len(places), keys=[], call_of=call_of)))


_seen = iter(range(1 << 62))
"""Numbers that nobody else has, for calls that nobody shares."""


def numbers(keys: Sequence[bytes]) -> Numbers:
    """The first eight bytes of each key as a number: two of a billion keys hardly ever have the same."""
    if not keys:
        return NO_KEYS
    whole = np.frombuffer(b"".join(key[:8] for key in keys), np.uint8).reshape(len(keys), 8)
    return whole.copy().view(np.int64).reshape(len(keys))
