"""Fingerprints: what a run was planned from, part by part, so that a change can be named.

Two plans with the same fingerprints give the same data. Limits, workers and budgets are no part of a plan.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from dataflow.plan.code import Code, Looks, stable
from dataflow.plan.digests import as_written
from dataflow.plan.graph import Graph, Step
from dataflow.plan.identity import api_identity, type_identity
from dataflow.plan.partitions import SourceFile
from dataflow.plan.texts import Texts
from dataflow.services.endpoint import Endpoint
from dataflow.services.llm import Chat
from dataflow.services.prices import OPTIONS as MONEY
from dataflow.services.service import Service
from dataflow.services.signature import Form, Injected, Parameter
from dataflow.services.types import Declared

_NO_MEANING = ("threads", "timeout", "isolate", "retry", "api", "cache", "capabilities", "quality", *MONEY)
"""Options of a service that change how fast it is, and not what it gives."""

_PARTS = ("how it is declared", "its code", "the text of its files")
"""What the fingerprint of a service consists of, in this order."""

_NO_READING = ("limit",)
"""How much of a packed file is read before it is refused, which follows from the size of partitions."""


def fingerprints(
    graph: Graph,
    *,
    files: Iterable[SourceFile],
    options: Mapping[str, Any],
    key: tuple[str, ...],
    tables: Mapping[str, pa.Table] | None = None,
    parameters: Mapping[str, Any] | None = None,
    looks: Looks | None = None,
    texts: Texts | None = None,
    variables: Mapping[str, str | None] | None = None,
    shared: bool = False,
) -> dict[str, str]:
    """A digest for each part of a plan.

    Args:
        graph: The bound pipeline.
        files: The files of the source.
        options: How they are read.
        key: The key columns.
        tables: The table of each lookup, by service name.
        parameters: What `flow.Context` gives; they only count where a service asks for it.
        looks: What was seen of the job before; what it has looked at is not looked at again.
        texts: The files of the job, which count for a service that cannot be seen into wholly.
        variables: What the job file is given of the client's environment, by name.
        shared: Whether only that counts which is the same in every process that has loaded the same source.

    Returns:
        Digests by part: `source`, `reading`, `schema`, `key`, `invalid`, `order`, `parameters`, `record budget`,
        `environ`, and `service NAME` for each one, which is several in one: `NAMED-CODE-TEXT`.
    """
    parts: dict[str, Any] = {
        "source": [(file.path, file.fingerprint) for file in files],
        "reading": {name: stable(value) for name, value in sorted(options.items()) if name not in _NO_READING},
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
    if variables:
        parts["environ"] = sorted(variables.items())
    found = {name: _digest(part) for name, part in parts.items()}
    looks = Looks() if looks is None else looks
    for step in graph.every:
        eye = _Eye(looks, shared=shared)
        told = _declaration(step, eye, (tables or {}).get(step.service.name)), _code(step.service, eye)
        text = texts.digest if texts is not None and (texts.acting or not eye.exact) else ""
        found[f"service {step.service.name}"] = "-".join([*map(_digest, told), text])
    return found


def unseen(graph: Graph, looks: Looks) -> dict[str, tuple[str, ...]]:
    """What cannot be seen into, by how the code names it, with the services that reach it."""
    found: dict[str, tuple[str, ...]] = {}
    for step in graph.every:
        eye = _Eye(looks)
        _declaration(step, eye, None)
        _code(step.service, eye)
        for name in eye.unseen:
            found[name] = (*found.get(name, ()), step.service.name)
    return found


def values(graph: Graph, looks: Looks) -> dict[str, dict[str, str]]:
    """Digests of the plain values that the code of each service names, by service and name."""
    found: dict[str, dict[str, str]] = {}
    for step in graph.every:
        eye = _Eye(looks)
        _code(step.service, eye)
        if eye.values:
            found[step.service.name] = eye.values
    return found


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """The parts that differ, as people call them: `source`, `service domain`, ..."""
    names = dict.fromkeys([*before, *after])
    return [name for name in names if before.get(name) != after.get(name)]


def reasons(
    before: Mapping[str, str],
    after: Mapping[str, str],
    *,
    text: str = _PARTS[-1],
    code: Mapping[str, str] | None = None,
) -> list[str]:
    """The parts that differ, with what of a service does where that is known: `service domain: its code`.

    Args:
        before: The fingerprints of one plan.
        after: Those of the other.
        text: What is said of a service whose files differ; it is said where nothing else of it does.
        code: What is said of a service whose code differs, by its name, where more is known than that.
    """
    code = code or {}
    return [_reason(name, before.get(name), after.get(name), text=text, code=code) for name in changes(before, after)]


def _reason(name: str, before: str | None, after: str | None, *, text: str, code: Mapping[str, str]) -> str:
    kind, _, service = name.partition(" ")
    told = {_PARTS[1]: code.get(service, _PARTS[1])}
    name = f"service `{service}`" if kind == "service" else name
    if before is None or after is None:
        return name
    pairs = list(zip(before.split("-"), after.split("-"), strict=False))
    # A plan that was made before services had several parts tells no more than that one differs.
    named = [part for part, (one, other) in zip(_PARTS, pairs, strict=False) if one != other]
    if len(pairs) != len(_PARTS):
        return name
    known = [told.get(one, one) for one in named if one != _PARTS[-1]]
    return f"{name}: {' and '.join(known) or text}"


class _Eye:
    """Looks at what belongs to one service, and keeps in mind what it could not see."""

    def __init__(self, looks: Looks, *, shared: bool = False) -> None:
        self.unseen: dict[str, None] = {}
        self.values: dict[str, str] = {}
        self.exact = True
        self._looks = looks
        self._shared = shared

    def __call__(self, thing: Any) -> str:
        """A digest of a thing."""
        code: Code = self._looks(thing)
        self.unseen.update(dict.fromkeys(code.unseen))
        self.values.update(code.values)
        self.exact &= code.exact
        return code.shared if self._shared else code.digest


def _declaration(step: Step, eye: _Eye, table: pa.Table | None) -> list[Any]:
    """What an author has said of a service."""
    service = step.service
    options = {name: eye(value) for name, value in service.options.items() if _has_meaning(name, value)}
    return [
        service.kind,
        service.form,
        sorted(options.items()),
        [_parameter(one, eye) for one in service.parameters],
        None if service.returns is None else _declared(service.returns, eye),
        [str(arrow) for arrow in step.types],
        # Its own columns are named beside its options.
        *([[column.name for column in step.writes]] if service.form is Form.COMPOSITE else []),
        *([] if service.policy.ceiling is None else [service.policy.ceiling]),
        *([] if step.nest is None else [[step.nest.column.name, step.nest.item]]),
        None if service.lookup is None else [stable(service.lookup.on), stable(service.lookup.select)],
        None if table is None else table_digest(table),
        None if service.api is None else api_identity(service.api),
        None if service.endpoint is None else _endpoint(service.endpoint, eye),
    ]


def _has_meaning(name: str, value: Any) -> bool:
    """Whether an option says what a service gives; a price that is computed may have a say in that."""
    return name not in _NO_MEANING or (name == "price" and callable(value))


def _code(service: Service, eye: _Eye) -> list[Any]:
    """What a service runs of the author's."""
    judge = getattr(service.endpoint, "accept", None)
    return [None if one is None else eye(one) for one in (service.function, judge)]


