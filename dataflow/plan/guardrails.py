"""The guardrails of a job as values: what its author wrote, checked against its pipeline.

Whether one is reached is the business of `policies`; nothing is counted here.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dataflow.errors import DeclarationError
from dataflow.outcomes import Kind, Priority
from dataflow.plan.graph import Step
from dataflow.policies.guardrail import SHARE, MaxFailures
from dataflow.services.service import Service
from dataflow.services.units import share, share_or_count

USUAL = f"{SHARE:.0%}"
"""The share of failures that a run survives where a job names none, as its author would write it."""

MinFound = float | str | Mapping[str, float | str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Guardrails:
    """What ends a run before its time, apart from its deadline.

    Attributes:
        max_failures: How many failures a run survives.
        min_found: The least share that a service is to find something for, by its name.
    """

    max_failures: MaxFailures = field(default_factory=MaxFailures)
    min_found: Mapping[str, float] = field(default_factory=dict)

    def heed(self, service: Service) -> bool:
        """Whether the failures of a service can end a run: those of an optional one only where the author says so."""
        return self.max_failures.given or service.policy.priority is not Priority.OPTIONAL


def read_guardrails(
    services: Sequence[Service], *, max_failures: float | str | None, min_found: MinFound | None
) -> Guardrails:
    """The guardrails that a job names.

    Args:
        services: Those of its pipeline.
        max_failures: A share or a count; None for what holds where nothing is said.
        min_found: A share for every enrichment that calls an API, or shares by name; None for no such guardrail.

    Raises:
        DeclarationError: It is no share, or names what is no enrichment of the pipeline.
    """
    return Guardrails(
        max_failures=_max_failures(max_failures),
        min_found={} if min_found is None else _min_found(services, min_found),
    )


def too_few_told(step: Step, *, found: int, asked: int, share: float) -> str:
    """What is said of a service that finds less than the share of `min_found`, with the likely question."""
    service = step.service
    columns = " and ".join(f"`{column.name}`" for column in step.inputs)
    whom = "it" if service.api is None else f"the API {service.api.name}"
    question = f"is {columns}, which it reads, what {whom} expects?" if columns else "is it asked for the right thing?"
    return (
        f"`{service.name}` found something for {found:,} of {asked:,} asked ({found / asked:.1%}), less than the "
        f"{share * 100:.4g}% of min_found; {question} Mend it and run again, or lower min_found= and run the same "
        "command again to go on"
    )


def _max_failures(given: float | str | None) -> MaxFailures:
    if given is None:
        return MaxFailures()
    share, count = share_or_count(given, where="max_failures")
    return MaxFailures(share=share, count=count, given=True)


def _min_found(services: Sequence[Service], given: MinFound) -> dict[str, float]:
    enrichments = [one for one in services if one.kind is Kind.ENRICHMENT]
    if isinstance(given, Mapping):
        for name in given:
            _check_name(name, services, enrichments)
        return {name: share(value, where=f"min_found of `{name}`") for name, value in given.items()}
    least = share(given, where="min_found")
    asking = [one.name for one in enrichments if one.api is not None and not one.member_of]
    if not asking:
        raise DeclarationError(
            "min_found watches the enrichments that call an API, and this pipeline has none; "
            'name what you mean: min_found={"service": "20%"}'
        )
    return dict.fromkeys(asking, least)


def _check_name(name: str, services: Sequence[Service], enrichments: Sequence[Service]) -> None:
    if name in (one.name for one in enrichments):
        return
    kinds = {one.name: one.kind.value for one in services}
    if name in kinds:
        raise DeclarationError(f"min_found names `{name}`, a {kinds[name]}; only enrichments find something or nothing")
    near = difflib.get_close_matches(str(name), [one.name for one in enrichments], n=1)
    listed = ", ".join(f"`{one.name}`" for one in enrichments)
    there = f"its enrichments are {listed}" if listed else "it has no enrichment"
    hint = f"did you mean `{near[0]}`?" if near else there
    raise DeclarationError(f"min_found names `{name}`, which is no service of the pipeline; {hint}")
