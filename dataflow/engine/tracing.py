"""Spans of OpenTelemetry for runs, partitions, services and executions; and the place of the work, for logs.

Where nobody wants traces, only the place is noted. A span holds names and counts: no secret, no value of a record and
no text of an error, which may quote one. Calls are sampled in `http.sampling`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dataflow.engine import exporting
from dataflow.telemetry.place import current_place, placed
from dataflow.telemetry.services import STATUSES

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

    from dataflow.engine.marks import Effect
    from dataflow.engine.result import Completion
    from dataflow.plan.graph import Step


class _Found:
    """The tracer that was found last; looked for where a run, a partition or an execution begins."""

    def __init__(self) -> None:
        self.provider: Any = None
        self.tracer: Tracer | None = None

    def look(self) -> Tracer | None:
        """The tracer of this process, or None."""
        provider = exporting.find_provider()
        if provider is not self.provider:
            self.provider = provider
            self.tracer = None if provider is None else provider.get_tracer("dataflow")
        return self.tracer


_found = _Found()


@contextmanager
def beginning(name: str, *, parent: Mapping[str, str] | None = None, **place: str | int) -> Iterator[Span | None]:
    """Do a piece of work that may be the first of this process.

    Args:
        name: Of its span, such as `dataflow.partition`.
        parent: What `carried` gave in the process that asked for it; None for what is under way here.
        **place: Where it is; see `placed`.

    Yields:
        The span, or None where nothing is recorded.
    """
    tracer = _found.look()
    with placed(**place), _spanning(tracer, name, parent) as span:
        yield span


@contextmanager
def serving(step: Step) -> Iterator[Span | None]:
    """Let one service do its work; gives its span, or None where nothing is recorded."""
    with placed(service=step.service.name):
        if _found.tracer is None:
            yield None
            return
        with _spanning(_found.tracer, "dataflow.service", None) as span:
            yield span


@contextmanager
def _spanning(tracer: Tracer | None, name: str, parent: Mapping[str, str] | None) -> Iterator[Span | None]:
    if tracer is None:
        yield None
        return
    with tracer.start_as_current_span(
        name,
        context=_extracted(parent) if parent else None,
        attributes=place_attributes(),
        # Their text may quote a record.
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        try:
            yield span if span.is_recording() else None
        except BaseException as error:
            fail(span, type(error).__name__)
            raise


def place_attributes() -> dict[str, str | int]:
    """Where the work is, as attributes of a span."""
    return {f"dataflow.{name}": value for name, value in current_place().items()}


def fail(span: Span, kind: str) -> None:
    """Say that what a span is about has failed, and with which kind of error."""
    from opentelemetry.trace import StatusCode

    span.set_attribute("error.type", kind)
    span.set_status(StatusCode.ERROR)


def carried() -> dict[str, str]:
    """The span under way as headers of W3C Trace Context, for another process; empty where there is none."""
    if _found.tracer is None:
        return {}
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    headers: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(headers)
    return headers


def _extracted(headers: Mapping[str, str]) -> Any:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract(headers)


def recording_tracer() -> Tracer | None:
    """The tracer, where the span under way is recorded."""
    if _found.tracer is None:
        return None
    from opentelemetry import trace

    return _found.tracer if trace.get_current_span().is_recording() else None


def told_effect(span: Span | None, effect: Effect, *, step: Step, size: int) -> Effect:
    """The effect of a service, whose counts its span then has."""
    if span is not None:
        from dataflow.engine.fate import count_service

        counts = count_service(step, effect, size=size, streak=None)
        known = {f"dataflow.outcomes.{status}": getattr(counts, status) for status in STATUSES}
        attributes = {"dataflow.records": size, "dataflow.calls": counts.calls, **known}
        span.set_attributes({name: value for name, value in attributes.items() if value or name == "dataflow.records"})
    return effect


def told_completion(span: Span | None, done: Completion) -> Completion:
    """What a partition gives, whose counts its span then has."""
    if span is not None:
        counts = {"dataflow.records": done.statistics.total_records, "dataflow.rejected": done.rejected}
        # Why it was given back may quote what a provider said.
        span.set_attributes(counts if done.stopped is None else {"dataflow.given_back": True})
    return done
