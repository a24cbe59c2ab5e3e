"""Which provider of OpenTelemetry this process has: that of its program, or one that its environment asks for.

Nothing of OpenTelemetry is imported unless one of both is there.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""The variables by which an environment asks for traces."""
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")

DELAY = 1000.0
"""Milliseconds after which spans are sent: a worker that is killed loses those of one second."""
FLUSH = 5.0
"""Seconds that the end of a run waits for spans to be sent; a collector that is down must not hold it up."""

logger = logging.getLogger("dataflow.tracing")


def is_asked_for(environment: Mapping[str, str]) -> bool:
    """Whether these variables ask for traces over OTLP."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if "otlp" not in environment.get("OTEL_TRACES_EXPORTER", "otlp"):
        return False
    return any(environment.get(name) for name in ENDPOINTS)


def find_provider() -> TracerProvider | None:
    """The provider that traces go to, or None where nobody wants any."""
    if "opentelemetry.trace" in sys.modules and (found := _of_program()) is not None:
        return found
    return _own() if any(name in os.environ for name in ENDPOINTS) and is_asked_for(os.environ) else None


def start_exporting() -> None:
    """Give a process of dataflow's own the provider that its environment asks for, for its services too."""
    if "opentelemetry.trace" in sys.modules and _of_program() is not None:
        return
    if is_asked_for(os.environ) and (made := _own()) is not None:
        from opentelemetry import trace

        trace.set_tracer_provider(made)


def flush() -> None:
    """Send what spans there are, for some seconds at most; those of the program's own provider are its own business."""
    if _own.cache_info().currsize and (provider := _own()) is not None:
        sending = threading.Thread(target=provider.force_flush, name="dataflow-flush", daemon=True)
        sending.start()
        sending.join(FLUSH)
        if sending.is_alive():
            # The end of the process would wait once more.
            atexit.unregister(provider.shutdown)


@contextmanager
def flushed() -> Iterator[None]:
    """Send what spans there are when what is done here has ended, however it has."""
    try:
        yield
    finally:
        flush()


def _of_program() -> TracerProvider | None:
    """The provider that the program has set, or None."""
    from opentelemetry import trace

    provider = trace.get_tracer_provider()
    return None if isinstance(provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider) else provider


@cache
def _own() -> Any:
    """The provider of this process that its environment asks for; None where its libraries are missing."""
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        exporter = _exporter(os.environ)
    except ImportError:
        exporter = None
    if exporter is None:
        logger.warning("the environment asks for traces, but OpenTelemetry is not there; install dataflow[otel]")
        return None
    resource = Resource.create()
    if str(resource.attributes.get("service.name", "unknown_service")).startswith("unknown_service"):
        resource = resource.merge(Resource({"service.name": "dataflow"}))
    provider = TracerProvider(resource=resource)
    delay = None if "OTEL_BSP_SCHEDULE_DELAY" in os.environ else DELAY
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=delay))
    return provider


def _exporter(environment: Mapping[str, str]) -> Any:
    """What sends spans by the protocol that is asked for; None where it is not installed."""
    from importlib.metadata import entry_points

    protocol = next((environment[name] for name in _PROTOCOLS if environment.get(name)), "http/protobuf")
    name = "otlp_proto_grpc" if protocol == "grpc" else "otlp_proto_http"
    found = next(iter(entry_points(group="opentelemetry_traces_exporter", name=name)), None)
    return None if found is None else found.load()()
