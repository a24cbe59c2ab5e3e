"""Finds one record of a version by its key: in the output, among the rejects, or those whose keys are close.

Only key columns are read, one part at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as kinds

from dataflow.errors import CatalogError, DeclarationError
from dataflow.plan.partitions import PartitionSpec
from dataflow.store.dataset import Dataset

FEW = 20_000
"""Keys among which all are compared; of more only those that begin alike, or differ in capitals."""

_NEAR, _CANDIDATES = 3, 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a record has ended.

    Attributes:
        part: The part of the version, as its manifest describes it.
        row: Its row among those of the part, or of its rejects.
        rejected: Whether it is among the rejects.
        file: The source file, or None where nobody knows any more.
        number: Its row there, from 1.
    """

    part: Mapping[str, Any]
    row: int
    rejected: bool
    file: str | None = None
    number: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What there is for a key.

    Attributes:
        key: The key, by column; `source` where a file and a row name the record.
        place: Where the first such record is, or None.
        count: How many there are.
        near: Keys that are close, where there is none.
    """

    key: dict[str, str]
    place: Place | None
    count: int
    near: tuple[str, ...] = ()


def find(dataset: Dataset, key: Any) -> Found:
    """Find a record.

    Args:
        dataset: The version, or what a run has committed so far.
        key: The value of the key column, a tuple or a mapping of several; as a text `a,b`, `name=value` or, always,
            `file:row` of the source.

    Raises:
        DeclarationError: It names other columns than the key has.
        StoreError: A part is gone or damaged.
    """
    columns = list(dataset.manifest["key"])
    specs = _specs(dataset)
    if columns:
        wanted = read_key(key, columns)
        places = [*_in_output(dataset, wanted), *_in_rejects(dataset, wanted)]
        if places:
            first = _with_source(dataset, places[0], specs)
            return Found(key=wanted, place=first, count=len(places))
    if (place := _by_source(dataset, str(key), specs)) is not None:
        return Found(key={"source": str(key)}, place=place, count=1)
    if not columns:
        return Found(key={"source": str(key)}, place=None, count=0)
    return Found(key=wanted, place=None, count=0, near=_near(dataset, wanted))


def read_key(key: Any, columns: Sequence[str]) -> dict[str, str]:
    """The key as texts by column.

    Raises:
        DeclarationError: It does not name just these columns.
    """
    if isinstance(key, Mapping):
        values = {str(name): _text(value) for name, value in key.items()}
    elif isinstance(key, (tuple, list)):
        values = dict(zip(columns, map(_text, key), strict=False)) if len(key) == len(columns) else {}
    else:
        values = _read_text(_text(key), columns)
    if values.keys() != set(columns):
        named = ",".join(f"{name}=VALUE" for name in columns)
        raise DeclarationError(f"a record is named by {', '.join(columns)}: give {named}, or the values in this order")
    return values


def _read_text(text: str, columns: Sequence[str]) -> dict[str, str]:
    pieces = text.split(",") if len(columns) > 1 else [text]
    named = [piece.partition("=") for piece in pieces]
    if all(equals and name.strip() in columns for name, equals, _ in named):
        return {name.strip(): value for name, _, value in named}
    return dict(zip(columns, pieces, strict=False)) if len(pieces) == len(columns) else {}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def texts(column: Any) -> pa.Array:
    """A column as texts, as a key is written."""
    joined = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if kinds.is_dictionary(joined.type):
        joined = joined.dictionary_decode()
    try:
        return joined.cast(pa.string())
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        return pa.array([None if value is None else str(value) for value in joined.to_pylist()], pa.string())


def _rows_of(table: pa.Table, wanted: Mapping[str, str]) -> list[int]:
    mask = np.ones(table.num_rows, np.bool_)
    for name, value in wanted.items():
        mask &= pc.fill_null(pc.equal(texts(table[name]), value), False).to_numpy(zero_copy_only=False)
    return [int(row) for row in np.flatnonzero(mask)]


def _in_output(dataset: Dataset, wanted: Mapping[str, str]) -> Iterator[Place]:
    if not set(wanted) <= set(dataset.schema.names):
        return
    for part in dataset.manifest["parts"]:
        rows = _rows_of(dataset.columns_of(part, list(wanted)), wanted) if part["rows"] else []
        yield from (Place(part=part, row=row, rejected=False) for row in rows)


def _in_rejects(dataset: Dataset, wanted: Mapping[str, str]) -> Iterator[Place]:
    for part in dataset.manifest["parts"]:
        if part["rejects"]:
            table = dataset.side_of("rejects", part["identity"])
            yield from (Place(part=part, row=row, rejected=True) for row in _rows_of(table, wanted))


def _specs(dataset: Dataset) -> dict[str, PartitionSpec]:
    try:
        specs = [PartitionSpec.from_dict(one) for one in dataset.plan()["specs"]]
    except CatalogError:
        return {}
    return {spec.identity: spec for spec in specs}


def _rejected_rows(dataset: Dataset, part: Mapping[str, Any]) -> list[int]:
    if not part["rejects"]:
        return []
    rows: list[int] = dataset.side_of("rejects", part["identity"])["source_row"].to_pylist()
    return sorted(rows)


def _with_source(dataset: Dataset, place: Place, specs: Mapping[str, PartitionSpec]) -> Place:
    """The place with the file and row of its record: records of a slice are counted on, rejected ones left out."""
    part, row = place.part, place.row
    if place.rejected:
        found = dataset.side_of("rejects", part["identity"]).slice(row, 1).to_pylist()[0]
        return Place(part=part, row=row, rejected=True, file=found["source_file"], number=found["source_row"])
    spec = specs.get(part["identity"])
    if spec is None:
        return place
    number = spec.first_row + row
    for rejected in _rejected_rows(dataset, part):
        number += rejected <= number
    return Place(part=part, row=row, rejected=False, file=spec.path, number=number)


def _by_source(dataset: Dataset, text: str, specs: Mapping[str, PartitionSpec]) -> Place | None:
    """The record that `file:row` names; the file by the end of its path."""
    file, colon, digits = text.rpartition(":")
    if not colon or not digits.isdecimal():
        return None
    number = int(digits)
    for part in dataset.manifest["parts"]:
        spec = specs.get(part["identity"])
        if spec is None or not (spec.path == file or spec.path.endswith(f"/{file}")):
            continue
        rejected = _rejected_rows(dataset, part)
        total = part["rows"] + len(rejected)
        if spec.first_row <= number < spec.first_row + total:
            if number in rejected:
                rows = dataset.side_of("rejects", part["identity"])["source_row"].to_pylist()
                return Place(part=part, row=rows.index(number), rejected=True, file=spec.path, number=number)
            row = number - spec.first_row - sum(one < number for one in rejected)
            return Place(part=part, row=row, rejected=False, file=spec.path, number=number)
    return None


def _near(dataset: Dataset, wanted: Mapping[str, str]) -> tuple[str, ...]:
    """The keys that are closest, of those that come into question."""
    columns, text = list(wanted), ",".join(wanted.values())
    few = dataset.manifest["rows"] + dataset.manifest["rejected"] <= FEW
    candidates: dict[str, None] = {}
    for table in _key_tables(dataset, columns):
        keys = _joined(table, columns)
        if not few:
            keys = keys.filter(pc.starts_with(keys, text[: max(1, len(text) // 2)], ignore_case=True))
        if few or len(candidates) < _CANDIDATES:
            candidates |= dict.fromkeys(key for key in keys.to_pylist()[: FEW if few else _CANDIDATES] if key)
    folded = {key.casefold(): key for key in candidates}
    found = get_close_matches(text.casefold(), list(folded), n=_NEAR)
    return tuple(folded[one] for one in found)


def _key_tables(dataset: Dataset, columns: Sequence[str]) -> Iterator[pa.Table]:
    for part in dataset.manifest["parts"]:
        yield dataset.side_of("rejects", part["identity"]).select(columns)
        if set(columns) <= set(dataset.schema.names):
            yield dataset.columns_of(part, columns)


def _joined(table: pa.Table, columns: Sequence[str]) -> Any:
    parts = [texts(table[name]) for name in columns]
    return parts[0] if len(parts) == 1 else pc.binary_join_element_wise(*parts, ",")
