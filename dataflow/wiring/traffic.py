"""What the calls of a run are doing while it goes on, read off the status of the control plane. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from dataflow.outcomes import Traffic
from dataflow.policies.breaker import shown_state


def traffic_of(status: Mapping[str, Mapping[str, Any]], *, apis: Collection[str]) -> tuple[Traffic, ...]:
    """The traffic of these APIs as far as there is any, by name; `status` is that of the control plane."""
    found = (_traffic(api, one) for api, one in sorted(status.items()) if api in apis)
    return tuple(one for one in found if one.in_flight or one.waiting or one.pause or one.breaker != "closed")


def _traffic(api: str, status: Mapping[str, Any]) -> Traffic:
    breaker = status["breaker"]
    return Traffic(
        api=api,
        rate=status["rate"],
        allowed=status["allowed"],
        in_flight=status["in_flight"],
        concurrency=status["concurrency"],
        waiting=dict(status["waiting_for"]),
        breaker=shown_state(breaker["state"], breaker["held"]),
        rest=breaker["rest"],
        trouble=breaker["trouble"],
        pause=status["pause"],
    )