def _endpoint(one: Endpoint | Chat, eye: _Eye) -> list[Any]:
    """What an endpoint asks and how it understands the answer."""
    if isinstance(one, Chat):
        return one.meaning
    return [
        one.method,
        [None if template is None else stable(template.meaning) for template in (one.url, one.params, one.json)],
        sorted((name.lower(), value) for name, value in one.headers.items()),
        eye(one.select),
        one.not_found,
        *([] if one.batch is None else one.batch.meaning),
        *([] if one.repeatable else ["once"]),
        *([one.api.allow_hosts] if one.api.allow_hosts else []),
    ]


def _parameter(one: Parameter, eye: _Eye) -> list[Any]:
    return [one.name, one.columns, one.container, one.injected, eye(one.default), _declared(one.declared, eye)]


def _declared(one: Declared, eye: _Eye) -> list[Any]:
    """What an annotation says, field by field, with the code of its class."""
    fields = [(name, _declared(field, eye)) for name, field in (one.fields or {}).items()]
    model = None if one.model in (None, dict) else eye(one.model)
    return [one.text if not fields else "", str(one.arrow), type_identity(one), fields, model]


def table_digest(table: pa.Table) -> str:
    """A digest of names, types and all values of a table, however it is cut into chunks."""
    sink = pa.BufferOutputStream()
    joined = table.combine_chunks().replace_schema_metadata(None)
    with pa.ipc.new_stream(sink, joined.schema) as stream:
        stream.write_table(joined)
    return hashlib.sha256(sink.getvalue()).hexdigest()[:16]


def _digest(part: Any) -> str:
    return hashlib.sha256(as_written(json.dumps(part, default=str)).encode()).hexdigest()[:16]
