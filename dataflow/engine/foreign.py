"""Cluster objects of other libraries: what they have in common, asked for a client, for a size, and to close.

Known by their surface alone, which dask-jobqueue, dask-gateway, dask-kubernetes, Coiled and distributed share: an
address or `get_client`, `scale`, `adapt` and `close`. No such library is imported here, and nothing here knows how
a cluster was named.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dataflow.engine.cluster import Cluster, current_client, fitted, open_client, refuse_own_loop, usable
from dataflow.engine.submission import lost_errors
from dataflow.errors import ClusterError, DataflowError, DeclarationError

if TYPE_CHECKING:
    from distributed import Client

    from dataflow.engine.arrival import Arrival

SETTLING = 5.0
"""Seconds for workers that are too many to go; those of this machine need less than one."""


def is_cluster(value: object) -> bool:
    """Whether a value can be used as a cluster: it has a client or the address of a scheduler, or is a client."""
    known = any(hasattr(value, name) for name in ("get_client", "scheduler_address"))
    return is_client(value) or (known and not isinstance(value, type))


def is_client(value: object) -> bool:
    """Whether a value is a client rather than a cluster."""
    from distributed import Client

    return isinstance(value, Client)


def join(
    cluster: Any,
    *,
    ours: bool,
    warn: Callable[[str], None],
    workers: int | None = None,
    adapt: tuple[int, int] | None = None,
    arrival: Arrival | None = None,
) -> Cluster:
    """A cluster behind an object, with the size that is asked for.

    Args:
        cluster: The object, or a client.
        ours: Whether it was made for this run; then it is closed at the end, as is a client's cluster.
        warn: Is told where it could not be closed.
        workers: Scale to so many; None leaves its size as it is.
        adapt: Let it have as many as there is work for, from the first number to the second.
        arrival: How to wait for the first worker; None for not at all.

    Raises:
        DeclarationError: It cannot be scaled, or lives on the event loop that would wait for it.
        ClusterError: It gives no client, does not answer, or has other versions.
        Interrupted: The run was stopped while it waited for a worker.
    """
    client = cluster if is_client(cluster) else None
    sized = cluster if client is None else client.cluster
    _check_asynchronous(cluster, sized, ours=ours)
    with ExitStack() as stack:
        if ours:
            for one in (sized, client):
                if one is not None:
                    stack.callback(_close, one, warn=warn)
        found = _client_of(cluster, stack) if client is None else usable(client, stack)
        if workers is not None:
            _ask(sized, "scale", workers)
            _settle(found, workers)
        if adapt is not None:
            _ask(sized, "adapt", minimum=adapt[0], maximum=adapt[1])
        if arrival is not None and workers is None and adapt is None:
            arrival = replace(arrival, hint=f"--workers or --adapt asks for some; {arrival.hint}")
        return fitted(found, stack=stack.pop_all(), arrival=arrival, name=type(sized or client).__name__)


def _check_asynchronous(cluster: Any, sized: Any, *, ours: bool) -> None:
    name = type(cluster).__name__
    if not any(_is_asynchronous(one) for one in (cluster, sized)):
        return
    if ours:
        # Where it was made there is no event loop that runs.
        raise DeclarationError(f"{name} is asynchronous; make it with asynchronous=False")
    if cluster is sized:
        if not getattr(cluster, "scheduler_address", None):
            raise ClusterError(f"{name} has not been started; await it first")
        refuse_own_loop(cluster)


def _is_asynchronous(one: Any) -> bool:
    return bool(getattr(one, "asynchronous", False))


def _client_of(cluster: Any, stack: ExitStack) -> Client:
    """A client of a cluster object; closed with the stack unless it was there before."""
    name = type(cluster).__name__
    failures: tuple[type[BaseException], ...] = (Exception, *lost_errors())
    try:
        if _is_asynchronous(cluster):
            return open_client(cluster.scheduler_address, stack, security=getattr(cluster, "security", None))
        before = current_client()
        client = _connected(cluster)
        if client is not before:
            stack.callback(client.close)
        return usable(client, stack)
    except DataflowError:
        raise
    except failures as error:
        raise ClusterError(f"{name} gives no client: {_told(error)}; is it running?") from error


def _connected(cluster: Any) -> Client:
    """Ask a class that has its own way to a client for one: it knows its security."""
    from distributed import Client
    from distributed.deploy.cluster import Cluster as Common

    own = getattr(type(cluster), "get_client", Common.get_client)
    # The common way makes the client everybody's default.
    return Client(cluster, set_as_default=False) if own is Common.get_client else cluster.get_client()


def _ask(cluster: Any, method: str, *arguments: Any, **named: Any) -> None:
    """Call `scale` or `adapt`, on its own event loop where the cluster is asynchronous."""
    name = type(cluster).__name__
    do = getattr(cluster, method, None)
    if not callable(do):
        option = "--workers (workers=)" if method == "scale" else "--adapt (adapt=)"
        what = "a client without a cluster object" if cluster is None else f"{name}, which has no {method}()"
        raise DeclarationError(f"{option} asks for the size of {what}; leave it out, or give a cluster object")
    try:
        if _is_asynchronous(cluster):
            asked = _awaited(do, *arguments, **named)
            asyncio.run_coroutine_threadsafe(asked, cluster.loop.asyncio_loop).result()
        else:
            do(*arguments, **named)
    except Exception as error:
        said = ", ".join([*map(str, arguments), *(f"{key}={value}" for key, value in named.items())])
        raise ClusterError(f"{name}.{method}({said}) has failed: {_told(error)}") from error


def _settle(client: Client, workers: int) -> None:
    """Wait a little until workers that are too many have gone, so that nobody asks them anything."""
    end = time.monotonic() + SETTLING
    while len(client.nthreads()) > workers and time.monotonic() < end:
        time.sleep(0.05)


async def _awaited(do: Callable[..., Any], *arguments: Any, **named: Any) -> None:
    answer = do(*arguments, **named)
    if inspect.isawaitable(answer):
        await answer


def _close(one: Any, *, warn: Callable[[str], None]) -> None:
    """Close what was made for a run; what is done is done, so that a failure is only told."""
    close = getattr(one, "close", None)
    if close is None:
        return
    try:
        close()
    except Exception as error:
        warn(f"{type(one).__name__} could not be closed ({_told(error)}); see that it does not go on and cost money")


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
