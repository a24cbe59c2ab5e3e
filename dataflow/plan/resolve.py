"""Distinct keys over a whole dataset: which services are asked once for each of them before the main pass, and when.

Services are resolved in stages. A stage holds those whose inputs are known once all earlier stages are answered. For
each stage one pass collects the keys of every partition, and another calls them, bucket by bucket; the main pass
then finds every answer. Pure: files and calls are not known here.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, Protocol

from dataflow.plan.foresight import Outlook
from dataflow.plan.graph import Graph, Step
from dataflow.plan.partitions import PartitionSpec
from dataflow.services.signature import Injected

NOISE = 0.03
"""The share of repeated keys that a sketch cannot tell from none: two standard errors of 1.6 %."""

SMALLEST, LARGEST = 200, 20_000
"""Keys of a bucket: enough to keep a cap of calls busy, few enough to be held at once as Python values."""


class Task(Protocol):
    """What an engine hands out: a slice of work with a name of its own; plain data."""

    @property
    def identity(self) -> str:
        """Names it among all tasks of a run."""

    @property
    def index(self) -> int:
        """Its position among the tasks of its pass."""

    @property
    def place(self) -> str:
        """Where the records of it are, for people."""

    def to_dict(self) -> dict[str, Any]:
        """The task as plain JSON values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """Where the answers of one service are.

    Attributes:
        folder: The folder of its stage among those of the run.
        buckets: Into how many ranges of keys they are cut.
    """

    folder: str
    buckets: int


Answered = Mapping[str, Resolved]
"""The services that are resolved, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Services that are resolved together.

    Attributes:
        called: The places of their steps in the graph, in listed order.
        before: The places of all steps whose outcomes these need, in listed order.
    """

    called: tuple[int, ...]
    before: tuple[int, ...]


class _Travelling:
    """What travels to workers as JSON."""

    __slots__ = ()
    kind: ClassVar[str]

    def to_dict(self) -> dict[str, Any]:
        """The task as plain JSON values."""
        return {"pass": self.kind, **asdict(self)}  # type: ignore[call-overload]


class _OfPartition(_Travelling):
    """A task on the records of one partition."""

    __slots__ = ()
    spec: PartitionSpec

    @property
    def index(self) -> int:
        """Its position among the tasks of its pass."""
        return self.spec.index

    @property
    def place(self) -> str:
        """Where the records of it are, for people."""
        return self.spec.place


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyTask(_OfPartition):
    """Collect the keys of one partition for the services of a stage.

    Attributes:
        spec: The partition.
        folder: The folder of the stage.
        services: The services.
        answered: The services of earlier stages.
        ahead: Whether the records are judged before any call: by the services that these calls wait for (`needed`),
            or by all that compute without a call (`all`).
    """

    spec: PartitionSpec
    folder: str
    services: tuple[str, ...]
    answered: Answered
    ahead: Literal["no", "needed", "all"] = "no"

    kind: ClassVar[str] = "keys"

    @property
    def identity(self) -> str:
        """Names it among all tasks of a run."""
        return f"{self.spec.identity}-keys-{self.folder}"

    @property
    def place(self) -> str:
        """Where the records of it are, for people."""
        return f"the keys of {self.spec.place}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LookTask(_OfPartition):
    """Count what becomes of the records of one partition in the services that compute without a call.

    Attributes:
        spec: The partition.
    """

    spec: PartitionSpec

    kind: ClassVar[str] = "look"

    @property
    def identity(self) -> str:
        """Names it among all tasks of a run."""
        return f"{self.spec.identity}-look"


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketTask(_Travelling):
    """Call the keys of one bucket for the services of a stage.

    Attributes:
        index: The number of the bucket.
        buckets: How many there are.
        folder: The folder of the stage.
        services: The services.
        again: Whether keys that have failed before are called again.
    """

    index: int
    buckets: int
    folder: str
    services: tuple[str, ...]
    again: bool = False

    kind: ClassVar[str] = "bucket"

    @property
    def identity(self) -> str:
        """Names it among all tasks of a run."""
        return f"{self.folder}-bucket-{self.index}"

    @property
    def place(self) -> str:
        """Where the records of it are, for people."""
        return f"bucket {self.index} of the distinct keys of {', '.join(f'`{name}`' for name in self.services)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MainTask(_OfPartition):
    """Run one partition with the answers that are known.

    Attributes:
        spec: The partition.
        answered: The services that are resolved.
        outlook: What its records are judged with before its calls; None where they were.
    """

    spec: PartitionSpec
    answered: Answered
    outlook: Outlook | None = None

    kind: ClassVar[str] = "main"

    @property
    def identity(self) -> str:
        """Names it among all tasks of a run."""
        return self.spec.identity


