"""What calls were made for a partition that was given back: they reached the provider, whatever became of the records.

The records themselves are counted when their partition is committed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dataflow.telemetry.durations import Durations
from dataflow.telemetry.services import ServiceStatistics, Waited
from dataflow.telemetry.statistics import Statistics
from dataflow.telemetry.tokens import NO_TOKENS, Tokens

if TYPE_CHECKING:
    from dataflow.engine.calling import Answers
    from dataflow.services.service import Service


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """The calls of one service for one partition.

    Attributes:
        calls: Requests that were made.
        retries: Those among them that repeated one.
        cost: Money that they cost.
        tokens: That models used for them.
        seconds: Of each call.
        waited: Seconds of waiting by reason.
    """

    calls: int
    retries: int
    seconds: list[float]
    waited: dict[str, float]
    cost: float = 0.0
    tokens: Tokens = NO_TOKENS


def spent_on(answers: Answers) -> Spent:
    """What was spent until now on answers that may not be whole."""
    return Spent(
        calls=sum(answers.attempts.values()) if answers.calls is None else answers.calls,
        retries=answers.retries,
        seconds=[*(answers.seconds or answers.durations.values())],
        waited=dict(answers.waited),
        cost=answers.cost,
        tokens=answers.tokens,
    )


def currency_of(services: Iterable[Service]) -> str:
    """The currency of those that have a price, empty where none has."""
    return next((one.policy.price.currency for one in services if one.policy.price is not None), "")


def count_spent(services: Iterable[tuple[Service, Spent]]) -> Statistics:
    """The counts of calls without records."""
    listed = list(services)
    return Statistics(
        cost=math.fsum(spent.cost for _, spent in listed),
        currency=currency_of(service for service, _ in listed),
        services={
            service.name: ServiceStatistics(
                kind=service.kind,
                priority=service.policy.priority,
                api="" if service.api is None else service.api.name,
                calls=spent.calls,
                retries=spent.retries,
                cost=spent.cost,
                tokens=spent.tokens,
                duration=Durations.of(spent.seconds) if spent.calls else Durations(),
                waited=Waited(**spent.waited),
            )
            for service, spent in listed
        },
    )
