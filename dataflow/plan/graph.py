"""Sequence to graph: binds each service to versions of columns and derives what must wait for what.

Columns are versioned, `email@0` as the source has it and `email@1` as the first service left it, so a reader
never waits for a later writer and nobody waits for a reader. Pure: schemas in, graph out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from dataflow.outcomes import Kind
from dataflow.services.contract import RESERVED
from dataflow.services.service import Service
from dataflow.services.signature import Form, Parameter

if TYPE_CHECKING:
    from dataflow.plan.nesting import Nest

VALIDATIONS = pa.list_(
    pa.struct(
        [
            pa.field("validator", pa.dictionary(pa.int32(), pa.string())),
            pa.field("is_valid", pa.bool_()),
            pa.field("errors", pa.list_(pa.string())),
        ]
    )
)
"""The type of the `validations` column."""

PUBLISHED = b"dataflow"
"""The key of the schema metadata by which dataflow recognises its own datasets."""


@dataclass(frozen=True, slots=True, order=True)
class Column:
    """One version of a column: 0 as the source has it, n as its n-th writer left it."""

    name: str
    version: int

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What one parameter gets.

    Attributes:
        parameter: The parameter.
        columns: A version for each of its columns; None where the column does not exist and the default serves.
    """

    parameter: Parameter
    columns: tuple[Column | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cap:
    """What some services may cost for one record together.

    Attributes:
        before: Those listed before, by their places.
        most: In trillionths.
    """

    before: tuple[int, ...]
    most: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One service in its place in the graph.

    Attributes:
        index: Its place in the listed order.
        service: The service.
        reads: What its parameters get.
        writes: The versions it makes.
        types: Their types.
        fields: For each write, the field of the returned record, or None for the whole value.
        replaces: For each write, the version it replaces, or None for a new column.
        condition: The column its `when=` looks at, or None.
        judged_by: The validations that `when="valid"` waits for.
        gated_by: The local critical services that must not have rejected a record before it is called out for.
        after: Every step it waits for.
        caps: What it may cost for a record together with others; none for a free service.
        nest: What runs inside a `for_each`, else None.
    """

    index: int
    service: Service
    reads: tuple[Read, ...]
    writes: tuple[Column, ...]
    types: tuple[pa.DataType, ...]
    fields: tuple[str | None, ...]
    replaces: tuple[Column | None, ...]
    condition: Column | None
    judged_by: tuple[int, ...]
    gated_by: tuple[int, ...]
    after: tuple[int, ...]
    caps: tuple[Cap, ...] = ()
    nest: Nest | None = None

    @property
    def every(self) -> tuple[Step, ...]:
        """The step, and behind it all that runs inside it, however deep."""
        graphs = () if self.nest is None else self.nest.graphs
        return (self, *(one for graph in graphs for one in graph.every))

    @property
    def inputs(self) -> tuple[Column, ...]:
        """The versions it reads, without those that do not exist."""
        found = [column for read in self.reads for column in read.columns if column is not None]
        return tuple(dict.fromkeys(found))


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A pipeline bound to the schema of its source.

    Attributes:
        name: The pipeline's name.
        invalid: `keep` or `reject`: what an invalid verdict means for its record.
        steps: In listed order, which is a valid order of work.
        source: The schema of the records that come in.
        output: The schema of the records that go out.
        final: The version behind each column of the output that is no column of the run itself.
        last: The last version of every column with its type, published or not.
        notes: What was decided while binding, in sentences.
    """

    name: str
    invalid: str
    steps: tuple[Step, ...]
    source: pa.Schema
    output: pa.Schema
    final: tuple[Column, ...]
    last: Mapping[Column, pa.DataType]
    notes: tuple[str, ...]

    @property
    def every(self) -> tuple[Step, ...]:
        """All steps, with those that run inside others."""
        return tuple(one for step in self.steps for one in step.every)

    def levels(self) -> tuple[tuple[Step, ...], ...]:
        """The steps in groups: what stands in one group may run side by side."""
        depth: dict[int, int] = {}
        for step in self.steps:
            depth[step.index] = 1 + max((depth[one] for one in step.after), default=-1)
        groups: list[list[Step]] = [[] for _ in range(1 + max(depth.values(), default=-1))]
        for step in self.steps:
            groups[depth[step.index]].append(step)
        return tuple(tuple(group) for group in groups)

    def of_kind(self, kind: Kind) -> tuple[Step, ...]:
        """The steps of one kind, in listed order."""
        return tuple(step for step in self.steps if step.service.kind is kind)

    @property
    def waits(self) -> bool:
        """Whether partitions wait for something outside while others could compute."""
        return any(step.service.calls_out for step in self.every)

    @property
    def calls_apis(self) -> bool:
        """Whether some service calls under the limits of an API."""
        return any(step.service.api is not None for step in self.every)

    @property
    def isolated(self) -> bool:
        """Whether some service asks to be kept out of the caller's process."""
        return any(step.service.policy.isolate for step in self.every)


def output_schema(source: pa.Schema, final: Mapping[str, pa.DataType], steps: Sequence[Step]) -> pa.Schema:
    """The schema that goes out: the columns, then what the run itself adds."""
    kinds = {step.service.kind for step in steps}
    fields = []
    for name, arrow in final.items():
        at = source.get_field_index(name)
        kept = at >= 0 and source.field(at).type == arrow
        fields.append(source.field(at).with_nullable(True) if kept else pa.field(name, arrow))
    fields.append(pa.field("is_valid", pa.bool_()))
    if Kind.VALIDATION in kinds:
        fields.append(pa.field("validations", VALIDATIONS))
    if Kind.ENRICHMENT in kinds:
        fields += [pa.field("completeness", pa.float64()), pa.field("degraded", pa.bool_())]
    return pa.schema(fields, metadata={PUBLISHED: b"1"})


def incoming(schema: pa.Schema) -> pa.Schema:
    """The source schema without the columns that dataflow itself added to what it published."""
    if PUBLISHED not in (schema.metadata or {}):
        return schema
    return pa.schema([one for one in schema if one.name not in RESERVED])


def is_local(step: Step) -> bool:
    """Whether the step computes in its process, so that its verdicts cost nothing to wait for."""
    local = (Form.RECORD, Form.COLUMN, Form.LOOKUP, Form.COMPOSITE)
    return step.service.form in local and not step.service.calls_out
