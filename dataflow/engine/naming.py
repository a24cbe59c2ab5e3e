"""Who a record is for a service that sends it only once, whatever its place is. Nothing is called here.

Its key, where the job has one that the service can be sure of; else what the service is given for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time
from decimal import Decimal
from hashlib import blake2b
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dataflow.engine.environment import Environment
from dataflow.engine.keys import given_places
from dataflow.engine.values import to_python
from dataflow.plan.graph import Column, Graph, Step
from dataflow.services.keys import canonical

_NAME, _INPUTS = 16, 8
"""Bytes of a name, with which an accident is out of the question, and of inputs, which only tell a change."""

_FORM = b"dataflow-effects"


def naming_columns(step: Step, graph: Graph, key: Sequence[str]) -> tuple[Column, ...]:
    """The columns that name a record for a service; none where its inputs name it.

    A key that another service makes counts only where this one reads it, since it may be there too late otherwise.
    """
    read = {column.name: column for column in step.inputs}
    source = set(graph.source.names)
    found = [Column(name, 0) if name in source else read.get(name) for name in key]
    return () if None in found else tuple(column for column in found if column is not None)


def record_names(columns: Sequence[Column], environment: Environment, places: Sequence[int]) -> list[str]:
    """The names of the records at some places by the values of these columns; empty where one of them is null."""
    rows = pa.array(places, pa.int64())
    values = [to_python(pc.take(environment.column(column), rows)) for column in columns]
    rows_of_key = ([_plain(value) for value in row] for row in zip(*values, strict=True))
    return ["" if None in row else _digest(row, size=_NAME) for row in rows_of_key]


def call_names(step: Step, inputs: Sequence[Sequence[Any]], *, records: Sequence[str]) -> list[tuple[str, str]]:
    """The name of the record of each call, and a digest of its inputs where the name does not say them.

    Args:
        step: The service.
        inputs: The values of each call.
        records: The names of the records by their key, empty for one without; none where no key names them.
    """
    given = given_places(step)
    rows = ([row[at] for at in given] for row in inputs)
    names = records or [""] * len(inputs)
    # No key begins with null.
    return [
        (name, _digest(row, size=_INPUTS)) if name else (_digest([None, *row], size=_NAME), "")
        for name, row in zip(names, rows, strict=True)
    ]


def _digest(values: Sequence[Any], *, size: int) -> str:
    return blake2b(canonical(values), digest_size=size, person=_FORM).hexdigest()


def _plain(value: Any) -> Any:
    """A key as people write it: a source of more rows may give the same one another type."""
    if isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, Decimal) and value.is_finite():
        return f"{value.normalize():f}"
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return str(value) if isinstance(value, int | float) else value
