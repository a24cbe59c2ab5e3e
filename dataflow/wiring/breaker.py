"""Holds the breaker of an API by hand, for all runs of a cluster."""

from __future__ import annotations

from typing import Literal

from dataflow.engine.cluster import connect
from dataflow.wiring.boards import require_named

State = Literal["open", "closed", "auto"]


def hold_breaker(
    api: str, state: State, *, scheduler: str | None = None, scheduler_file: str | None = None
) -> dict[str, object]:
    """Hold the breaker of an API open or closed, or leave it to itself again.

    Open lets no call start, on any worker, until it is `auto` again; closed lets all calls start, whatever fails.

    Args:
        api: The name of the API.
        state: `open`, `closed` or `auto`.
        scheduler: The address of the cluster's scheduler.
        scheduler_file: The file in which it left its address.

    Returns:
        What the cluster knows about the API then.

    Raises:
        ClusterError: No cluster is named, or it cannot be reached.
    """
    require_named(scheduler, scheduler_file, why="a breaker is held where the calls are")
    from dataflow.engine.control import scheduler as control

    with connect(scheduler=scheduler, scheduler_file=scheduler_file) as cluster:
        control.install(cluster.client)
        control.hold_breaker(cluster.client, api, state=None if state == "auto" else state)
        return dict(control.read_status(cluster.client).get(api, {}))
