"""Watches the counts of a run and says, in words, which of its guardrails they have reached.

Pure: what is allowed is decided in `policies.guardrail`, what a run does about it in `running`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from dataflow.outcomes import Status
from dataflow.plan.graph import Graph, Step
from dataflow.plan.guardrails import Guardrails, too_few_told
from dataflow.policies.guardrail import STREAK, expected, too_few_found
from dataflow.telemetry.statistics import ServiceStatistics, Statistics

_FAILED = (Status.FAILED, Status.TIMED_OUT)
_FOUND = (Status.SUCCEEDED, Status.CACHED)
_ASKED = (*_FOUND, Status.NOT_FOUND, *_FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a run stands, as far as guardrails ask.

    Attributes:
        run: Its id.
        counts: What was counted in what is committed.
        records: Of the whole run, as far as known.
        calls: Of services whose calls in the whole run are known beforehand, by name.
        over: Whether everything is committed.
        ahead: Whether it is about records for which nothing was called yet.
    """

    run: str
    counts: Statistics
    records: int
    calls: Mapping[str, int] = field(default_factory=dict)
    over: bool = False
    ahead: bool = False


def reached(guardrails: Guardrails, graph: Graph, standing: Standing) -> str | None:
    """The first guardrail that a run has reached, with what to try, or None.

    Args:
        guardrails: Those of the job.
        graph: Its services, looked at in listed order.
        standing: Where the run stands.
    """
    services = [(step, standing.counts.services.get(step.service.name)) for step in graph.every]
    there = [(step, part) for step, part in services if part is not None]
    found = [_streak(guardrails, part, step, standing) for step, part in there]
    found += [_failures(guardrails, part, step, standing) for step, part in there]
    found += [_failed_records(guardrails, standing), _most_records(guardrails, standing)]
    found += [_too_few(guardrails, part, step, standing) for step, part in there]
    return next((reason for reason in found if reason is not None), None)


def certain(guardrails: Guardrails, graph: Graph, *, run: str, counts: Statistics, records: int) -> str | None:
    """The guardrail that a run reaches whatever is answered, as far as is known before its calls; or None.

    Args:
        guardrails: Those of the job.
        graph: Its services.
        run: The id of the run.
        counts: What services have counted that wait for no call.
        records: Of the whole run, as far as known.
    """
    over = 0 < records <= counts.total_records
    standing = Standing(run=run, counts=counts, records=records, over=over, ahead=True)
    return reached(replace(guardrails, min_found={}), graph, standing)


def _streak(guardrails: Guardrails, part: ServiceStatistics, step: Step, standing: Standing) -> str | None:
    streak = part.streak if guardrails.heed(step.service) else None
    if streak is None or streak.calls < STREAK or guardrails.max_failures.allows_all(standing.records):
        return None
    return (
        f"`{step.service.name}` raised {streak.error} {streak.calls:,} times in a row, first for {streak.file} "
        f"row {streak.row}, so the fault is probably its own; {_look(standing)}, "
        'or accept them all with max_failures="100%"'
    )


def _failures(guardrails: Guardrails, part: ServiceStatistics, step: Step, standing: Standing) -> str | None:
    if step.service.member_of or not guardrails.heed(step.service):
        # A member that fails has others beside it.
        return None
    calls, records = part.calls_ending(*_FAILED), part.failed + part.timed_out
    limit = guardrails.max_failures.exceeded(calls, whole=_whole(part, step, standing))
    if limit is None:
        return None
    shared = f"{calls:,} distinct inputs, which {records:,} records share" if calls < records else f"{calls:,} records"
    return (
        f"`{step.service.name}` failed for {shared}, more than the {limit:,} that max_failures allows; "
        f"{_look(standing)}, or raise max_failures= and run the same command again to go on"
    )


def _whole(part: ServiceStatistics, step: Step, standing: Standing) -> int:
    """The calls of a service in the whole run, as far as they are known or follow from those so far."""
    asked, known = part.calls_ending(*_ASKED), standing.calls.get(step.service.name)
    if known is not None:
        return max(asked, known)
    # Before the calls, not every service has seen all records that were looked at.
    seen = part.records if standing.ahead else standing.counts.total_records
    return expected(asked, seen=seen, records=standing.records)


def _failed_records(guardrails: Guardrails, standing: Standing) -> str | None:
    failed = standing.counts.failed_records
    limit = guardrails.max_failures.exceeded(failed, whole=standing.records)
    if limit is None:
        return None
    return (
        f"{failed:,} records were rejected since a service failed or they could not be read, more than the {limit:,} "
        f"that max_failures allows; {_look(standing)}, or raise max_failures= and run the same command again to go on"
    )


def _most_records(guardrails: Guardrails, standing: Standing) -> str | None:
    failed, records = standing.counts.failed_records, standing.counts.total_records
    if not standing.over or not guardrails.max_failures.too_many_to_publish(failed, records=records):
        return None
    by_hand = "" if standing.ahead else f", or publish what there is with `dataflow publish {standing.run}`"
    return (
        f"{failed:,} of {records:,} records were rejected since a service failed or they could not be read, more than "
        f"half, so nothing is published; {_look(standing)}{by_hand}"
    )


def _look(standing: Standing) -> str:
    """How to see what failed, and to do it again: what is committed is not, unless the plan has changed."""
    if standing.ahead:
        return "this was seen before anything was called for these records; mend what fails and run again"
    return (
        f"`dataflow failures {standing.run}` lists them; mend what fails and run again "
        "(with --no-resume where the job itself has not changed)"
    )


def _too_few(guardrails: Guardrails, part: ServiceStatistics, step: Step, standing: Standing) -> str | None:
    share = guardrails.min_found.get(step.service.name)
    found = part.calls_ending(*_FOUND)
    asked = found + part.calls_ending(Status.NOT_FOUND)
    if share is None or not too_few_found(found, asked=asked, share=share, over=standing.over):
        return None
    return too_few_told(step, found=found, asked=asked, share=share)
