"""Which calls of a service get a span of their own, and what it says of them.

A call is looked at when it has ended, since only then is it known to have failed; those without a span cost nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dataflow.engine.http.attempts import Call, CallError
from dataflow.engine.tracing import fail, place_attributes, recording_tracer
from dataflow.errors import Verdict

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

    from dataflow.services.service import Service

FIRST = 5
"""Calls of a service and partition that get a span whatever becomes of them: enough to see what a call takes.

The counts and durations of all of them are in the statistics; millions of spans would tell no more and cost a fortune.
"""
MOST = 20
"""Spans of calls for a service and partition in all; those after the first ones are for calls that fail."""


class CallSample:
    """The spans of the calls of one service for one partition; used on one event loop.

    Args:
        tracer: Makes them.
        service: The service, of an API.
        wall: Nanoseconds since 1970.
    """

    def __init__(self, tracer: Tracer, service: Service, *, wall: Callable[[], int] = time.time_ns) -> None:
        self._tracer = tracer
        self._address = address_of(service)
        self._wall = wall
        self._began: dict[int, int] = {}
        self._seen = self._told = 0

    def begin(self, call: Call) -> Call:
        """Note that a call begins."""
        self._began[id(call)] = self._wall()
        return call

    def end(self, call: Call, error: BaseException | None, *, records: int = 1) -> None:
        """Make a span of a call that has ended, if it is one of those that get one."""
        began, self._seen = self._began.pop(id(call)), self._seen + 1
        failed = error is not None and not isinstance(error, Verdict)
        if self._told >= MOST or not (failed or (call.attempts and self._seen <= FIRST)):
            return
        self._told += 1
        from opentelemetry.trace import SpanKind

        attributes = {**place_attributes(), **self._address, **_ending(call), "dataflow.records": records}
        span = self._tracer.start_span("dataflow.call", kind=SpanKind.CLIENT, attributes=attributes, start_time=began)
        if error is not None and failed:
            fail(span, kind_of(error))
        span.end(end_time=self._wall())


def sample_calls(service: Service) -> CallSample | None:
    """The sample for some calls that begin now; None where the work is not traced."""
    tracer = recording_tracer()
    return None if tracer is None else CallSample(tracer, service)


def kind_of(error: BaseException) -> str:
    """What an error is called in a span: the status of the answer, a class of reason, or the class of the exception."""
    if not isinstance(error, CallError):
        return type(error).__name__
    return str(error.status) if error.status is not None and error.reason == f"HTTP {error.status}" else error.reason


def address_of(service: Service) -> dict[str, Any]:
    """Where the calls of a service go, as its author wrote it: without a query, or a host that a record names."""
    endpoint = service.endpoint
    url = service.api.url if endpoint is None else getattr(endpoint.url, "source", endpoint.url)
    parts = urlsplit(url)
    found: dict[str, Any] = {}
    if "{" not in parts.netloc:
        found = {"server.address": parts.hostname or "", "server.port": parts.port or _PORTS[parts.scheme]}
    if endpoint is None:
        return found
    return {**found, "http.request.method": getattr(endpoint, "method", "POST"), "url.template": parts.path}


_PORTS = {"http": 80, "https": 443}


def _ending(call: Call) -> dict[str, Any]:
    found: dict[str, Any] = {"dataflow.attempts": call.attempts}
    if call.status is not None:
        found["http.response.status_code"] = call.status
    if waited := sum(call.waited.values()):
        found["dataflow.waited"] = round(waited, 3)
    return found