def read_task(values: Mapping[str, Any]) -> PartitionSpec | KeyTask | LookTask | BucketTask | MainTask:
    """The task that `to_dict` of one of them wrote."""
    known = dict(values)
    kind = known.pop("pass", None)
    if kind is None:
        return PartitionSpec.from_dict(known)
    if kind == BucketTask.kind:
        return BucketTask(**{**known, "services": tuple(known["services"])})
    known["spec"] = PartitionSpec.from_dict(known["spec"])
    if kind == LookTask.kind:
        return LookTask(**known)
    known["answered"] = read_answered(known["answered"])
    if kind == KeyTask.kind:
        return KeyTask(**{**known, "services": tuple(known["services"])})
    outlook = known.pop("outlook")
    return MainTask(**known, outlook=None if outlook is None else Outlook.from_dict(outlook))


def read_answered(values: Mapping[str, Mapping[str, Any]]) -> dict[str, Resolved]:
    """What was written of `Answered` as plain values."""
    return {name: Resolved(**one) for name, one in values.items()}


def stages(graph: Graph, *, without: Collection[str] = ()) -> list[Stage]:
    """The stages of a graph, in order.

    Args:
        graph: The bound pipeline.
        without: Services that are called in the main pass, and so all that need their outcomes.
    """
    depth: dict[int, int | None] = {}
    for step in graph.steps:
        depth[step.index] = _depth(step, graph, depth, without=without)
    found: list[Stage] = []
    resolved = [step for step in graph.steps if is_resolvable(step) and step.service.name not in without]
    while called := tuple(step.index for step in resolved if depth[step.index] == len(found)):
        found.append(stage_of(graph, called))
    return found


def stage_of(graph: Graph, called: Sequence[int]) -> Stage:
    """The stage in which these steps are called."""
    return Stage(called=tuple(called), before=_before(called, graph))


def is_resolvable(step: Step) -> bool:
    """Whether equal inputs may share one call over the whole dataset."""
    service = step.service
    unlike = any(read.parameter.injected is Injected.OUTCOMES for read in step.reads)
    return service.api is not None and service.repeatable and not unlike


def _depth(step: Step, graph: Graph, depth: Mapping[int, int | None], *, without: Collection[str]) -> int | None:
    """The resolved services on the longest way to a step; None behind a service that only the main pass calls."""
    deepest = 0
    for index in step.after:
        earlier, before = graph.steps[index], depth[index]
        resolved = is_resolvable(earlier) and earlier.service.name not in without
        if before is None or (earlier.service.calls_out and not resolved):
            return None
        deepest = max(deepest, before + resolved)
    return deepest


def _before(called: Sequence[int], graph: Graph) -> tuple[int, ...]:
    found: set[int] = set()
    waiting = list(called)
    while waiting:
        new = set(graph.steps[waiting.pop()].after) - found
        found |= new
        waiting += new
    return tuple(sorted(found))


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyCounts:
    """How often the keys of one service are asked for.

    Attributes:
        records: Records for which it would be called.
        own: Distinct keys of each partition, added up: the calls of a run that asks partition by partition.
        distinct: Distinct keys over all partitions, as far as an estimate tells.
    """

    records: int
    own: int
    distinct: int

    @property
    def is_shared(self) -> bool:
        """Whether partitions share so many keys that a call for each of them is saved for sure."""
        return self.own - self.distinct > NOISE * self.own


def bucket_count(counts: Sequence[KeyCounts], *, threads: int) -> int:
    """Into how many buckets the keys of a stage are cut: one for each thread at least, where there are enough keys."""
    most = max((one.distinct for one in counts), default=0)
    wanted = max(math.ceil(most / LARGEST), min(2 * threads, most // SMALLEST))
    return max(1, wanted)


def told(counts: Mapping[str, KeyCounts]) -> list[str]:
    """What was decided about the keys of the services of a stage, in sentences."""
    shared = [
        f"`{service}` about {one.distinct:,} for {one.records:,} records"
        for service, one in counts.items()
        if one.is_shared
    ]
    others = [f"`{service}`" for service, one in counts.items() if not one.is_shared and one.records]
    found = [f"distinct inputs, each called once before the partitions are run: {', '.join(shared)}"] if shared else []
    if others:
        found.append(f"{', '.join(others)}: partitions hardly share an input, so each one calls its own")
    return found
