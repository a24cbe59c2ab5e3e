"""Joins the notes about effects to the calls of a service: what they answer is not called, what is called is noted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from dataflow.engine.http.calls import Calling, Shared
from dataflow.engine.http.effects import Effects
from dataflow.engine.http.memory import Memory
from dataflow.engine.http.settings import Execution
from dataflow.services.signature import Form

if TYPE_CHECKING:
    from dataflow.plan.graph import Step


@contextmanager
def tracking(step: Step, calling: Calling, *, shared: Shared, on: Execution) -> Iterator[Calling]:
    """How a service is called for some records: as given, or with notes where its calls may be made only once.

    Raises:
        StoreError: The notes cannot be read, or be left tidy.
    """
    service = step.service
    if service.repeatable or on.effects is None:
        yield calling
        return
    log = on.effects.log(service.name)
    effects = Effects(log, api=service.api.name, keys=shared.keys, places=on.places).begin()
    assert service.returns is not None
    memory = Memory(effects, service=service.name, returns=service.returns, from_json=service.form is Form.HTTP)
    yield replace(calling, memory=memory, effects=effects)
    effects.close()
