"""dataflow: run every record of a dataset through a graph of services on Dask, and publish Parquet.

The public names and nothing else; each is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataflow import errors as errors
    from dataflow import testing as testing
    from dataflow.errors import CriticalServiceFailed as CriticalServiceFailed
    from dataflow.errors import DataflowError as DataflowError
    from dataflow.errors import Invalid as Invalid
    from dataflow.errors import NotFound as NotFound
    from dataflow.errors import Reject as Reject
    from dataflow.errors import RetryLater as RetryLater
    from dataflow.errors import Skip as Skip
    from dataflow.outcomes import Outcome as Outcome
    from dataflow.outcomes import Status as Status
    from dataflow.plan.pipeline import Job as Job
    from dataflow.plan.pipeline import Pipeline as Pipeline
    from dataflow.services.context import Context as Context
    from dataflow.services.context import Outcomes as Outcomes
    from dataflow.services.lookup import lookup as lookup
    from dataflow.services.service import Service as Service
    from dataflow.services.service import enrichment as enrichment
    from dataflow.services.service import transformation as transformation
    from dataflow.services.service import validation as validation
    from dataflow.services.signature import ALL as ALL
    from dataflow.store.sources import csv as csv
    from dataflow.store.sources import files as files
    from dataflow.store.sources import jsonl as jsonl
    from dataflow.store.sources import parquet as parquet
    from dataflow.wiring.opening import open_dataset as open  # noqa: A004

_HOMES = {
    "dataflow.errors": "CriticalServiceFailed DataflowError Invalid NotFound Reject RetryLater Skip",
    "dataflow.outcomes": "Outcome Status",
    "dataflow.plan.pipeline": "Job Pipeline",
    "dataflow.services.context": "Context Outcomes",
    "dataflow.services.lookup": "lookup",
    "dataflow.services.service": "Service enrichment transformation validation",
    "dataflow.services.signature": "ALL",
    "dataflow.store.sources": "csv files jsonl parquet",
}
_PLACES = {name: (home, name) for home, names in _HOMES.items() for name in names.split()}
_PLACES |= {"open": ("dataflow.wiring.opening", "open_dataset")}
_MODULES = ("errors", "testing")

__all__ = sorted([*_PLACES, *_MODULES])


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"dataflow.{name}")
    if name not in _PLACES:
        raise AttributeError(f"module 'dataflow' has no attribute {name!r}")
    home, original = _PLACES[name]
    value = getattr(importlib.import_module(home), original)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
