"""The vectorised benchmark by hand: a pool of two processes, `pyarrow.compute`, and no framework.

    python tests/bench/reference_vectorised.py LEADS OUTPUT --domains DOMAINS

Written to be hard to beat: the processes are forked after the imports, Arrow runs one thread in each, pandas
stays out, and a file is one task. It promises nothing when a process dies.
"""

from __future__ import annotations

from functools import cache, reduce
from pathlib import Path

import pool
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

pool.keep_pandas_out()

import kernels  # noqa: E402 - it makes Arrow arrays


def process(file: Path, *, domains: Path, output: Path, compression: str) -> dict[str, int]:
    """One file through the whole, to its output file and its counts."""
    column = columns(file)
    column["first_name"] = kernels.title(column["first_name"])
    column["last_name"] = kernels.title(column["last_name"])
    column["email"] = kernels.lower(column["email"])
    column["phone"] = kernels.digits(column["phone"])
    column["domain"] = kernels.domain(column["email"])
    column |= join(column["domain"], known_domains(domains))
    verdicts = (
        kernels.is_email(column["email"]),
        kernels.is_known_country(column["country"]),
        pc.fill_null(kernels.in_range(column["amount"]), True),
    )
    column["is_valid"] = reduce(pc.and_, verdicts)
    pq.write_table(pa.table(column), output / file.name, compression=compression)
    return {"rows": len(column["is_valid"]), "valid": pc.sum(column["is_valid"]).as_py()}


def columns(file: Path) -> dict[str, pa.Array]:
    """The columns of a Parquet file, each in one piece."""
    table = pq.ParquetFile(file).read(use_threads=False).combine_chunks()
    return {name: table[name].chunk(0) for name in table.column_names}


known_domains = cache(columns)


def join(keys: pa.Array, table: dict[str, pa.Array]) -> dict[str, pa.Array]:
    """The other columns of the table, by key."""
    places = pc.index_in(keys, table["domain"])
    return {name: values.take(places) for name, values in table.items() if name != "domain"}


if __name__ == "__main__":
    parser = pool.options()
    parser.add_argument("--domains", type=Path, required=True)
    pool.run(process, **vars(parser.parse_args()))
