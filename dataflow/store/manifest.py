"""Builds the manifest of a version, or of what a run has committed so far. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import msgspec

from dataflow.store.ledger import FORMAT, to_json
from dataflow.store.parts import PartFile
from dataflow.store.records import CommitRecord
from dataflow.store.schemas import Schemas, columns_of


def manifest(
    head: Mapping[str, Any],
    records: Sequence[CommitRecord],
    *,
    version: int | None,
    created: str,
    lineage: Mapping[str, Any],
    limit: int | None = None,
    whole: bool = False,
) -> bytes:
    """What `dataset.json` says, as JSON.

    Args:
        head: What the run wrote when it started.
        records: The commit records, in the order of the plan.
        version: The number of the version, or None while the run is not published.
        created: When, as ISO text in UTC.
        lineage: Where the records come from, as the caller describes it.
        limit: The first records of the source that the run was for, where it left others out.
        whole: Whether nothing was left out: no record, and no service that was not attempted.
    """
    values = {
        "format": FORMAT,
        "dataset": head["dataset"],
        "version": version,
        "run": head["run"],
        "created": created,
        "whole": whole,
        "limit": limit,
        "taken_over": sum(record.taken_from is not None for record in records),
        "rows": sum(record.rows for record in records),
        "rejected": sum(record.rejected for record in records),
        "bytes": sum(record.part.bytes for record in records),
        "key": head["key"],
        "columns": columns_of(Schemas.from_dict(head["schemas"]).output),
        "lineage": dict(lineage),
        "fingerprints": head["fingerprints"],
        "schemas": head["schemas"],
        "parts": [_part(record) for record in records],
    }
    return to_json(values)


def _part(record: CommitRecord) -> msgspec.Raw:
    """One of the parts; as text, which takes a quarter of the memory where there are thousands."""

    def file(found: PartFile | None) -> dict[str, Any] | None:
        return asdict(found) if found else None

    part = {
        **asdict(record.part),
        "identity": record.identity,
        "rejects": file(record.rejects),
        "failures": file(record.failures),
    }
    return msgspec.Raw(msgspec.json.encode(part))
