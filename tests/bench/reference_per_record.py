"""The per-record benchmark by hand: a pool of two processes, plain Python functions, and no framework.

    python tests/bench/reference_per_record.py LEADS OUTPUT --style columns

Two styles: `rows` is what people write (a dict for each record), `columns` is the fastest that we know (a list
for each column, no dict at all). Neither checks what the functions return, nor survives one that raises.
"""

from __future__ import annotations

from pathlib import Path

import functions as f
import pool
import pyarrow as pa
import pyarrow.parquet as pq

pool.keep_pandas_out()

READS = ("first_name", "last_name", "email", "phone", "country", "amount")


def by_columns(leads: pa.Table) -> tuple[pa.Table, int]:
    """The leads with what the functions say, computed column by column, and how many are valid."""
    first, last, email, phone, country, amount = (leads[name].to_pylist() for name in READS)
    email = [f.email(one) for one in email]
    checked = zip(email, country, amount, strict=True)
    new = {
        "email": email,
        "phone": [f.phone(one) for one in phone],
        "full_name": [f.full_name(*names) for names in zip(first, last, strict=True)],
        "industry": [f.industry(one) for one in email],
        "is_valid": [is_valid(*one) for one in checked],
    }
    old = {name: leads[name] for name in leads.column_names}
    return pa.table(old | {name: pa.array(values) for name, values in new.items()}), sum(new["is_valid"])


def by_rows(leads: pa.Table) -> tuple[pa.Table, int]:
    """The same, computed record by record."""
    rows = leads.to_pylist()
    for row in rows:
        row["full_name"] = f.full_name(row["first_name"], row["last_name"])
        row["email"] = f.email(row["email"])
        row["phone"] = f.phone(row["phone"])
        row["industry"] = f.industry(row["email"])
        row["is_valid"] = is_valid(row["email"], row["country"], row["amount"])
    return pa.Table.from_pylist(rows), sum(row["is_valid"] for row in rows)


def is_valid(email: str, country: str, amount: float | None) -> bool:
    """All three validations; an amount that is not there is not judged."""
    return f.is_email(email) and f.is_known_country(country) and (amount is None or f.in_range(amount))


STYLES = {"columns": by_columns, "rows": by_rows}


def process(file: Path, *, style: str, output: Path, compression: str) -> dict[str, int]:
    """One file through the whole, to its output file and its counts."""
    table, valid = STYLES[style](pq.ParquetFile(file).read(use_threads=False))
    pq.write_table(table, output / file.name, compression=compression)
    return {"rows": table.num_rows, "valid": valid}


if __name__ == "__main__":
    parser = pool.options()
    parser.add_argument("--style", choices=STYLES, default="columns")
    pool.run(process, **vars(parser.parse_args()))
