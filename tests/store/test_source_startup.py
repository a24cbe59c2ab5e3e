from __future__ import annotations

import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq

READ = """
import sys
from dataflow.engine.arrow import keep_pandas_out
keep_pandas_out()
from dataflow.store.sources import files, read
import pyarrow as pa
wanted = {"a": pa.int64(), "d": pa.date32()}
for path in sys.argv[1:]:
    plan = files(path).plan(wanted, target_bytes=40)
    batches = [read(plan.options, spec, schema=plan.schema) for spec in plan.specs]
    assert sum(batch.table.num_rows for batch in batches) == 30, path
for name in ("pandas", "pyarrow.dataset", "fsspec", "dask", "distributed"):
    assert name not in sys.modules, name
"""


def test_local_files_of_all_formats_are_read_without_pandas_and_fsspec(tmp_path):
    (tmp_path / "x.csv").write_text("a,d\n" + "1,2024-01-31\n" * 30 + "x,\n1\n")
    (tmp_path / "x.jsonl").write_text('{"a": 1, "d": "2024-01-31"}\n' * 30 + '{"a": 1.5}\nnonsense\n')
    pq.write_table(pa.table({"a": [1] * 30}), tmp_path / "x.parquet")
    paths = [str(tmp_path / name) for name in ("x.csv", "x.jsonl", "x.parquet")]
    subprocess.run([sys.executable, "-c", READ, *paths], check=True)


def test_naming_a_source_imports_neither_pandas_nor_a_reader():
    code = (
        "import sys; from dataflow.store.sources import csv; csv('x.csv', schema={'a': int})\n"
        "assert not {'pandas', 'fsspec', 'pyarrow.csv', 'pyarrow.parquet', 'msgspec'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
