"""Reading sources: what users name, how it is planned into slices, and how a worker reads one slice."""

from dataflow.store.sources.formats import csv, files, infer_source, jsonl, parquet
from dataflow.store.sources.source import Source, read, read_table

__all__ = ["Source", "csv", "files", "infer_source", "jsonl", "parquet", "read", "read_table"]
