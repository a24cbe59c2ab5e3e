"""One version of a dataset, as its readers see it.

What belongs to it is said by its manifest, never by what lies in its folder. Nothing is written here, and
pandas and Dask are imported only by the methods that give them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from dataflow.engine.arrow import bring_pandas_in
from dataflow.errors import CatalogError, StoreError
from dataflow.store.files import Files, files_at
from dataflow.store.ledger import FORMAT
from dataflow.store.parts import checksum, decode, restored
from dataflow.store.records import CommitRecord, unpack_records
from dataflow.store.schemas import Schemas
from dataflow.store.sources.arrays import empty_table
from dataflow.telemetry.report import Report

if TYPE_CHECKING:
    import dask.dataframe as dd
    import pandas as pd

SIDES = ("rejects", "failures")
"""What a version has beside its records."""

_ADDED = frozenset({"error"})
"""Columns that the failures of partitions may lack which a later version has carried over from an older dataflow."""

COMMITS = "commits.jsonl.zst"
"""The commit records of a version, from which the next one carries over what has not changed."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Dataset:
    """A version of a dataset, or what a run has committed so far.

    Attributes:
        name: The name of the dataset.
        version: Its number, or None for a run that is not published.
        path: The folder with the parts, for any reader of Parquet.
        meta: The folder with rejects and failures.
        manifest: What was written: parts with rows and checksums, schema, key, lineage, run, fingerprints.
        statistics: The public form of the run's statistics.
    """

    name: str
    version: int | None
    path: str
    meta: str
    manifest: dict[str, Any]
    statistics: dict[str, Any]

    @property
    def rows(self) -> int:
        """Records in the output."""
        return int(self.manifest["rows"])

    @property
    def is_whole(self) -> bool:
        """Whether nothing was left out: no record of the source, and no service that was not attempted."""
        return bool(self.manifest.get("whole", not self.statistics["not_attempted_records"]))

    @property
    def limit(self) -> int | None:
        """The first records of the source that it is made of; None where no limit has left others out."""
        limit: int | None = self.manifest.get("limit")
        return limit

    @property
    def schema(self) -> pa.Schema:
        """The schema of every part."""
        return self._schemas.output

    @property
    def files(self) -> list[str]:
        """The paths of the parts, in the order of the source."""
        return [f"{self.path}/{part['name']}" for part in self.manifest["parts"]]

    @property
    def _schemas(self) -> Schemas:
        return Schemas.from_dict(self.manifest["schemas"])

    @property
    def _files(self) -> Files:
        return files_at(self.path)

    def to_arrow(self) -> pa.Table:
        """All records, in the order of the source.

        Raises:
            StoreError: A part is missing or damaged.
        """
        return self._read(self.files, self.schema)

    def to_pandas(self) -> pd.DataFrame:
        """All records as a pandas DataFrame with Arrow types, so that nulls and integers stay what they are."""
        return _to_pandas(self.to_arrow())

    def to_dask(self) -> dd.DataFrame:
        """The records as a Dask DataFrame with Arrow types, one partition for each part; nothing is read yet."""
        import dask.dataframe as dd

        meta = _to_pandas(empty_table(self.schema))
        return dd.from_map(_read_part, self.files, schema=self.schema, meta=meta)

    def head(self, n: int = 10) -> pa.Table:
        """The first `n` records; only as much is read as they need."""
        batches: list[pa.RecordBatch] = []
        missing = n
        for path in self.files:
            if missing <= 0:
                break
            found = self._guarded(path, partial(_first, rows=missing))
            batches += found
            missing -= sum(batch.num_rows for batch in found)
        if not batches:
            return empty_table(self.schema)
        return restored(pa.Table.from_batches(batches).slice(0, n), self.schema)

    def rejects(self, *, inputs: bool = False) -> pa.Table:
        """The records that are not in the output, each with service, reason, error, source and raw text.

        Args:
            inputs: Whether the columns of the source are read again and joined; see `failures`.
        """
        found = self._side("rejects", self._schemas.rejects)
        return self._with_inputs(found) if inputs else found

    def failures(self, *, inputs: bool = False) -> pa.Table:
        """The outcomes that did not succeed, one row for each service and record; `error` tells what was said.

        Args:
            inputs: Whether the columns of the source are read again and joined, of those partitions only that are
                concerned. They keep their names, but for `source_` before those that the failures have too.

        Raises:
            SourceError: With `inputs`: the source is gone or has changed since.
            CatalogError: With `inputs`: nothing is known of the source any more.
        """
        found = self._side("failures", self._schemas.failures)
        return self._with_inputs(found) if inputs else found

    def columns_of(self, part: Mapping[str, Any], columns: Sequence[str]) -> pa.Table:
        """Some columns of one part."""
        schema = pa.schema([self.schema.field(name) for name in columns])

        def read(source: Any) -> pa.Table:
            with pq.ParquetFile(source, page_checksum_verification=True) as file:
                return restored(file.read(list(columns)), schema)

        found: pa.Table = self._guarded(f"{self.path}/{part['name']}", read)
        return found

    def side_of(self, kind: str, identity: str) -> pa.Table:
        """The rejects or the failures of one partition."""
        names = [one[kind]["name"] for one in self.manifest["parts"] if one["identity"] == identity and one[kind]]
        schema = self._schemas.rejects if kind == "rejects" else self._schemas.failures
        return self._read([f"{self.meta}/{kind}/{name}" for name in names], schema, older=_ADDED)

    def _with_inputs(self, table: pa.Table) -> pa.Table:
        # Reading sources takes a while to import.
        from dataflow.store.inputs import joined

        return joined(table, self.plan(), key=self.manifest["key"])

    @property
    def home(self) -> str:
        """The folder of the dataset."""
        return self.meta.rpartition("/_meta/" if self.version is not None else "/_runs/")[0]

    def plan(self) -> dict[str, Any]:
        """The plan of the run that has made it.

        Raises:
            CatalogError: It was removed.
        """
        path = f"{self.home}/_runs/{self.manifest['run']}/plan.json"
        try:
            plan: dict[str, Any] = msgspec.json.decode(self._files.read(path))
        except (FileNotFoundError, msgspec.DecodeError) as error:
            raise CatalogError(f"{path}: is gone or damaged, and only there stands where {self} comes from") from error
        return plan

    def _side(self, kind: str, schema: pa.Schema) -> pa.Table:
        names = [part[kind]["name"] for part in self.manifest["parts"] if part[kind]]
        return self._read([f"{self.meta}/{kind}/{name}" for name in names], schema, older=_ADDED)

    def _read(self, paths: Sequence[str], schema: pa.Schema, *, older: Collection[str] = ()) -> pa.Table:
        tables = [self._guarded(path, partial(decode, schema=schema, older=older)) for path in paths]
        return pa.concat_tables(tables) if tables else empty_table(schema)

    def _guarded(self, path: str, read: Callable[[Any], Any]) -> Any:
        """What `read` gives for a file; a damaged file is named."""
        try:
            return read(self._files.source(path))
        except FileNotFoundError as error:
            raise StoreError(f"{path}: this part of {self} is gone; was the version pruned?") from error
        except (pa.ArrowInvalid, OSError) as error:
            raise StoreError(f"{path}: this part of {self} is damaged; run again, or restore it") from error

    def verify(self) -> None:
        """Compare every file with its checksum; it takes about as long as reading all bytes.

        Raises:
            StoreError: It names the files that are missing or differ.
        """
        faults = [fault for path, part in self._parts() if (fault := self._fault(path, part))]
        if faults:
            raise StoreError(f"{self}: {'; '.join(faults)}; run again, or restore these files")

    def _parts(self) -> list[tuple[str, dict[str, Any]]]:
        found = []
        for part in self.manifest["parts"]:
            found.append((f"{self.path}/{part['name']}", part))
            found += [(f"{self.meta}/{kind}/{part[kind]['name']}", part[kind]) for kind in SIDES if part[kind]]
        return found

    def _fault(self, path: str, part: dict[str, Any]) -> str | None:
        try:
            data = self._files.read(path)
        except FileNotFoundError:
            return f"{path} is missing"
        return None if checksum(data) == part["checksum"] else f"{path} differs from what was written"

    def records(self) -> dict[str, CommitRecord]:
        """The commit records of a published version, by identity of their partitions."""
        data = self._files.read(f"{self.meta}/{COMMITS}")
        return {record.identity: record for record in unpack_records(data)}

    def __str__(self) -> str:
        return f"{self.name} ({self.manifest['run']})" if self.version is None else f"{self.name}@v{self.version}"

    def __repr__(self) -> str:
        parts, columns = len(self.manifest["parts"]), len(self.manifest["columns"])
        return f"Dataset({self}: {self.rows:,} rows, {columns} columns, {parts} parts, {self.path})"

    def _repr_html_(self) -> str:
        from dataflow.faces.datasets import dataset_page

        return dataset_page(self)


