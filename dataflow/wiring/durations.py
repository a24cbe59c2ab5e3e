"""How long the calls of candidates have taken before, for whoever chooses between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any

from dataflow.errors import DataflowError
from dataflow.plan.pipeline import Pipeline
from dataflow.services.best_of import BestOf
from dataflow.store.catalog import Catalog

LOOKED_BACK = 20
"""Versions that are asked for what calls cost and take."""
PLANNED = "durations"
"""The name under which a plan keeps what it was made with, so that a run that goes on chooses the same."""


def durations_of(
    pipeline: Pipeline,
    catalog: Catalog,
    *,
    output: str | None = None,
    before: Callable[[], Mapping[str, Any] | None] = lambda: None,
) -> dict[str, float]:
    """The median seconds of a call by name of a service, of those that a pipeline chooses between by their speed.

    Args:
        pipeline: The pipeline; one that does not choose by speed needs none.
        catalog: Whose newest versions tell.
        output: The dataset that tells first.
        before: Reads the plan of a run that goes on, if there is one; what it was made with holds.
    """
    names = _names(pipeline)
    if not names:
        return {}
    if (plan := before()) is not None:
        return dict(plan.get(PLANNED, {}))
    found: dict[str, float] = {}
    with suppress(DataflowError):
        others = sorted(catalog.datasets(), key=lambda info: info.created, reverse=True)
        first = [output] if output is not None and catalog.has(output) else []
        for name in dict.fromkeys([*first, *(one.name for one in others)]):
            with suppress(DataflowError):
                for _, report in islice(catalog.reports(name), LOOKED_BACK):
                    found = {**_told(report["services"], names), **found}
                    if found.keys() >= names:
                        return found
    return found


def _names(pipeline: Pipeline) -> set[str]:
    choosing = [(one.name, one.composite) for one in pipeline.every if isinstance(one.composite, BestOf)]
    by_speed = [(name, one) for name, one in choosing if isinstance(one, BestOf) and one.wanted.speed is not None]
    candidates = [(name, service.name) for name, one in by_speed for service in one.services]
    return {name for _, name in candidates} | {f"{whole}.{name}" for whole, name in candidates}


def _told(services: Mapping[str, Any], names: set[str]) -> dict[str, float]:
    medians = {name: services[name].get("duration", {}).get("p50") for name in names if name in services}
    return {name: seconds for name, seconds in medians.items() if seconds is not None}
