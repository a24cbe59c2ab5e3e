"""Composition: a list of services with its composites taken apart into what is bound. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dataflow.services.service import Service
from dataflow.services.signature import Form


def expand(services: Iterable[Service], *, durations: Mapping[str, float] | None = None) -> tuple[Service, ...]:
    """The services with each flat composite as its members, what decides between them, and what fills its columns.

    Args:
        services: In reading order.
        durations: Average seconds of a call by name of a service, as far as they are known.
    """
    return tuple(one for service in services for one in _parts(service, durations or {}))


def _parts(service: Service, durations: Mapping[str, float]) -> tuple[Service, ...]:
    if service.composite is None or service.form is Form.EACH:
        return (service,)
    found: tuple[Service, ...] = service.composite.expand(service, durations)  # type: ignore[attr-defined]
    return tuple(part for one in found for part in _parts(one, durations))
