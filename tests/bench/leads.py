"""Makes the data of the benchmarks: millions of leads in Parquet files, and a table of domains to join with them.

The data are kept between runs, since making them takes longer than some of the measurements.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from kernels import COUNTRIES

DEFAULT_FOLDER = Path(tempfile.gettempdir()) / "dataflow-bench"
ROWS_IN_FILE = 312_500
DOMAINS = 100_000

SYLLABLES = [
    "an",
    "ber",
    "cé",
    "don",
    "el",
    "fin",
    "gar",
    "hö",
    "is",
    "jo",
    "ka",
    "lū",
    "mar",
    "ni",
    "or",
    "pé",
    "ri",
    "sø",
]
NAMES = [f"{first}{second}{third}" for first in SYLLABLES for second in SYLLABLES for third in SYLLABLES]
FIRST_NAMES = [f" {name}" if at % 3 else name.upper() for at, name in enumerate(NAMES[::17])]
LAST_NAMES = [f"{name}  " if at % 4 else name.title() for at, name in enumerate(NAMES)]
PHONES = ["+1 (212) 555-", "+49 30 / 23125 ", "0044 20 7946 ", "+33.1.99.00.", "212-555-"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """Where the data of one size are.

    Attributes:
        leads: The folder of lead files.
        domains: The table of domains.
        rows: How many leads there are.
    """

    leads: Path
    domains: Path
    rows: int


def make(folder: Path, *, files: int, rows_in_file: int = ROWS_IN_FILE) -> Data:
    """The data in the folder, made first where they are not there yet; fewer files are a prefix of more."""
    domains = folder / "domains.parquet"
    leads = folder / f"leads-{files}x{rows_in_file}"
    folder.mkdir(parents=True, exist_ok=True)
    if not domains.exists():
        _publish(_domains(), domains)
    leads.mkdir(exist_ok=True)
    for number in range(files):
        part = leads / f"part-{number:05}.parquet"
        if not part.exists():
            _publish(_leads(number, rows_in_file), part)
    return Data(leads=leads, domains=domains, rows=files * rows_in_file)


def _publish(table: pa.Table, path: Path) -> None:
    unfinished = path.with_suffix(f".{os.getpid()}")
    pq.write_table(table, unfinished, compression="zstd")
    unfinished.replace(path)


def _domains() -> pa.Table:
    numbers = np.arange(DOMAINS)
    return pa.table(
        {
            "domain": _domain_names(numbers),
            "industry": _join(["industry-", _text(numbers % 40)]),
            "company_size": pa.array(numbers % 5_000, pa.int64()),
        }
    )


def _leads(number: int, rows: int) -> pa.Table:
    rng = np.random.default_rng([20_260_101, number])
    local = _join([" User.", _text(rng.integers(0, 1_000_000, rows))])
    at = _pick(rng, ["@"] * 49 + [" at "], rows)
    domains = _domain_names(rng.integers(0, DOMAINS * 11 // 10, rows))
    return pa.table(
        {
            "lead_id": pa.array(np.arange(number * rows, (number + 1) * rows)),
            "first_name": _pick(rng, FIRST_NAMES, rows),
            "last_name": _pick(rng, LAST_NAMES, rows),
            "email": _join([local, at, pc.utf8_capitalize(domains), " "]),
            "phone": _join([_pick(rng, PHONES, rows), _text(rng.integers(1_000, 10_000, rows))]),
            "country": _pick(rng, COUNTRIES, rows),
            "amount": pa.array(np.round(rng.lognormal(7, 2, rows), 2), mask=rng.random(rows) < 0.03),
            "created_on": pa.array(rng.integers(19_000, 20_400, rows).astype("int32")).cast(pa.date32()),
        }
    )


def _pick(rng: np.random.Generator, values: list[str], rows: int) -> pa.Array:
    return pa.array(values).take(pa.array(rng.integers(0, len(values), rows)))


def _domain_names(numbers: np.ndarray) -> pa.Array:
    return _join(["company-", _text(numbers), ".example"])


def _text(numbers: np.ndarray) -> pa.Array:
    return pa.array(numbers).cast(pa.string())


def _join(parts: list[str | pa.Array]) -> pa.Array:
    return pc.binary_join_element_wise(*parts, "")
