"""Groups of services by what their failure means: written side by side, they are listed in a pipeline with `*`."""

from __future__ import annotations

from dataflow.errors import DeclarationError
from dataflow.outcomes import Priority
from dataflow.services.service import Service


def critical(*services: Service) -> tuple[Service, ...]:
    """The services as ones without which a record is incomplete: a run rejects it, `call` raises.

    `Pipeline("leads", [*critical(email, company), *important(news), *optional(images)])`

    Raises:
        DeclarationError: Something is no service.
    """
    return _all(services, Priority.CRITICAL)


def important(*services: Service) -> tuple[Service, ...]:
    """The services as ones whose failure leaves a record degraded, with a warning; see `critical`.

    Raises:
        DeclarationError: Something is no service.
    """
    return _all(services, Priority.IMPORTANT)


def optional(*services: Service) -> tuple[Service, ...]:
    """The services as ones whose failure is counted only; see `critical`.

    Raises:
        DeclarationError: Something is no service.
    """
    return _all(services, Priority.OPTIONAL)


def _all(services: tuple[Service, ...], priority: Priority) -> tuple[Service, ...]:
    for one in services:
        if not isinstance(one, Service):
            raise DeclarationError(
                f"{priority}() takes services, not {type(one).__name__}; a list of them is unpacked: "
                f"{priority}(*services)"
            )
    return tuple(one.with_(priority=priority.value) for one in services)
