"""From whatever a user names as the source to a planned source: paths, datasets, tables, Dask collections.

Tables and collections have no identity that outlives the process, so they are spooled to Parquet beside the
runs first, under a name made of their content.
"""

from __future__ import annotations

import hashlib
import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dataflow.engine.arrow import bring_pandas_in
from dataflow.engine.collections import kind_of
from dataflow.errors import DeclarationError, SourceError
from dataflow.plan.partitions import SourcePlan
from dataflow.store.catalog import Catalog
from dataflow.store.dataset import Dataset
from dataflow.store.sources import Source, parquet, read
from dataflow.wiring.binding import named_source
from dataflow.wiring.settings import TARGET_BYTES


def resolve_source(source: Any, *, catalog: Catalog, spool: Path) -> Source:
    """The source that a user means.

    Args:
        source: A path, a `flow.csv(...)`, a dataset or its name, a pandas or Arrow table, a Dask collection.
        catalog: Where names of datasets are looked up.
        spool: The folder for tables and collections.

    Raises:
        SourceError: It is none of these, or not there.
    """
    if isinstance(source, Source):
        return source
    if isinstance(source, Dataset):
        return parquet(source.path)
    if isinstance(source, (str, Path)):
        return named_source(source, catalog)
    if isinstance(source, pa.Table):
        return _spooled(spool, lambda folder: pq.write_table(source, folder / "part-00000.parquet"))
    kind = kind_of(source)
    if kind == "pandas":
        bring_pandas_in()
        table = pa.Table.from_pandas(source, preserve_index=False).replace_schema_metadata(None)
        return _spooled(spool, lambda folder: pq.write_table(table, folder / "part-00000.parquet"))
    if kind == "dask":
        return _spooled(spool, lambda folder: source.to_parquet(str(folder), write_index=False))
    if kind == "bag":
        return _spooled(spool, lambda folder: source.map(_as_json).to_textfiles(str(folder / "part-*.jsonl")))
    raise SourceError(
        f"a {type(source).__name__} is no source; give a path, flow.csv/jsonl/parquet(...), a dataset, "
        "a pandas or Arrow table, or a Dask DataFrame or Bag"
    )


def _as_json(record: Mapping[str, Any]) -> str:
    import msgspec

    return msgspec.json.encode(record).decode()


def _spooled(spool: Path, write: Callable[[Path], Any]) -> Source:
    """Write to a temporary folder and keep it under the digest of its content; the same content is kept once."""
    temporary = spool / f".{uuid.uuid4().hex}"
    temporary.mkdir(parents=True)
    try:
        write(temporary)
        parts = sorted(one for one in temporary.rglob("*") if one.is_file())
        digest = hashlib.sha256()
        for part in parts:
            digest.update(part.read_bytes())
        place = spool / f"source-{digest.hexdigest()[:16]}"
        if not place.exists():
            temporary.rename(place)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return named_folder(place)


def named_folder(folder: Path) -> Source:
    """The source in a spool folder."""
    from dataflow.store.sources import infer_source

    return infer_source(folder)


def plan_source(source: Source, wanted: Mapping[str, pa.DataType], *, limit: int | None = None) -> SourcePlan:
    """Plan a source, cut to its first records where a limit is given.

    Raises:
        SourceError: It cannot be read.
    """
    plan = source.plan(wanted, target_bytes=TARGET_BYTES)
    return plan if limit is None else _limited(plan, limit)


def _limited(plan: SourcePlan, limit: int) -> SourcePlan:
    specs, left = [], limit
    for spec in plan.specs:
        if left <= 0:
            break
        batch = read(plan.options, spec, schema=plan.schema)
        rows = min(left, batch.table.num_rows + len(batch.unreadable))
        specs.append(replace(spec, rows=rows))
        left -= rows
    options = {**plan.options, "first_records": limit}
    note = f"only the first {limit - max(left, 0):,} records are run (limit)"
    return replace(plan, specs=tuple(specs), options=options, notes=(*plan.notes, note))


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
