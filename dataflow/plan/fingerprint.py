"""Fingerprints: what a run was planned from, part by part, so that a change can be named.

Two plans with the same fingerprints give the same data. Limits, workers and budgets are no part of a plan.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from dataflow.plan.code import code_digest, stable
from dataflow.plan.graph import Graph, Step
from dataflow.plan.identity import api_identity, type_identity
from dataflow.plan.partitions import SourceFile
from dataflow.services.endpoint import Endpoint
from dataflow.services.llm import Chat
from dataflow.services.prices import OPTIONS as MONEY
from dataflow.services.signature import Form, Injected, Parameter
from dataflow.services.types import Declared

_NO_MEANING = ("threads", "timeout", "isolate", "retry", "api", "cache", "capabilities", "quality", *MONEY)
"""Options of a service that change how fast it is, and not what it gives."""


def fingerprints(
    graph: Graph,
    *,
    files: Iterable[SourceFile],
    options: Mapping[str, Any],
    key: tuple[str, ...],
    tables: Mapping[str, pa.Table] | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> dict[str, str]:
    """A digest for each part of a plan.

    Args:
        graph: The bound pipeline.
        files: The files of the source.
        options: How they are read.
        key: The key columns.
        tables: The table of each lookup, by service name.
        parameters: What `flow.Context` gives; they only count where a service asks for it.

    Returns:
        Digests by part: `source`, `reading`, `schema`, `key`, `invalid`, `order`, `parameters`, `record budget`, and
        `service NAME` for each one.
    """
    parts: dict[str, Any] = {
        "source": [(file.path, file.fingerprint) for file in files],
        "reading": {name: stable(value) for name, value in sorted(options.items())},
        "schema": [str(field) for field in graph.source],
        "key": list(key),
        "invalid": graph.invalid,
        "order": [step.service.name for step in graph.every],
    }
    reads = [read for step in graph.every for read in step.reads]
    if any(read.parameter.injected is Injected.CONTEXT for read in reads):
        parts["parameters"] = stable(parameters or {})
    if limits := {cap.most for step in graph.steps for cap in step.caps if not step.service.member_of}:
        parts["record budget"] = sorted(limits)
    for step in graph.every:
        parts[f"service {step.service.name}"] = _describe(step, (tables or {}).get(step.service.name))
    return {name: _digest(part) for name, part in parts.items()}


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """The parts that differ, as people call them: `source`, `service domain`, ..."""
    names = dict.fromkeys([*before, *after])
    return [name for name in names if before.get(name) != after.get(name)]


def _describe(step: Step, table: pa.Table | None) -> list[Any]:
    service = step.service
    options = {name: stable(value) for name, value in service.options.items() if name not in _NO_MEANING}
    return [
        service.kind,
        service.form,
        sorted(options.items()),
        [_parameter(one) for one in service.parameters],
        None if service.returns is None else _declared(service.returns),
        [str(arrow) for arrow in step.types],
        # Its own columns are named beside its options.
        *([[column.name for column in step.writes]] if service.form is Form.COMPOSITE else []),
        *([] if service.policy.ceiling is None else [service.policy.ceiling]),
        *([] if step.nest is None else [[step.nest.column.name, step.nest.item]]),
        None if service.function is None else code_digest(service.function),
        None if service.lookup is None else [stable(service.lookup.on), stable(service.lookup.select)],
        None if table is None else table_digest(table),
        None if service.api is None else api_identity(service.api),
        None if service.endpoint is None else _endpoint(service.endpoint),
    ]


def _endpoint(one: Endpoint | Chat) -> list[Any]:
    """What an endpoint asks and how it understands the answer."""
    if isinstance(one, Chat):
        return one.meaning
    return [
        one.method,
        [None if template is None else stable(template.source) for template in (one.url, one.params, one.json)],
        sorted((name.lower(), value) for name, value in one.headers.items()),
        stable(one.select),
        None if one.accept is None else code_digest(one.accept),
        one.not_found,
        *([] if one.batch is None else one.batch.meaning),
        *([] if one.repeatable else ["once"]),
        *([one.api.allow_hosts] if one.api.allow_hosts else []),
    ]


def _parameter(one: Parameter) -> list[Any]:
    return [one.name, one.columns, one.container, one.injected, stable(one.default), _declared(one.declared)]


def _declared(one: Declared) -> list[Any]:
    """What an annotation says, field by field, with the code of its class."""
    fields = [(name, _declared(field)) for name, field in (one.fields or {}).items()]
    model = None if one.model in (None, dict) else code_digest(one.model)
    return [one.text if not fields else "", str(one.arrow), type_identity(one), fields, model]


def table_digest(table: pa.Table) -> str:
    """A digest of names, types and all values of a table, however it is cut into chunks."""
    sink = pa.BufferOutputStream()
    joined = table.combine_chunks().replace_schema_metadata(None)
    with pa.ipc.new_stream(sink, joined.schema) as stream:
        stream.write_table(joined)
    return hashlib.sha256(sink.getvalue()).hexdigest()[:16]


def _digest(part: Any) -> str:
    return hashlib.sha256(json.dumps(part, default=str).encode()).hexdigest()[:16]
