"""Adds up the keys of partitions: which are distinct over the whole source, in bounded memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from dataflow.engine.counting import NO_KEYS, Numbers, StepKeys
from dataflow.plan.graph import Graph, Step
from dataflow.plan.quote import KeyCount
from dataflow.plan.resolve import NOISE, is_resolvable
from dataflow.telemetry.sketches import Distinct

EXACT = 8_000_000
"""Distinct keys of a service that are held one by one, at eight bytes each; beyond it a sketch estimates them."""


class Keys:
    """The distinct keys among all that were added."""

    def __init__(self, most: int = EXACT) -> None:
        self.added = 0
        self._most = most
        self._known: Numbers = NO_KEYS
        self._more: list[Numbers] = []
        self._waiting = 0
        self._sketch: Distinct | None = None

    def add(self, keys: Numbers) -> None:
        """Add the distinct keys of a partition."""
        self.added += len(keys)
        if not len(keys):
            return
        self._more.append(keys)
        self._waiting += len(keys)
        if self._sketch is not None or self._waiting > max(len(self._known), 100_000):
            self._settle()

    def _settle(self) -> None:
        joined = np.unique(np.concatenate([self._known, *self._more]))
        self._more, self._waiting = [], 0
        if self._sketch is None and len(joined) <= self._most:
            self._known = joined
            return
        self._known = NO_KEYS
        self._sketch = Distinct.merged([Distinct.of(joined.tolist()), *([self._sketch] if self._sketch else [])])

    @property
    def estimated(self) -> bool:
        """Whether they were too many to be held."""
        self._settle_rest()
        return self._sketch is not None

    def distinct(self) -> int:
        """How many there are, or about how many."""
        self._settle_rest()
        return len(self._known) if self._sketch is None else min(self.added, self._sketch.estimate())

    def among(self, other: Keys) -> int:
        """How many of them are among others too; 0 where either is estimated."""
        if self.estimated or other.estimated:
            return 0
        return int(np.isin(self._known, other._known, assume_unique=True).sum())

    def _settle_rest(self) -> None:
        if self._more:
            self._settle()


@dataclass(slots=True)
class _Sums:
    """What is known of one service so far."""

    fresh: Keys = field(default_factory=Keys)
    cached: Keys = field(default_factory=Keys)
    opened: Keys = field(default_factory=Keys)
    opened_cached: Keys = field(default_factory=Keys)
    records: int = 0
    open_records: int = 0
    unknown: bool = False
    after: frozenset[str] = frozenset()
    reads: set[str | None] = field(default_factory=set)


class KeyCounter:
    """The keys of every service that calls out, over all partitions.

    Args:
        graph: The bound pipeline.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        called = [step for step in graph.every if step.service.calls_out and step.nest is None]
        self._steps = {step.service.name: step for step in called}
        self._alone = {step.service.name for step in graph.steps}
        self._sums = {name: _Sums() for name in self._steps}

    def add(self, found: Mapping[str, StepKeys]) -> None:
        """Add the keys of a partition."""
        for name, keys in found.items():
            sums = self._sums[name]
            sums.records += keys.records
            sums.fresh.add(keys.fresh)
            sums.cached.add(keys.cached)
            if not keys.open_records:
                continue
            sums.open_records += keys.open_records
            sums.after |= keys.after
            sums.opened_cached.add(keys.open_cached)
            if keys.open_fresh is None:
                sums.unknown = True
                sums.reads.add(keys.reads)
            else:
                sums.opened.add(keys.open_fresh)

    def counts(self) -> dict[str, KeyCount]:
        """The counts of each service by its name."""
        counts: dict[str, KeyCount] = {}
        beforehand: set[str] = set()
        for name, sums in self._sums.items():
            step = self._steps[name]
            # What runs inside a for_each is called by each partition for itself.
            once = name in self._alone and is_resolvable(step) and self._ancestors(step) <= beforehand
            counts[name] = _count(name, sums, once=once, order=tuple(self._steps))
            if once and _is_shared(sums):
                beforehand.add(name)
        return counts

    def _ancestors(self, step: Step) -> set[str]:
        """The services that call out and that a step waits for."""
        found: set[int] = set()
        waiting = [*step.after]
        while waiting:
            index = waiting.pop()
            if index not in found:
                found.add(index)
                waiting += self._graph.steps[index].after
        return {name for name, one in self._steps.items() if one.index in found}


def _count(name: str, sums: _Sums, *, once: bool, order: Sequence[str]) -> KeyCount:
    fresh, cached = sums.fresh.distinct(), sums.cached.distinct()
    opened = max(0, sums.opened.distinct() - sums.opened.among(sums.fresh))
    estimated = sums.fresh.estimated or sums.opened.estimated
    return KeyCount(
        service=name,
        records=sums.records,
        keys=fresh + cached,
        cached=cached,
        repeats=0 if once and _is_shared(sums) else max(0, sums.fresh.added - fresh),
        open_records=sums.open_records,
        open_keys=None if sums.unknown else opened,
        open_repeats=max(0, sums.opened.added - opened),
        cached_open=max(0, sums.opened_cached.distinct() - sums.opened_cached.among(sums.cached)),
        once=once,
        after=tuple(one for one in order if one in sums.after),
        reads=next(iter(sums.reads)) if len(sums.reads) == 1 else None,
        relative_error=Distinct.relative_error if estimated else 0.0,
    )


def _is_shared(sums: _Sums) -> bool:
    """Whether partitions share so many keys that a run asks for each of them once, whatever its sketch says."""
    own = sums.fresh.added + sums.cached.added
    distinct = sums.fresh.distinct() + sums.cached.distinct()
    return not sums.open_records and own - distinct > 2 * NOISE * own
