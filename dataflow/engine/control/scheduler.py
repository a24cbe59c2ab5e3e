"""The control plane on a Dask scheduler, and the lines that lead there from workers and clients.

The scheduler imports this module: nothing at its top but the standard library, distributed and the plane.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from distributed import Scheduler, SchedulerPlugin

from dataflow.engine.control.plane import PROTOCOL, Plane
from dataflow.errors import ClusterError
from dataflow.policies.breaker import Held

if TYPE_CHECKING:
    from distributed import Client, Worker

OPERATION = "dataflow_control"
"""What the scheduler is asked for; without a version, so that two planes never share a cluster unseen."""
_WIDEST, _WIDE = 1 << 63, "\0int:"
_HOLDERS = 1000
"""Gates of one process that are remembered; those that were closed long ago are forgotten first."""


class ControlPlugin(SchedulerPlugin):  # type: ignore[misc]
    """Gives the plane a home on the scheduler, once, whoever registers it first.

    Args:
        restarted: Whether calls under an earlier plane may still be running; see `Plane`.
    """

    name = f"dataflow-control-v{PROTOCOL}"
    idempotent = True

    def __init__(self, *, restarted: bool = False) -> None:
        self.restarted = restarted

    def start(self, scheduler: Scheduler) -> None:
        """Make the plane and answer for it, unless one of another version already does."""
        self.holders: dict[str, dict[str, None]] = {}
        if OPERATION in scheduler.handlers:
            return
        self.plane = Plane(now=time.monotonic(), restarted=self.restarted)
        scheduler.handlers[OPERATION] = self.answer

    def answer(self, do: str, member: str | None = None, **given: Any) -> dict[str, Any]:
        """Answer one message; what is refused is said in the reply, so that the scheduler logs no error."""
        now = time.monotonic()
        try:
            if member is not None:
                self._belongs(given.get("holder") or given["request"]["holder"], member)
            return {"answer": _packed(_OPERATIONS[do](self.plane, now=now, **_unpacked(given)))}
        except (ClusterError, KeyError, TypeError) as error:
            problem = str(error) if isinstance(error, ClusterError) else f"{type(error).__name__}: {error}"
            return {"refused": problem}

    def remove_worker(self, scheduler: Scheduler, worker: str, **details: Any) -> None:
        """A worker has died or left: its gates hold nothing more."""
        self._forget(worker)

    def remove_client(self, scheduler: Scheduler, client: str) -> None:
        """A client has gone: its gates hold nothing more."""
        self._forget(client)

    def _belongs(self, holder: str, member: str) -> None:
        holders = self.holders.setdefault(member, {})
        holders.pop(holder, None)
        holders[holder] = None
        if len(holders) > _HOLDERS:
            del holders[next(iter(holders))]

    def _forget(self, member: str) -> None:
        for holder in self.holders.pop(member, {}):
            self.plane.forget(holder, now=time.monotonic())


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "protocol": lambda plane, *, now: PROTOCOL,
    "exchange": lambda plane, *, request, now: plane.exchange(request, now=now),
    "status": lambda plane, *, now: plane.status(now),
    "hold": lambda plane, *, api, state, now: plane.hold(api, state, now=now),
    "authorise": Plane.authorise,
    "close_run": Plane.close_run,
    "identity": lambda plane, *, now: plane.id,
    "kept": Plane.kept,
    "learn": Plane.learn,
}
"""What can be asked, by its name in a message."""


class WorkerLine:
    """The line from a worker process: it speaks on the worker's own loop, whichever loop asks.

    Args:
        worker: The worker of this process.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def exchange(self, request: dict[str, Any]) -> dict[str, Any]:
        """Carry a request of a gate to the plane."""
        reply: dict[str, Any] = await self.ask("exchange", request=request)
        return reply

    async def ask(self, do: str, **given: Any) -> Any:
        """Ask the plane anything else, such as `kept`.

        Raises:
            ClusterError: The plane refuses.
        """
        message = {"do": do, "member": self._worker.address, **given}
        return await _elsewhere(_ask(self._worker.scheduler, message), self._worker.loop.asyncio_loop)


class ClientLine:
    """The line from a client's process to the plane on its cluster.

    Args:
        client: An open client.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    async def exchange(self, request: dict[str, Any]) -> dict[str, Any]:
        """Carry a request of a gate to the plane."""
        message = {"do": "exchange", "member": self._client.id, "request": request}
        reply: dict[str, Any] = await _elsewhere(_ask(self._client.scheduler, message), self._client.loop.asyncio_loop)
        return reply


def install(client: Client, *, restarted: bool = False) -> None:
    """Put the control plane on a cluster that has none; the package must be there already (see `travel`).

    Args:
        client: An open client.
        restarted: Whether calls under an earlier plane may still be running.

    Raises:
        ClusterError: Another version is there, or the cluster does not answer.
    """
    from dataflow.engine.submission import connection_errors

    with connection_errors(client.scheduler.address):
        client.register_plugin(ControlPlugin(restarted=restarted))
    there = ask(client, "protocol")
    if there != PROTOCOL:
        raise ClusterError(
            f"the control plane of this cluster speaks protocol {there}, and this dataflow {PROTOCOL}; "
            "use the version that is there, or start a new cluster"
        )


def ask(client: Client, do: str, **given: Any) -> Any:
    """Ask the plane of a cluster from a client: `status`, `kept`, `learn`, `authorise`, `close_run`, ...

    Raises:
        ClusterError: There is no plane, it refuses, or the cluster does not answer.
    """
    from dataflow.engine.submission import connection_errors

    with connection_errors(client.scheduler.address):
        return client.sync(_ask, client.scheduler, {"do": do, **given})


def read_status(client: Client) -> dict[str, dict[str, Any]]:
    """By API: rate, calls in flight, what calls wait for, shares by holder and breaker.

    Raises:
        ClusterError: There is no plane, or the cluster does not answer.
    """
    status: dict[str, dict[str, Any]] = ask(client, "status")
    return status


def hold_breaker(client: Client, api: str, *, state: Held | None) -> None:
    """Hold the breaker of an API open or closed over the cluster; None lets it judge again.

    Raises:
        ClusterError: There is no plane, or the cluster does not answer.
    """
    ask(client, "hold", api=api, state=state)


async def _ask(scheduler: Any, message: dict[str, Any]) -> Any:
    reply = _unpacked(await getattr(scheduler, OPERATION)(**_packed(message)))
    if reply is None:
        raise ClusterError("there is no control plane on this cluster; its scheduler may have been started anew")
    if "refused" in reply:
        raise ClusterError(reply["refused"])
    return reply["answer"]


def _packed(value: Any) -> Any:
    """Values with whole numbers of more than 64 bits as text, which is how a message can hold a sum of money."""
    if isinstance(value, dict):
        return {name: _packed(one) for name, one in value.items()}
    wide = isinstance(value, int) and not -_WIDEST <= value < _WIDEST
    return f"{_WIDE}{value}" if wide else value


def _unpacked(value: Any) -> Any:
    """What `_packed` was given."""
    if isinstance(value, dict):
        return {name: _unpacked(one) for name, one in value.items()}
    wide = isinstance(value, str) and value.startswith(_WIDE)
    return int(value.removeprefix(_WIDE)) if wide else value


async def _elsewhere(asking: Coroutine[Any, Any, Any], loop: asyncio.AbstractEventLoop) -> Any:
    if loop is asyncio.get_running_loop():
        return await asking
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(asking, loop))
