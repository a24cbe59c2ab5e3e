"""Writes one partition of a run: its files first, then one record, created exclusively.

A file is named after the identity of its partition and its content, so that two attempts never overwrite each
other; the record decides which one counts. Publishing is not done here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import pyarrow as pa

from dataflow.engine.result import PartitionResult
from dataflow.errors import CatalogError, StoreError
from dataflow.plan.partitions import PartitionSpec
from dataflow.store.files import translated
from dataflow.store.ledger import Ledger
from dataflow.store.parts import PartFile, checksum, described, encode, schema_digest, short
from dataflow.store.records import CommitRecord, Counts, record_to_json
from dataflow.telemetry.statistics import Statistics, unbalanced

FOLDERS = ("parts", "rejects", "failures")
"""Where the three kinds of files of a run are; in this order everywhere."""


def commit(ledger: Ledger, spec: PartitionSpec, result: PartitionResult, *, profile: bool = False) -> CommitRecord:
    """Make one partition part of the run; a second commit changes nothing and returns the first's record.

    On return the data and the record are on disk.

    Args:
        ledger: The run, as of the epoch in which the partition was handed out.
        spec: The partition.
        result: What the graph made of it.
        profile: Whether distinct values of every column are estimated too; it takes seconds for a million rows.

    Raises:
        StoreError: The sums or the schema are not as planned, or the catalog cannot be written.
        OutputLocked: The run has gone on without this process, or is over.
    """
    with translated(f"partition {spec.index} of run {ledger.run}: committing"):
        try:
            return _committed(ledger, spec, result, profile=profile)
        except (FileNotFoundError, CatalogError):
            # A run that is over takes its folder away under a late worker.
            ledger.require_current()
            raise


def _committed(ledger: Ledger, spec: PartitionSpec, result: PartitionResult, *, profile: bool) -> CommitRecord:
    ledger.require_current()
    first = ledger.record(spec.identity)
    if first is not None:
        return first
    _require_sums(ledger, spec, result)
    _require_schema(ledger, spec, result.output.schema)
    record = _written(ledger, spec, result, profile=profile)
    # The files took a while; the run may have been given to another process meanwhile.
    ledger.require_current()
    return write_record(ledger, record)


def _require_sums(ledger: Ledger, spec: PartitionSpec, result: PartitionResult) -> None:
    statistics, kept, rejected = result.statistics, result.output.num_rows, result.rejects.num_rows
    faults = unbalanced(statistics, output=kept, rejects=rejected)
    if spec.rows not in (-1, statistics.total_records):
        faults.append(f"records planned = {spec.rows:,}, but total records = {statistics.total_records:,}")
    if faults:
        raise _refused(ledger, spec, "; ".join(faults))


def _require_schema(ledger: Ledger, spec: PartitionSpec, schema: pa.Schema) -> None:
    expected = ledger.schemas.output
    if schema_digest(schema) != schema_digest(expected):
        pairs = ((f"{field.name}: {field.type}" for field in found) for found in (schema, expected))
        odd = sorted(set.symmetric_difference(*map(set, pairs)))
        raise _refused(
            ledger, spec, f"its columns are not those that were planned ({', '.join(odd) or 'order, nulls'})"
        )


def _refused(ledger: Ledger, spec: PartitionSpec, fault: str) -> StoreError:
    return StoreError(f"partition {spec.index} of run {ledger.run}: {fault}; nothing was committed, please report this")


def _written(ledger: Ledger, spec: PartitionSpec, result: PartitionResult, *, profile: bool) -> CommitRecord:
    """The files on disk, and the record that names them, which is not."""
    part = encode(result.output)
    columns = described(result.output, part, distinct=profile)
    return CommitRecord(
        identity=spec.identity,
        index=spec.index,
        epoch=ledger.epoch,
        schema=schema_digest(result.output.schema),
        part=put_file(ledger, spec, "parts", part, rows=result.output.num_rows),
        rejects=_side_file(ledger, spec, "rejects", result.rejects),
        failures=_side_file(ledger, spec, "failures", result.failures),
        counts=Counts(replace(result.statistics, columns=columns).to_dict()),
    )


def _side_file(ledger: Ledger, spec: PartitionSpec, folder: str, table: pa.Table) -> PartFile | None:
    if not table.num_rows:
        return None
    return put_file(ledger, spec, folder, encode(table), rows=table.num_rows)


def put_file(ledger: Ledger, spec: PartitionSpec, folder: str, data: pa.Buffer, *, rows: int) -> PartFile:
    """Write one file of a partition, which does not count until a record names it."""
    digest = checksum(data)
    name = file_name(spec.index, spec.identity, digest)
    ledger.files.write(ledger.path(folder, name), data)
    return PartFile(name=name, rows=rows, bytes=data.size, checksum=digest)


def file_name(index: int, identity: str, digest: str) -> str:
    """The name of a file: its place in the plan, the partition it is for, and what is in it."""
    return f"part-{index:05d}-{identity}-{short(digest)}.parquet"


def write_record(ledger: Ledger, record: CommitRecord) -> CommitRecord:
    """Let the record count for its partition, unless another does; the one that counts is returned."""
    path, data = ledger.record_path(record.identity), record_to_json(record)
    if ledger.files.create(path, data):
        return record
    first = ledger.any_record(record.identity)
    if first is not None and ledger.accepts(first):
        return first
    # One of the two has lost the run: either this process, or the one that wrote its record too late to count.
    ledger.require_current()
    ledger.files.write(path, data)
    return record


def files_of(record: CommitRecord) -> Iterator[tuple[str, PartFile]]:
    """The files of a record, each with the folder it is in."""
    for folder, file in zip(FOLDERS, (record.part, record.rejects, record.failures), strict=True):
        if file is not None:
            yield folder, file


def totals(records: Iterable[CommitRecord]) -> Statistics:
    """The statistics of all records together."""
    return Statistics.merged(record.counts.statistics for record in records)
