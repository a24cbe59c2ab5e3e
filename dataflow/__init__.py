"""dataflow: run every record of a dataset through a graph of services on Dask, and publish Parquet.

The public names and nothing else; each is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataflow.errors import CriticalServiceFailed, DataflowError, Invalid, NotFound, Reject, RetryLater, Skip
    from dataflow.outcomes import Outcome, Status
    from dataflow.plan.pipeline import Job, Pipeline
    from dataflow.policies.breaker import Breaker
    from dataflow.policies.rate import Rate
    from dataflow.policies.retry import Retry
    from dataflow.services.api import API
    from dataflow.services.auth import api_key, basic, bearer, oauth2_client
    from dataflow.services.best_of import best_of
    from dataflow.services.context import Context, Outcomes
    from dataflow.services.for_each import for_each
    from dataflow.services.llm import judge, llm
    from dataflow.services.lookup import lookup
    from dataflow.services.prices import PerMillionTokens, PerRecord
    from dataflow.services.priority import critical, important, optional
    from dataflow.services.registry import ServiceRegistry
    from dataflow.services.service import Service, enrichment, transformation, validation
    from dataflow.services.signature import ALL
    from dataflow.services.waterfall import waterfall
    from dataflow.store.sources import csv, files, jsonl, parquet
    from dataflow.telemetry.logs import JsonFormatter
    from dataflow.wiring.opening import open_dataset as open  # noqa: A004
    from dataflow.wiring.telling import why

_HOMES = {
    "dataflow.errors": (
        "CriticalServiceFailed",
        "DataflowError",
        "Invalid",
        "NotFound",
        "Reject",
        "RetryLater",
        "Skip",
    ),
    "dataflow.outcomes": (
        "Outcome",
        "Status",
    ),
    "dataflow.plan.pipeline": (
        "Job",
        "Pipeline",
    ),
    "dataflow.services.best_of": ("best_of",),
    "dataflow.services.context": (
        "Context",
        "Outcomes",
    ),
    "dataflow.policies.breaker": ("Breaker",),
    "dataflow.policies.rate": ("Rate",),
    "dataflow.policies.retry": ("Retry",),
    "dataflow.services.api": ("API",),
    "dataflow.services.auth": (
        "api_key",
        "basic",
        "bearer",
        "oauth2_client",
    ),
    "dataflow.services.for_each": ("for_each",),
    "dataflow.services.llm": (
        "judge",
        "llm",
    ),
    "dataflow.services.lookup": ("lookup",),
    "dataflow.services.prices": (
        "PerMillionTokens",
        "PerRecord",
    ),
    "dataflow.services.registry": ("ServiceRegistry",),
    "dataflow.services.priority": (
        "critical",
        "important",
        "optional",
    ),
    "dataflow.services.service": (
        "Service",
        "enrichment",
        "transformation",
        "validation",
    ),
    "dataflow.services.signature": ("ALL",),
    "dataflow.services.waterfall": ("waterfall",),
    "dataflow.store.sources": (
        "csv",
        "files",
        "jsonl",
        "parquet",
    ),
    "dataflow.telemetry.logs": ("JsonFormatter",),
    "dataflow.wiring.telling": ("why",),
}
_MODULES = ("errors", "testing")

__all__ = [
    "ALL",
    "API",
    "Breaker",
    "Context",
    "CriticalServiceFailed",
    "DataflowError",
    "Invalid",
    "Job",
    "JsonFormatter",
    "NotFound",
    "Outcome",
    "Outcomes",
    "PerMillionTokens",
    "PerRecord",
    "Pipeline",
    "Rate",
    "Reject",
    "Retry",
    "RetryLater",
    "Service",
    "ServiceRegistry",
    "Skip",
    "Status",
    "api_key",
    "basic",
    "bearer",
    "best_of",
    "critical",
    "csv",
    "enrichment",
    "errors",
    "files",
    "for_each",
    "important",
    "jsonl",
    "judge",
    "llm",
    "lookup",
    "oauth2_client",
    "open",
    "optional",
    "parquet",
    "testing",
    "transformation",
    "validation",
    "waterfall",
    "why",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"dataflow.{name}")
    if name == "open":
        home, original = "dataflow.wiring.opening", "open_dataset"
    else:
        home, original = next((home for home, names in _HOMES.items() if name in names), ""), name
    if not home:
        raise AttributeError(f"module 'dataflow' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), original)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
