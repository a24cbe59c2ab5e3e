"""From whatever a user names as the source to a planned source: paths, datasets, tables, Dask collections.

Tables and collections have no identity that outlives the process, so they are spooled to Parquet beside the
runs first, under a name made of their content.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dataflow.engine.arrow import bring_pandas_in
from dataflow.engine.collections import each_frame, kind_of
from dataflow.errors import DeclarationError, SourceError
from dataflow.plan.partitions import SourcePlan
from dataflow.plan.pipeline import Pipeline
from dataflow.plan.sizes import PartitionSize
from dataflow.services.service import Service
from dataflow.store.catalog import Catalog
from dataflow.store.dataset import Dataset
from dataflow.store.files import files_at, translated
from dataflow.store.sources import Source, infer_source, parquet, read
from dataflow.wiring.binding import dataset_source, named_source
from dataflow.wiring.settings import TARGET_BYTES

_GUESSED_CALL, _GUESSED_PARTITION, _GUESSED_RECORD = 0.5, 30, 256
"""Seconds of a call, seconds of calling for a partition, bytes of a record."""

_UNCAPPED = 256
"""Calls in flight of an API without a cap."""


def resolve_source(source: Any, *, catalog: Catalog, spool: str) -> Source:
    """The source that a user means.

    Args:
        source: A path, a `flow.csv(...)`, a dataset or its name, a pandas or Arrow table, a Dask collection.
        catalog: Where names of datasets are looked up.
        spool: The folder, by path or URL, for tables and collections.

    Raises:
        SourceError: It is none of these, or not there.
    """
    if isinstance(source, Source):
        return source
    if isinstance(source, Dataset):
        return dataset_source(source)
    if isinstance(source, (str, Path)):
        return named_source(source, catalog)
    if isinstance(source, pa.Table):
        return _spooled_table(source, spool)
    kind = kind_of(source)
    if kind == "pandas":
        return _spooled_table(_arrow(source), spool)
    if kind == "dask":
        bring_pandas_in()
        return _spooled(spool, lambda folder: _write_frames(source, folder))
    if kind == "bag":
        return _spooled(spool, lambda folder: source.map(_as_json).to_textfiles(f"{folder}/part-*.jsonl"))
    raise SourceError(
        f"a {type(source).__name__} is no source; give a path, flow.csv/jsonl/parquet(...), a dataset, "
        "a pandas or Arrow table, or a Dask DataFrame or Bag"
    )


def some_partitions(source: Any, count: int) -> Any:
    """A Dask DataFrame cut to some of its partitions, evenly spaced; everything else as it is."""
    if isinstance(source, (str, Path, Source, Dataset, pa.Table)) or kind_of(source) != "dask":
        return source
    count = min(count, source.npartitions)
    return source.partitions[sorted({at * source.npartitions // count for at in range(count)})]


def _arrow(frame: Any) -> pa.Table:
    bring_pandas_in()
    try:
        return pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise SourceError(
            f"the frame has a column without one Arrow type ({error.args[-1] if error.args else error}); "
            "convert it before"
        ) from error


def _write_frames(frames: Any, folder: str) -> None:
    """Write each partition as Arrow sees it; dask would take every column of objects for text."""
    each_frame(frames, partial(_write_frame, folder))


def _write_frame(folder: str, frame: Any, at: int) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(_arrow(frame), sink)
    files_at(folder).write(f"{folder}/part-{at:05d}.parquet", sink.getvalue())


def _as_json(record: Mapping[str, Any]) -> str:
    import msgspec

    return msgspec.json.encode(record, enc_hook=_plain).decode()


def _plain(value: Any) -> Any:
    """What JSON takes for the scalars of numpy; anything else is refused."""
    if type(value).__module__ == "numpy" and hasattr(value, "item"):
        return value.item()
    raise TypeError(
        f"a record of the bag holds a {type(value).__name__}, for which JSON has no form; convert it before"
    )


def _spooled_table(table: pa.Table, spool: str) -> Source:
    sink = pa.BufferOutputStream()
    try:
        pq.write_table(table, sink)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
        raise SourceError(f"the table cannot be written as Parquet ({error}); convert its columns before") from error
    data = sink.getvalue()
    folder = f"{spool}/{_place([('part-00000.parquet', data)])}"
    files = files_at(spool)
    with translated(f"{folder}: keeping the table"):
        files.make(folder)
        files.create(f"{folder}/part-00000.parquet", data)
    return parquet(folder)


def _spooled(spool: str, write: Callable[[str], Any]) -> Source:
    """Write to a temporary folder and keep it under the digest of its content; the same content is kept once."""
    files, temporary = files_at(spool), f"{spool}/.source-{uuid.uuid4().hex}.tmp"
    try:
        files.make(temporary)
        write(temporary)
        names = sorted(files.sizes(temporary))
        place = f"{spool}/{_place((name, files.read(f'{temporary}/{name}')) for name in names)}"
        with translated(f"{place}: keeping the collection"):
            files.make(place)
            there = files.sizes(place)
            files.copy([(f"{temporary}/{name}", f"{place}/{name}") for name in names if name not in there])
    except (TypeError, ValueError, pa.ArrowException) as error:
        raise SourceError(f"the collection cannot be written: {error}") from error
    finally:
        files.remove(temporary)
    return infer_source(place)


def _place(parts: Iterable[tuple[str, Any]]) -> str:
    digest = hashlib.sha256()
    for name, data in parts:
        digest.update(f"{name} {len(data)} ".encode())
        digest.update(data)
    return f"source-{digest.hexdigest()[:16]}"


def partition_bytes(pipeline: Pipeline) -> int:
    """Bytes of source that make a partition: less where it calls out, so that results appear after half a minute.

    What a call takes is not known before the first one, and neither is what a record takes; both are guessed.
    """
    called = [_records_called(service) for service in pipeline.every if service.api is not None]
    return min(min(called) * _GUESSED_RECORD, TARGET_BYTES) if called else TARGET_BYTES


def _records_called(service: Service) -> int:
    """Records that a service gets through in half a minute: at least 500, and what 20 calls can carry."""
    in_flight = _UNCAPPED if service.api.concurrency is None else service.api.concurrency
    rates = [rate.count / rate.period for rate in service.api.rates if rate.unit == "calls"]
    calls = min([in_flight / _GUESSED_CALL, *rates]) * _GUESSED_PARTITION
    return int(min(max(calls, 500 / service.batch, 20), 20_000) * service.batch)


def size_of(pipeline: Pipeline) -> PartitionSize:
    """How large partitions are where nobody says so."""
    return PartitionSize(bytes=partition_bytes(pipeline))


def plan_source(
    source: Source,
    wanted: Mapping[str, pa.DataType],
    *,
    limit: int | None = None,
    size: PartitionSize = PartitionSize(bytes=TARGET_BYTES),  # noqa: B008 - a constant
) -> SourcePlan:
    """Plan a source, cut to its first records where a limit is given.

    Raises:
        SourceError: It cannot be read.
    """
    plan = source.plan(wanted, target_bytes=size.bytes or TARGET_BYTES, records=size.records)
    return plan if limit is None else _limited(plan, limit)


def _limited(plan: SourcePlan, limit: int) -> SourcePlan:
    """The first records of a source; where there are no others, the plan is that of all of it."""
    specs, left = [], limit
    for spec in plan.specs:
        batch = read(plan.options, spec, schema=plan.schema)
        rows = batch.table.num_rows + len(batch.unreadable)
        if rows > left:
            specs += [replace(spec, rows=left)] if left else []
            options = {**plan.options, "first_records": limit}
            note = f"only the first {limit:,} records are run (limit)"
            return replace(plan, specs=tuple(specs), options=options, notes=(*plan.notes, note))
        specs.append(replace(spec, rows=rows))
        left -= rows
    return replace(plan, specs=tuple(specs))


def check_columns(schema: pa.Schema) -> None:
    """Refuse a source without columns or with two of one name.

    Raises:
        DeclarationError: The schema cannot be bound.
    """
    names = schema.names
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DeclarationError(f"the source has two columns called {', '.join(twice)}; rename them before")
    if not names:
        raise DeclarationError("the source has no columns")
