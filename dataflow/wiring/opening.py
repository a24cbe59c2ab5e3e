"""`flow.open`: a dataset by name and version, or what a run has committed."""

from __future__ import annotations

import re
from pathlib import Path

from dataflow.engine.arrow import keep_pandas_out
from dataflow.store.bill import bill_of
from dataflow.store.catalog import Catalog
from dataflow.store.dataset import Dataset
from dataflow.wiring.preparation import DEFAULT_CATALOG
from dataflow.wiring.run import Run

_VERSION = re.compile(r"((?P<folder>.*)/)?(?P<name>[^/]+)/((?P<version>v[0-9]+)|latest)")


def open_dataset(name: str | Path | Run, *, catalog: str = DEFAULT_CATALOG) -> Dataset:
    """Open the newest version of a dataset, another version, or what a run has committed so far.

    Args:
        name: `leads`, `leads@v3`, a path such as `datasets/leads` or `datasets/leads/v3`, the id of a run,
            `latest` for the newest run, or a `Run`.
        catalog: Where names are looked up.

    Raises:
        CatalogError: There is no such dataset, version or run; the message names those that are close.
    """
    keep_pandas_out()
    if isinstance(name, Run):
        return open_run(name.id, catalog=name.catalog)
    text = str(name).rstrip("/")
    parts = _VERSION.fullmatch(text)
    if parts and (around := Catalog("." if parts["folder"] is None else parts["folder"] or "/")).has(parts["name"]):
        return around.open(f"{parts['name']}@{parts['version']}" if parts["version"] else parts["name"])
    folder, slash, last = text.rpartition("/")
    if slash:
        return Catalog(folder or "/").open(last)
    found = Catalog(catalog)
    if not found.has(text) and (text == "latest" or any(text == run.id for run in found.runs())):
        return open_run(text, catalog=catalog)
    return found.open(text)


def open_run(run: str, *, catalog: str = DEFAULT_CATALOG) -> Dataset:
    """The version that a run has published, or what it has committed so far.

    Raises:
        CatalogError: There is no such run, or its version was pruned.
    """
    found = Catalog(catalog)
    folder = found.run(run)
    for record in found.runs(folder.dataset):
        if record.id == folder.run and record.version is not None:
            return found.open(f"{record.dataset}@v{record.version}")
    return folder.partial(bill_of)
