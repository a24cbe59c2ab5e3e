"""Joins the notes about effects to the calls of a service: what they answer is not called, what is called is noted."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from dataflow.engine.http.calls import Calling
from dataflow.engine.http.effects import Effects
from dataflow.engine.http.memory import Memory
from dataflow.engine.http.settings import Execution
from dataflow.engine.http.sharing import Shared
from dataflow.engine.naming import call_names
from dataflow.policies.rate import Rate

if TYPE_CHECKING:
    from dataflow.plan.graph import Step


AHEAD = 0.25
"""Seconds of calls that may be noted before their turn has come, which a kill leaves in doubt; a note takes less."""

_UNPACED = 16


def permits(rates: Sequence[Rate]) -> int | None:
    """How many calls may be noted ahead of their turn; None without a rate, where a note may delay them behind it."""
    paced = [rate.count / rate.period for rate in rates if rate.paced and rate.unit == "calls"]
    if not rates:
        return None
    return max(1, math.ceil(min(paced) * AHEAD)) if paced else _UNPACED


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
    ahead = permits(service.api.rates)
    calls = call_names(step, shared.inputs, records=on.records)
    effects = Effects(
        log,
        service=service.name,
        api=service.api.name,
        keys=shared.keys,
        calls=calls,
        ahead=ahead,
        texts=calling.texts,
    ).begin()
    assert service.returns is not None
    memory = Memory(effects, service=service.name, returns=service.returns, from_json=service.endpoint is not None)
    yield replace(calling, memory=memory, effects=effects)
    effects.close()
