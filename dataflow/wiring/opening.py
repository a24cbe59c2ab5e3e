"""`flow.open`: a dataset by name and version, or what a run has committed."""

from __future__ import annotations

import contextlib

from dataflow.engine.arrow import keep_pandas_out
from dataflow.errors import CatalogError
from dataflow.store.catalog import Catalog
from dataflow.store.dataset import Dataset
from dataflow.wiring.preparation import DEFAULT_CATALOG


def open_dataset(name: str | object, *, catalog: str = DEFAULT_CATALOG) -> Dataset:
    """Open the newest version of a dataset, another version, or what a run has committed so far.

    Args:
        name: `leads`, `leads@v3`, a path such as `datasets/leads`, the id of a run, or a `Run`.
        catalog: Where names are looked up.

    Raises:
        CatalogError: There is no such dataset, version or run; the message names those that are close.
    """
    keep_pandas_out()
    text = str(getattr(name, "id", name))
    folder, slash, last = text.rstrip("/").rpartition("/")
    found = Catalog(folder) if slash else Catalog(catalog)
    wanted = last if slash else text
    if not found.has(wanted):
        with contextlib.suppress(CatalogError):
            return found.run(wanted).partial()
    return found.open(wanted)


def open_run(run: str, *, catalog: str = DEFAULT_CATALOG) -> Dataset:
    """What a run has committed so far.

    Raises:
        CatalogError: There is no such run.
    """
    return Catalog(catalog).run(run).partial()
