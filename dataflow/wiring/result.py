"""What comes back for one record: its data, and what happened in its execution. Nothing is called here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from dataflow.engine.environment import Environment, outcomes_of
from dataflow.engine.fate import cost_of
from dataflow.engine.marks import Effect
from dataflow.engine.rejected import reasons
from dataflow.errors import CriticalServiceFailed
from dataflow.outcomes import Outcome, Priority, Status
from dataflow.plan.graph import Step
from dataflow.policies.money import cleaned
from dataflow.services.signature import Form

_UNCALLED = (Status.SKIPPED, Status.NOT_ATTEMPTED)
_FAILED = (Status.FAILED, Status.TIMED_OUT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What happened in one execution.

    Services that composite services are made of are not counted; `members` tells what became of them.

    Attributes:
        execution_id: Names the execution in logs and in `flow.Context.run`.
        total_duration: Seconds.
        services_executed: Services that were called, or answered from the cache.
        success_count: Those among them that succeeded or found nothing.
        failure_count: Those that failed or timed out.
        failures: Their outcomes.
        completeness: Found over applicable enrichments; without enrichments, succeeded over all services.
        cost: Money.
        rejected: Why a run would reject this record, or None.
        cached_count: Services that were not called, since the answer was known.
        not_attempted: The outcomes of those that were not called, though no answer was known.
        parent_id: The execution or run whose service has asked for this one, or None.
        degraded: Whether an important service failed.
        warnings: A sentence for each important service that failed.
        members: The outcomes of the services within composite services that were called; within a `for_each` one
            for each item that failed, or one for all.
    """

    execution_id: str
    total_duration: float
    services_executed: int
    success_count: int
    failure_count: int
    failures: tuple[Outcome, ...]
    completeness: float | None
    cost: float
    rejected: str | None
    cached_count: int = 0
    not_attempted: tuple[Outcome, ...] = ()
    parent_id: str | None = None
    degraded: bool = False
    warnings: tuple[str, ...] = ()
    members: tuple[Outcome, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One record after the pipeline.

    Attributes:
        data: Column to value, as the output of a run would hold it.
        metadata: What happened.
    """

    data: dict[str, Any]
    metadata: Metadata

    def _repr_html_(self) -> str:
        from dataflow.faces.render import result_html

        return result_html(self)


def check_critical(environment: Environment) -> None:
    """Refuse a record that lacks a critical service.

    Raises:
        CriticalServiceFailed: It names each of them.
    """
    failed = [
        (step.service.name, failure)
        for step in environment.graph.steps
        for failure in environment.effects[step.index].failures
        if step.service.policy.priority is Priority.CRITICAL
    ]
    if failed:
        names = tuple(name for name, _ in failed)
        detail = "; ".join(f"`{name}`: {failure.reason}" for name, failure in failed)
        error = CriticalServiceFailed(
            f"critical services failed: {detail}; give them default= or priority= if the record can do without", names
        )
        error.said = "; ".join(f"`{name}`: {failure.error}" for name, failure in failed)
        raise error


def metadata_of(
    environment: Environment, output: Mapping[str, Any], *, execution: str, parent: str, duration: float
) -> Metadata:
    """What happened to the single record of an environment.

    Args:
        environment: The record after its services.
        output: Its columns, with those that the run itself adds.
        execution: The id of the execution.
        parent: The id of the one that it is part of, or empty.
        duration: Seconds.
    """
    counted = [(step, effect) for step, effect in _listed(environment) if not step.service.member_of]
    found = [_outcome(step, effect) for step, effect in counted if effect.failures or effect.marks]
    uncalled = [one for one in found if one.status in _UNCALLED]
    failures = tuple(one for one in found if one.status in _FAILED)
    executed = len(counted) - len(uncalled)
    share = (executed - len(failures)) / len(counted)
    rejected = reasons(environment).get(0)
    return Metadata(
        execution_id=execution,
        total_duration=duration,
        services_executed=executed,
        success_count=executed - len(failures),
        failure_count=len(failures),
        failures=failures,
        completeness=output.get("completeness") if "completeness" in environment.graph.output.names else share,
        cost=cleaned(cost_of(environment)),
        rejected=None if rejected is None else f"{rejected.service}: {rejected.error}",
        cached_count=sum(one.status is Status.CACHED for one in found),
        not_attempted=tuple(one for one in uncalled if one.status is Status.NOT_ATTEMPTED),
        parent_id=parent or None,
        degraded=bool(output.get("degraded", False)),
        warnings=tuple(_warnings(environment)),
        members=tuple(_members(environment)),
    )


def _listed(environment: Environment) -> list[tuple[Step, Effect]]:
    return [(step, environment.effects[step.index]) for step in environment.graph.steps]


def _outcome(step: Step, effect: Effect) -> Outcome:
    """What the step did for the only record."""
    for _, outcome in outcomes_of(step, effect):
        timed = outcome.status in _FAILED and not outcome.duration
        return replace(outcome, duration=effect.seconds) if timed else outcome
    return Outcome(service=step.service.name, status=Status.SUCCEEDED, duration=effect.seconds, cost=effect.cost)


def _warnings(environment: Environment) -> Iterator[str]:
    for step, effect in _listed(environment):
        if not effect.failures and not effect.members:
            continue
        failures = [(step.service, failure) for failure in effect.failures]
        failures += [(member.service, failure) for member in effect.members for failure in member.failures]
        told: set[str] = set()
        for service, failure in failures:
            if service.policy.priority is Priority.IMPORTANT and service.name not in told:
                told.add(service.name)
                ending = failure.status.value.replace("_", " ")
                yield f"`{service.name}` is important and {ending} ({failure.reason}), so the record is degraded"


def _members(environment: Environment) -> Iterator[Outcome]:
    for step, effect in _listed(environment):
        if step.service.member_of and step.service.form is not Form.COMPOSITE:
            outcome = _outcome(step, effect)
            if outcome.status not in _UNCALLED:
                yield outcome
        for member in effect.members:
            name, counts = member.service.name, member.statistics
            for one in member.failures:
                yield Outcome(
                    service=name,
                    status=one.status,
                    reason=one.reason,
                    error=one.error,
                    attempts=one.attempts,
                    duration=one.duration,
                    cost=one.cost,
                )
            if not member.failures and counts.succeeded + counts.cached + counts.not_found:
                yield Outcome(service=name, status=Status.SUCCEEDED, attempts=counts.calls, cost=counts.cost)
