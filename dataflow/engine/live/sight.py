"""What a driver sees of its run beside the partitions that come back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What is there to see at some moment.

    Attributes:
        apis: What `control.plane.Plane.status` gives, by API.
        under_way: What each process has under way: `partitions`, and `services` with the counts of their calls.
        workers: Address, threads, memory and leases of each worker of a cluster.
        cancelled: Whether somebody wants the run stopped.
    """

    apis: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    under_way: Sequence[Mapping[str, Any]] = ()
    workers: Sequence[Mapping[str, Any]] = ()
    cancelled: bool = False
