"""The graphs inside a `for_each`: which services run once for a record, which for each item, and what they make.

Pure: schemas in, graphs out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from dataflow.errors import DeclarationError
from dataflow.outcomes import Kind
from dataflow.plan.graph import Column, Graph
from dataflow.services.for_each import ForEach
from dataflow.services.service import Service
from dataflow.services.signature import ALL, Injected
from dataflow.services.types import is_list

Bind = Callable[[Sequence[Service], pa.Schema], Graph]


@dataclass(frozen=True, slots=True, kw_only=True)
class Nest:
    """What runs inside one `for_each`.

    Attributes:
        column: The list column.
        item: What an item is called.
        given: The columns of the record that the services inside read, by name.
        record: What is called once for a record, over `given`; None where nothing is.
        items: What is called for each item, over item, fields, `given` and what `record` has written; None where
            nothing is.
        fields: For each field of a result, its name and whether it comes from `items`.
        type: Of the results: a list of structs.
    """

    column: Column
    item: str
    given: Mapping[str, Column]
    record: Graph | None
    items: Graph | None
    fields: tuple[tuple[str, bool], ...]
    type: pa.DataType

    @property
    def graphs(self) -> tuple[Graph, ...]:
        """Those that there are, in the order of work."""
        return tuple(graph for graph in (self.record, self.items) if graph is not None)


def nest(service: Service, *, current: Mapping[str, Column], types: Mapping[Column, pa.DataType], bind: Bind) -> Nest:
    """Bind what is inside a `for_each`.

    Args:
        service: The `for_each`.
        current: The columns of the record, as the services before have left them.
        types: Their types.
        bind: Binds services to a schema.

    Raises:
        DeclarationError: The column is no list, or a service inside does not fit.
    """
    each = service.composite
    assert isinstance(each, ForEach)
    column = current[each.column]
    single = _items_of(service, types[column], each.item)
    given = _given(each, current, single)
    outer = pa.schema([pa.field(name, types[one]) for name, one in given.items()])
    once, several = _divided(each.members, set(single))
    record = bind(once, outer) if once else None
    known = _joined(single, outer if record is None else {one.name: kind for one, kind in record.last.items()})
    items = bind(several, pa.schema(list(known.items()))) if several else None
    fields = _fields(each.members, single, record=record, items=items)
    return Nest(
        column=column,
        item=each.item,
        given=given,
        record=record,
        items=items,
        fields=tuple((field.name, from_items) for field, from_items in fields),
        type=pa.list_(pa.struct([field for field, _ in fields])),
    )


def _items_of(service: Service, arrow: pa.DataType, item: str) -> dict[str, pa.DataType]:
    """The columns that an item becomes: itself, and the fields of a struct."""
    if not is_list(arrow):
        raise DeclarationError(
            f"`{service.name}` runs for each item of `{service.parameters[0].name}`, which is {arrow} and no list"
        )
    kind = arrow.value_type
    fields = {one.name: one.type for one in kind} if pa.types.is_struct(kind) else {}
    if item in fields:
        raise DeclarationError(
            f"`{service.name}` calls an item `{item}`, which is a field of it as well; choose another name with item="
        )
    return {item: kind, **fields}


def _given(each: ForEach, current: Mapping[str, Column], single: Mapping[str, pa.DataType]) -> dict[str, Column]:
    reads = [column for one in each.services for parameter in one.parameters for column in parameter.columns]
    wanted = current if ALL in reads else each.asks
    return {name: current[name] for name in wanted if name in current and name not in single}


def _divided(services: Sequence[Service], itemised: set[str]) -> tuple[list[Service], list[Service]]:
    """Those that are keyed on the record alone, and those that are called for each item."""
    once: list[Service] = []
    several: list[Service] = []
    for service in services:
        if _reads_item(service, itemised, several):
            several.append(service)
            itemised |= {output.column for output in service.outputs}
        else:
            once.append(service)
    return once, several


def _reads_item(service: Service, itemised: set[str], several: Sequence[Service]) -> bool:
    when = service.policy.when
    touched = {column for parameter in service.parameters for column in parameter.columns}
    touched |= {when.column} if when is not None else set()
    touched |= {output.column for output in service.outputs}
    judged = when is not None and when.test == "valid" and any(one.kind is Kind.VALIDATION for one in several)
    outcomes = any(parameter.injected is Injected.OUTCOMES for parameter in service.parameters)
    return bool(touched & itemised) or ALL in touched or judged or (outcomes and bool(several))


def _columns(graph: Graph) -> dict[str, pa.DataType]:
    """The columns that a graph publishes, without those that every run writes."""
    return {column.name: graph.output.field(column.name).type for column in graph.final}


def _joined(single: Mapping[str, pa.DataType], outer: pa.Schema | Mapping[str, pa.DataType]) -> dict[str, pa.DataType]:
    known = {one.name: one.type for one in outer} if isinstance(outer, pa.Schema) else outer
    return {**single, **{name: kind for name, kind in known.items() if name not in single}}


def _fields(
    services: Sequence[Service], single: Mapping[str, pa.DataType], *, record: Graph | None, items: Graph | None
) -> list[tuple[pa.Field, bool]]:
    """The fields of a result, each with whether it comes from the graph of the items."""
    last = {} if items is None else _columns(items)
    first = {} if record is None else _columns(record)
    written = [column for one in services for column in written_by(one, items=items, record=record)]
    gone = set() if items is None else {one.name for one in items.last} - set(last)
    found = [(pa.field(name, last.get(name, kind)), name in last) for name, kind in single.items() if name not in gone]
    kept = set(first).union(() if items is None else (column.name for column in items.final if column.version))
    names = [name for name in dict.fromkeys(written) if name not in single and name in kept]
    found += [(pa.field(name, last[name] if name in last else first[name]), name in last) for name in names]
    own = [] if items is None else [one for one in items.output if one.name not in last]
    judges = any(one.kind is Kind.VALIDATION for one in services)
    return found + [(one, True) for one in own if judges or one.name != "is_valid"]


def written_by(service: Service, *, items: Graph | None, record: Graph | None) -> list[str]:
    """The columns that a service inside has written, those of a lookup as they were bound."""
    return [
        column.name
        for graph in (record, items)
        if graph is not None
        for step in graph.steps
        if step.service.name == service.name
        for column in step.writes
    ]
