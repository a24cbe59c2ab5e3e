"""What of a run is certain before its first paid call: which services tell, and for which of its records.

Nothing is run or judged here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dataflow.plan.graph import Column, Graph, Step
from dataflow.plan.partitions import PartitionSpec
from dataflow.policies.guardrail import MaxFailures

FIRST = 100_000
"""Records that are looked at before the first call; those after them are, before the calls of their partition."""
_BYTES = 1_000
"""Bytes of a record where nobody has counted them: rather more, so that the first records are among those looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What a partition is judged with before its calls.

    Attributes:
        max_failures: How many failures the run survives.
        others: Records of all other partitions, as far as known.
        before: What was counted of those that were looked at, as JSON values.
    """

    max_failures: MaxFailures
    others: int
    before: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Outlook:
        """What `asdict` made of one."""
        return cls(**{**values, "max_failures": MaxFailures(**values["max_failures"])})


def is_costly(graph: Graph) -> bool:
    """Whether a call that turns out to be in vain costs money, or a part of what an API allows."""
    services = [step.service for step in graph.every]
    priced = any(service.policy.price is not None for service in services)
    apis = [service.api for service in services if service.api is not None]
    return priced or any(api.rates or api.concurrency is not None for api in apis)


def call_free(graph: Graph, *, unknown: Collection[str] = ()) -> frozenset[int]:
    """The places of the steps that compute, and need nothing that a call gives.

    Args:
        graph: The services.
        unknown: Columns of the source that calls give, as inside a `for_each`.
    """
    given = {Column(name, 0) for name in unknown}
    found: set[int] = set()
    for step in graph.steps:
        waits = step.service.calls_out or step.condition in given or not given.isdisjoint(step.inputs)
        if not waits and found.issuperset(step.after):
            found.add(step.index)
    return frozenset(found)


def light(graph: Graph, *, without: Collection[str] = ()) -> frozenset[int]:
    """The places of the steps that may be tried only to look: they wait for no call and need nothing set up.

    Args:
        graph: The services.
        without: The names of services that are left out, with all that comes after them.
    """
    free, found = call_free(graph), set[int]()
    for step in graph.steps:
        service = step.service
        heavy = service.policy.isolate or any(one.is_class for one in service.every) or service.name in without
        if step.index in free and not heavy and found.issuperset(step.after):
            found.add(step.index)
    return frozenset(found)


def partly_free(graph: Graph) -> tuple[Step, ...]:
    """The steps inside which something is called, while what they are given is there without a call."""
    free = call_free(graph)
    return tuple(
        step for step in graph.steps if step.nest is not None and step.service.calls_out and free.issuperset(step.after)
    )


def first_of(specs: Sequence[PartitionSpec]) -> list[PartitionSpec]:
    """The partitions that hold the first records, as far as they are known or guessed from their bytes."""
    found, rows = [], 0
    for spec in specs:
        if rows >= FIRST:
            break
        found.append(spec)
        rows += spec.rows if spec.rows >= 0 else spec.size // _BYTES
    return found


def waves(specs: Sequence[PartitionSpec], *, size: int) -> Iterator[Sequence[PartitionSpec]]:
    """Partitions in groups to be looked at one after the other: all at once where their records are known."""
    if all(spec.rows >= 0 for spec in specs):
        size = len(specs)
    for start in range(0, len(specs), max(1, size)):
        yield specs[start : start + size]