def _first(source: Any, rows: int) -> list[pa.RecordBatch]:
    """The first batches of a part that hold at least `rows` rows, or all there are."""
    batches: list[pa.RecordBatch] = []
    with pq.ParquetFile(source, page_checksum_verification=True) as file:
        for batch in file.iter_batches(batch_size=rows):
            batches.append(batch)
            if sum(found.num_rows for found in batches) >= rows:
                break
    return batches


def _to_pandas(table: pa.Table) -> pd.DataFrame:
    pandas = bring_pandas_in()
    frame: pd.DataFrame = table.to_pandas(types_mapper=pandas.ArrowDtype)
    return frame


def _read_part(path: str, schema: pa.Schema) -> pd.DataFrame:
    return _to_pandas(decode(files_at(path).source(path), schema))


def open_version(files: Files, home: str, version: int) -> Dataset:
    """A version that is complete, from its manifest.

    Raises:
        CatalogError: It is not there, is damaged, or was written in a form that this version does not know.
    """
    meta = f"{home}/_meta/v{version}"
    try:
        manifest = msgspec.json.decode(files.read(f"{meta}/dataset.json"))
        statistics = read_report(files, meta)
    except (FileNotFoundError, msgspec.DecodeError) as error:
        raise CatalogError(f"{home}: version {version} has no readable manifest in {meta}") from error
    if manifest.get("format") != FORMAT:
        raise CatalogError(f"{meta}: format {manifest.get('format')} is not known here; use the dataflow that wrote it")
    name = home.rpartition("/")[2]
    path = f"{home}/v{version}"
    return Dataset(name=name, version=version, path=path, meta=meta, manifest=manifest, statistics=statistics)


