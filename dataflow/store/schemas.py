"""The three schemas of a run as text, since an output without rows or rejects has columns too."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from dataflow.store.parts import require_writable


@dataclass(frozen=True, slots=True, kw_only=True)
class Schemas:
    """What a run writes, fixed when it is planned.

    Attributes:
        output: The schema of the parts.
        rejects: The schema of the rejected records.
        failures: The schema of the outcomes that did not succeed.
    """

    output: pa.Schema
    rejects: pa.Schema
    failures: pa.Schema

    def to_dict(self) -> dict[str, str]:
        """Each schema in Arrow's own form as base64 text."""
        return {
            name: schema_text(schema)
            for name, schema in (("output", self.output), ("rejects", self.rejects), ("failures", self.failures))
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, str]) -> Schemas:
        """The schemas that `to_dict` wrote."""
        return cls(**{name: schema_of_text(text) for name, text in values.items()})

    def require_writable(self) -> None:
        """Raise StoreError where Parquet has no place for a column."""
        for schema in (self.output, self.rejects, self.failures):
            require_writable(schema)


def schema_text(schema: pa.Schema) -> str:
    """A schema in Arrow's own form as base64 text."""
    return base64.b64encode(schema.serialize()).decode()


def schema_of_text(text: str) -> pa.Schema:
    """The schema that `schema_text` wrote."""
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))


def columns_of(schema: pa.Schema) -> list[dict[str, object]]:
    """The columns for people: name, type and whether nulls may occur."""
    return [{"name": field.name, "type": str(field.type), "nullable": field.nullable} for field in schema]
