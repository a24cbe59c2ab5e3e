"""What a service is by itself, part by part: what its records were sent under, so that a change can be named.

Only what the service reaches counts: its function with all that this names, its endpoint, its API, the columns it
reads. What else stands in its file counts only where the service cannot be seen into wholly; what runs beside it,
and how often it may be tried, are no part of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from dataflow.plan.code import Looks, stable
from dataflow.plan.digests import as_written
from dataflow.plan.graph import Column, Graph, Step
from dataflow.plan.texts import Texts
from dataflow.services.endpoint import Endpoint
from dataflow.services.service import Service

NAMES = "what names its records"
READS = "what it reads"
REPEATED = "whether it may be called again"
TEXT = "the text of its files, since not all of it can be seen into"


def own_definition(step: Step, graph: Graph, *, named_by: Sequence[str], looks: Looks, texts: Texts) -> dict[str, str]:
    """A digest for each part of what a service is by itself.

    Args:
        step: The service, bound.
        graph: The pipeline that it is bound in.
        named_by: The columns that name a record for it; none where its inputs do.
        looks: What was seen of the code of the job.
        texts: The files that it is in.
    """
    service = step.service
    reads = [
        [read.parameter.name, *(None if one is None else [one.name, _kind(_type(one, graph))] for one in read.columns)]
        for read in step.reads
        if read.parameter.injected is None
    ]
    returns = service.returns
    parts: dict[str, Any] = {
        "its form": service.form,
        REPEATED: service.repeatable,
        NAMES: list(named_by) or reads,
        READS: reads,
        "its code": None if service.function is None else looks(service.function).digest,
        "constants=": sorted((name, looks(value).digest) for name, value in service.constants.items()),
        "setup=": sorted((name, looks(value).digest) for name, value in service.policy.setup.items()),
        "version=": service.policy.version,
        "what it returns": None if returns is None else [str(returns.arrow), returns.nullable],
        "its API": None if service.api is None else [service.api.name, service.api.url],
        "its request": _request(service.endpoint) if isinstance(service.endpoint, Endpoint) else None,
        "how its answer is read": _reading(service.endpoint, looks) if isinstance(service.endpoint, Endpoint) else None,
    }
    if not all(looks(one).exact for one in _things(service)):
        parts[TEXT] = texts.digest
    return {name: _digest(part) for name, part in parts.items()}


def _things(service: Service) -> Iterator[Any]:
    """What of a service is the author's code, or holds it."""
    given = service.function, getattr(service.endpoint, "accept", None)
    yield from (one for one in given if one is not None)
    yield from (*service.constants.values(), *service.policy.setup.values())


def _request(one: Endpoint) -> Any:
    templates = [None if template is None else stable(template.meaning) for template in (one.url, one.params, one.json)]
    return [one.method, templates, sorted(one.headers.items()), one.batch is not None]


def _reading(one: Endpoint, looks: Looks) -> Any:
    accept = None if one.accept is None else looks(one.accept).digest
    batch = None if one.batch is None else one.batch.meaning
    return [stable(one.select), accept, one.not_found, batch, *(["allow_nan"] if one.allow_nan else [])]


def _type(column: Column, graph: Graph) -> pa.DataType:
    if column.version == 0:
        return graph.source.field(column.name).type
    return next(
        arrow for step in graph.steps for one, arrow in zip(step.writes, step.types, strict=True) if one == column
    )


def _kind(arrow: pa.DataType) -> str:
    """The kind of value that a service gets, however wide its column is."""
    if pa.types.is_dictionary(arrow):
        return _kind(arrow.value_type)
    if pa.types.is_string(arrow) or pa.types.is_large_string(arrow) or pa.types.is_string_view(arrow):
        return "text"
    if pa.types.is_integer(arrow):
        return "whole number"
    return "number" if pa.types.is_floating(arrow) else str(arrow)


def _digest(part: Any) -> str:
    return hashlib.sha256(as_written(json.dumps(part, default=str)).encode()).hexdigest()[:16]
