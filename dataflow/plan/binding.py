"""Binds services to columns, one by one in listed order, and refuses wrong wiring.

A refusal asks the likely question: a column that is listed later, a name that is nearly right, a type that
does not fit. Pure.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import pyarrow as pa

from dataflow.errors import DeclarationError
from dataflow.outcomes import Kind, Priority
from dataflow.plan.composition import expand
from dataflow.plan.graph import Cap, Column, Graph, Read, Step, incoming, is_local, output_schema
from dataflow.plan.nesting import Nest, nest
from dataflow.services.annotations import declare
from dataflow.services.contract import RESERVED, Output
from dataflow.services.options import Condition
from dataflow.services.service import Service
from dataflow.services.signature import ALL, REQUIRED, Form, Parameter
from dataflow.services.types import Declared, accepts, holds


@dataclass(slots=True)
class _Columns:
    """The columns as the services bound so far have left them."""

    current: dict[str, Column]
    types: dict[Column, pa.DataType]
    writers: dict[Column, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def type_of(self, name: str) -> pa.DataType:
        return self.types[self.current[name]]


def bind(
    services: Sequence[Service],
    schema: pa.Schema,
    *,
    name: str,
    invalid: str = "keep",
    tables: Mapping[str, pa.Schema] | None = None,
    record_budget: int | None = None,
    durations: Mapping[str, float] | None = None,
) -> Graph:
    """Bind a sequence of services to the schema of a source.

    Args:
        services: In reading order.
        schema: Of the records that come in.
        name: The pipeline's name.
        invalid: What an invalid verdict means, `keep` or `reject`.
        tables: The schema of the table of each lookup, by service name.
        record_budget: What the paid services may cost for one record, in trillionths.
        durations: Average seconds of a call by name of a service, as far as they are known.

    Raises:
        DeclarationError: A service reads what nothing provides, or writes what it may not.
    """
    source = incoming(schema)
    _check_source(source)
    first = {one.name: Column(one.name, 0) for one in source}
    columns = _Columns(current=dict(first), types={first[one.name]: one.type for one in source})
    steps: list[Step] = []
    services = expand(services, durations=durations)
    for service in services:
        step = _bind_service(service, columns, steps, services, tables or {}, invalid, durations)
        steps.append(_capped(step, steps, record_budget))
    last = {column: columns.types[column] for column in columns.current.values()}
    hidden = {column for step in steps if not step.service.is_published for column in step.writes}
    final = tuple(column for column in last if column not in hidden)
    return Graph(
        name=name,
        invalid=invalid,
        steps=tuple(steps),
        source=source,
        output=output_schema(source, {column.name: last[column] for column in final}, steps),
        final=final,
        last=last,
        notes=tuple(columns.notes) + _rewritten(steps),
    )


def _capped(step: Step, before: Sequence[Step], record_budget: int | None) -> Step:
    """A paid step that knows what those before it have cost; it waits for them, so that time decides nothing."""
    service = step.service
    if service.policy.price is None:
        return step
    caps = []
    paid = [one for one in before if one.service.policy.price is not None]
    if record_budget is not None:
        caps.append(Cap(before=tuple(one.index for one in paid), most=record_budget))
    if service.policy.ceiling is not None:
        members = tuple(one.index for one in paid if one.service.member_of == service.member_of)
        caps.append(Cap(before=members, most=service.policy.ceiling))
    after = {*step.after, *(index for cap in caps for index in cap.before)}
    return replace(step, after=tuple(sorted(after)), caps=tuple(caps))


def _check_source(source: pa.Schema) -> None:
    twice = sorted({name for name in source.names if source.names.count(name) > 1})
    if twice:
        raise DeclarationError(f"the source has two columns called `{twice[0]}`; rename one of them before")
    clash = [name for name in source.names if name in RESERVED]
    if clash:
        raise DeclarationError(
            f"the source has columns that every run writes: {', '.join(clash)}; rename them before, "
            "since they do not come from a dataset that dataflow published"
        )


def _bind_service(
    service: Service,
    columns: _Columns,
    steps: Sequence[Step],
    services: Sequence[Service],
    tables: Mapping[str, pa.Schema],
    invalid: str,
    durations: Mapping[str, float] | None,
) -> Step:
    reads = tuple(_bind_parameter(one, service, columns, services[len(steps) + 1 :]) for one in service.parameters)
    nested = _bind_nest(service, columns, tables, invalid, durations) if service.form is Form.EACH else None
    condition = _bind_condition(service, columns)
    outputs = _outputs(service, tables, columns, nested)
    replaces = tuple(columns.current.get(output.column) for output in outputs)
    types = tuple(_output_type(service, output, columns) for output in outputs)
    judged_by, gated_by = _judged_by(service, steps), _gated_by(service, steps, invalid)
    used = {column for read in reads for column in read.columns if column is not None}
    used |= {condition} if condition is not None else set()
    used |= {column for column in replaces if column is not None}
    after = {columns.writers[column] for column in used if column in columns.writers} | {*judged_by, *gated_by}
    if any(read.parameter.injected == "Outcomes" for read in reads):
        whose = {service.name, service.member_of} if service.form is Form.COMPOSITE else None
        after |= {one.index for one in steps if whose is None or one.service.member_of in whose - {""}}
    _check_default(service, types)
    writes = tuple(_write(output, columns, len(steps), arrow) for output, arrow in zip(outputs, types, strict=True))
    return Step(
        index=len(steps),
        service=service,
        reads=reads,
        writes=writes,
        types=types,
        fields=tuple(output.field for output in outputs),
        replaces=replaces,
        condition=condition,
        judged_by=judged_by,
        gated_by=gated_by,
        after=tuple(sorted(after)),
        nest=nested,
    )


def _bind_nest(
    service: Service,
    columns: _Columns,
    tables: Mapping[str, pa.Schema],
    invalid: str,
    durations: Mapping[str, float] | None,
) -> Nest:
    inside = partial(bind, name=service.name, invalid=invalid, tables=tables, durations=durations)
    return nest(service, current=columns.current, types=columns.types, bind=inside)


def _outputs(
    service: Service, tables: Mapping[str, pa.Schema], columns: _Columns, nested: Nest | None
) -> tuple[Output, ...]:
    if service.form is Form.LOOKUP:
        return _lookup_outputs(service, tables.get(service.name), columns)
    if nested is not None:
        declared = Declared(text=str(nested.type), arrow=nested.type)
        return (Output(column=service.options.get("into", service.name), declared=declared),)
    return service.outputs


def _bind_parameter(parameter: Parameter, service: Service, columns: _Columns, later: Sequence[Service]) -> Read:
    wanted = tuple(columns.current) if parameter.columns == (ALL,) else parameter.columns
    defaults = parameter.field_defaults()
    fields = list((parameter.declared.fields or {}).values()) if parameter.is_record else []
    bound: list[Column | None] = []
    for at, name in enumerate(wanted):
        column = columns.current.get(name)
        if column is None and service.form is Form.EACH and parameter.default is not REQUIRED:
            # A field of the items, or a column that is missed inside.
            continue
        if column is None and (name in defaults or parameter.default is not REQUIRED):
            columns.notes.append(f"`{service.name}` uses the default of `{name}`: the source has no such column")
        elif column is None:
            raise DeclarationError(_missing(service, name, columns, later))
        else:
            _check_type(service, fields[at] if fields else parameter.declared, name, columns)
        bound.append(column)
    return Read(parameter=parameter, columns=tuple(bound))


def _missing(service: Service, name: str, columns: _Columns, later: Sequence[Service]) -> str:
    start = f"`{service.name}` reads `{name}`, which nothing before it provides; "
    for one in later:
        if name in _made(one):
            written = "" if one.name == name else f" written by `{one.name}`, which is"
            return f"{start}`{name}` is{written} listed after it"
    near = difflib.get_close_matches(name, columns.current, n=1)
    sent = f"; {{{{{name}}}}} sends {{{name}}} itself" if service.form in (Form.HTTP, Form.LLM) else ""
    if near:
        return f"{start}did you mean `{near[0]}`? A parameter is bound to another column by columns={{...}}{sent}"
    return f"{start}there are {', '.join(f'`{one}`' for one in list(columns.current)[:30])}{sent}"


def _made(service: Service) -> set[str]:
    """The columns that a service is known to write before its table is read."""
    if service.form is not Form.LOOKUP:
        return {output.column for output in service.outputs}
    names, into = service.options.get("columns", {}), service.options.get("into")
    return {into} if into is not None else {names.get(one, one) for one in service.lookup.select or (service.name,)}


def _check_type(service: Service, declared: Declared, name: str, columns: _Columns) -> None:
    arrow = columns.type_of(name)
    if accepts(declared, arrow):
        return
    writer = columns.writers.get(columns.current[name])
    origin = "the source" if writer is None else "an earlier service"
    raise DeclarationError(
        f"`{service.name}` reads `{name}` as {declared.text}, but {origin} gives it as {arrow}; "
        f"change the annotation, or convert it in a transformation listed before"
    )


def _bind_condition(service: Service, columns: _Columns) -> Column | None:
    when: Condition | None = service.policy.when
    if when is None or when.test == "valid":
        return None
    column = columns.current.get(when.column)
    if column is None:
        raise DeclarationError(
            f'`{service.name}` has when="{when.text}", but nothing before it provides `{when.column}`'
        )
    if when.test == "flag" and not pa.types.is_boolean(columns.types[column]):
        raise DeclarationError(
            f'`{service.name}` has when="{when.text}", but `{when.column}` is {columns.types[column]}, not bool; '
            f'write "{when.column} is not null", or add a transformation that gives a bool'
        )
    return column


def _judged_by(service: Service, steps: Sequence[Step]) -> tuple[int, ...]:
    if service.policy.when is None or service.policy.when.test != "valid":
        return ()
    judges = tuple(step.index for step in steps if step.service.kind is Kind.VALIDATION)
    if not judges:
        raise DeclarationError(f'`{service.name}` has when="valid", but no validation is listed before it')
    return judges


def _gated_by(service: Service, steps: Sequence[Step], invalid: str) -> tuple[int, ...]:
    if not service.calls_out:
        return ()
    return tuple(
        step.index
        for step in steps
        if is_local(step)
        and (
            step.service.policy.priority is Priority.CRITICAL
            or (invalid == "reject" and step.service.kind is Kind.VALIDATION)
        )
    )


def _lookup_outputs(service: Service, table: pa.Schema | None, columns: _Columns) -> tuple[Output, ...]:
    if table is None:
        raise DeclarationError(f"`{service.name}`: the table of the lookup has not been read")
    for column, key in service.lookup.on.items():
        if key not in table.names:
            raise DeclarationError(
                f"`{service.name}`: the table has no column `{key}`; it has {', '.join(table.names)}"
            )
        declared = Declared(text=str(table.field(key).type), arrow=table.field(key).type)
        _check_type(service, declared, column, columns)
    keys = set(service.lookup.on.values())
    chosen = service.lookup.select or [name for name in table.names if name not in keys]
    unknown = [name for name in chosen if name not in table.names]
    if unknown or not chosen:
        raise DeclarationError(f"`{service.name}`: the table has no column to add: {', '.join(unknown) or 'only keys'}")
    into, names = service.options.get("into"), service.options.get("columns", {})
    if strange := sorted(set(names) - set(chosen)):
        raise DeclarationError(
            f"`{service.name}` does not add `{strange[0]}`, which columns= names; it adds {', '.join(chosen)}"
        )
    fields = [(name, Declared(text=str(table.field(name).type), arrow=table.field(name).type)) for name in chosen]
    if into is not None:
        struct = pa.struct([pa.field(names.get(name, name), declared.arrow) for name, declared in fields])
        return (Output(column=into, declared=Declared(text=str(struct), arrow=struct)),)
    return tuple(Output(column=names.get(name, name), declared=declared, field=name) for name, declared in fields)


def _output_type(service: Service, output: Output, columns: _Columns) -> pa.DataType:
    exists = output.column in columns.current
    if output.column in RESERVED:
        raise DeclarationError(f"`{service.name}` writes `{output.column}`, which every run writes; use columns=")
    if exists and service.policy.overwrite == "never":
        raise DeclarationError(
            f"`{service.name}` writes `{output.column}`, which exists already; write elsewhere with into= or columns=, "
            'or say overwrite="always", or overwrite="nulls" to fill only its nulls'
        )
    if output.declared is None or output.declared.arrow is None:
        if not exists or pa.types.is_null(columns.type_of(output.column)):
            raise DeclarationError(
                f"`{service.name}` writes {'the new column' if not exists else 'a column without a type,'} "
                f"`{output.column}`, by column; give its type with returns=..."
            )
        return columns.type_of(output.column)
    if exists and not holds(output.declared.arrow, columns.type_of(output.column)):
        _check_rewritten(service, output.column, output.declared.arrow, before=columns.type_of(output.column))
    return output.declared.arrow


def _check_default(service: Service, types: Sequence[pa.DataType]) -> None:
    default = service.policy.default
    if service.returns is not None or default is REQUIRED or default is None:
        return
    for arrow in types:
        if wrong := declare(arrow, where=f"`{service.name}` writes").mismatch(default):
            raise DeclarationError(f"`{service.name}` has a default= that it could not return: {wrong}")


def _check_rewritten(service: Service, column: str, arrow: pa.DataType, *, before: pa.DataType) -> None:
    if service.policy.overwrite == "nulls":
        raise DeclarationError(
            f"`{service.name}` fills the nulls of `{column}`, which is {before}, with {arrow}; "
            "the types must be the same"
        )
    if service.policy.when is not None:
        raise DeclarationError(
            f'`{service.name}` rewrites `{column}`, which is {before}, as {arrow} for some records only (when="'
            f'{service.policy.when.text}"); write another column with into= or columns=, since a column has one type'
        )


def _write(output: Output, columns: _Columns, index: int, arrow: pa.DataType) -> Column:
    before = columns.current.get(output.column)
    column = Column(output.column, 1 if before is None else before.version + 1)
    columns.current[output.column] = column
    columns.types[column] = arrow
    columns.writers[column] = index
    return column


def _rewritten(steps: Sequence[Step]) -> tuple[str, ...]:
    notes = []
    for step in steps:
        if step.service.kind is not Kind.VALIDATION:
            continue
        for later in steps[step.index + 1 :]:
            again = [one.name for one in later.replaces if one is not None and one in step.inputs]
            notes += [
                f"`{step.service.name}` judges `{name}` before `{later.service.name}` rewrites it; "
                "list the validation after it to judge what is published"
                for name in again
            ]
    return tuple(notes)
