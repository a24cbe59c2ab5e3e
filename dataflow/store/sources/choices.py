"""Which type each column of JSON records has: what was declared, else what the values ask for; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa

from dataflow.services.types import is_text
from dataflow.store.sources.decoding import readable
from dataflow.store.sources.options import Types, value_type
from dataflow.store.sources.shapes import Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The type of one column.

    Attributes:
        target: What its values become.
        mixed: Whether text in it takes any value.
        notes: What was decided that a reader of the data should know.
    """

    target: pa.DataType
    mixed: bool = False
    notes: tuple[str, ...] = ()


def choose(root: Shape, *, schema: Types, wanted: Types) -> dict[str, Choice]:
    """The columns of a source, in order of appearance, then those that only the schema names.

    Args:
        root: The shape of all records together; without any key, the columns are those that are wanted.
        schema: The strongest word.
        wanted: What the first reader of a column declares.
    """
    names: Iterable[str] = (*root.fields, *schema, *(() if root.fields else wanted))
    return {name: _choose(name, root.fields.get(name), schema=schema, wanted=wanted) for name in dict.fromkeys(names)}


def declared_only(schema: Types) -> dict[str, Choice]:
    """The columns of a source of which nothing was read."""
    return {name: Choice(target=value_type(target), mixed=True) for name, target in schema.items()}


def _choose(name: str, shape: Shape | None, *, schema: Types, wanted: Mapping[str, pa.DataType]) -> Choice:
    target = schema[name] if name in schema else wanted.get(name)
    if target is not None and readable(value_type(target)):
        return _declared(name, value_type(target), shape=shape)
    notes = () if target is None else (f"`{name}` is wanted as {target}, which JSON does not have",)
    if shape is None:
        return Choice(target=pa.string(), notes=notes)
    conflicts = tuple(shape.conflicts(name))
    return Choice(target=shape.arrow(), mixed=bool(conflicts), notes=(*notes, *conflicts))


def _declared(name: str, target: pa.DataType, *, shape: Shape | None) -> Choice:
    if shape is None:
        return Choice(target=target, mixed=True, notes=(f"no record has `{name}`; it is null",))
    found, notes = shape.arrow(), []
    if is_text(target) and shape.kinds - {str}:
        notes.append(f"`{name}` is read as text, values that are no strings as their JSON text")
    left_out = _left_out(found, target)
    if left_out:
        notes.append(f"`{name}` keeps only the declared keys of its objects, not {', '.join(left_out)}")
    return Choice(target=target, mixed=found != target or shape.conflict() is not None, notes=tuple(notes))


def _left_out(found: pa.DataType, target: pa.DataType) -> list[str]:
    """The keys of objects that the target has no field for."""
    if pa.types.is_list(found) and pa.types.is_list(target):
        return _left_out(found.value_type, target.value_type)
    if not (pa.types.is_struct(found) and pa.types.is_struct(target)):
        return []
    kept = {column.name for column in target}
    return [column.name for column in found if column.name not in kept]