def read_report(files: Files, meta: str) -> Report:
    """The statistics of a version in their public form."""
    return Report(msgspec.json.decode(files.read(f"{meta}/statistics.json")))


def numbers(names: Sequence[str]) -> list[int]:
    """The version numbers among names of folders, in order."""
    return sorted(int(name[1:]) for name in names if name.startswith("v") and name[1:].isdecimal())


def complete_versions(files: Files, home: str) -> list[int]:
    """The versions of a dataset that a reader may see, oldest first: those with their folder and their manifest."""
    folders = numbers(files.folders(home))
    return [number for number in folders if "dataset.json" in files.sizes(f"{home}/_meta/v{number}")]


def latest_of(files: Files, home: str, *, versions: Sequence[int]) -> int:
    """The version that the bare name of a dataset stands for, and `latest` too.

    It is the newest that no limit has cut short, and where a limit has cut all of them, the newest.

    Args:
        files: The operations of the catalog.
        home: The folder of the dataset.
        versions: Those that are complete, oldest first; at least one.
    """
    whole = (number for number in reversed(versions) if not _is_limited(files, f"{home}/_meta/v{number}"))
    return next(whole, versions[-1])


class _Limited(msgspec.Struct):
    """The one value of a manifest that is asked for without reading the others."""

    limit: int | None = None


_limited_decoder = msgspec.json.Decoder(_Limited)


def _is_limited(files: Files, meta: str) -> bool:
    with suppress(FileNotFoundError, msgspec.DecodeError):
        # What is gone or damaged is told by whoever opens it.
        return _limited_decoder.decode(files.read(f"{meta}/dataset.json")).limit is not None
    return False
