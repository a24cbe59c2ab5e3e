"""The boards on a Dask scheduler: where drivers and workers tell, and where pages, metrics and commands look.

The scheduler imports this module: nothing at its top but the standard library, distributed and the boards. A page that
cannot be shown never harms a run.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from distributed import Scheduler, SchedulerPlugin

from dataflow.engine.control.plane import PROTOCOL as CONTROL
from dataflow.engine.live.boards import Boards, under_way
from dataflow.engine.live.sight import Sight
from dataflow.errors import ClusterError

if TYPE_CHECKING:
    from distributed import Client, Worker

PROTOCOL = 1
"""Changes whenever an older driver, worker or scheduler would misread a message."""
OPERATION = "dataflow_live"
"""What the scheduler is asked for."""
_TIRED = 10.0
"""Seconds between two tries of a worker that is not heard."""

logger = logging.getLogger("dataflow.live")


class LivePlugin(SchedulerPlugin):  # type: ignore[misc]
    """Gives the boards a home on the scheduler, once, whoever registers it first.

    Args:
        pages: The module that draws boards: `page` and `panels` take boards and give HTML.
    """

    name = f"dataflow-live-v{PROTOCOL}"
    idempotent = True

    def __init__(self, *, pages: str = "dataflow.faces.page") -> None:
        self.pages = pages

    def start(self, scheduler: Scheduler) -> None:
        """Make the boards and answer for them, unless another version already does."""
        self.scheduler = scheduler
        self.boards = Boards()
        if OPERATION in scheduler.handlers:
            return
        scheduler.handlers[OPERATION] = self.answer
        with suppress(Exception):
            from dataflow.engine.live.pages import add_pages

            add_pages(self)
        with suppress(Exception):
            from dataflow.engine.live.metrics import watch_boards

            watch_boards(self)

    async def close(self) -> None:
        """The scheduler ends: its metrics are nobody's any more."""
        with suppress(Exception):
            from dataflow.engine.live.metrics import leave_boards

            leave_boards(self)

    def answer(self, do: str, protocol: int, **given: Any) -> dict[str, Any]:
        """Answer one message; what is refused is said in the reply, so that the scheduler logs no error."""
        if protocol != PROTOCOL:
            return {"refused": f"the live page of this cluster speaks protocol {PROTOCOL}, and this {protocol}"}
        try:
            return {"answer": _OPERATIONS[do](self, **given)}
        except (KeyError, TypeError) as error:
            return {"refused": f"{type(error).__name__}: {error}"}

    def remove_worker(self, scheduler: Scheduler, worker: str, **details: Any) -> None:
        """A worker has died or left."""
        self.boards.forget_worker(worker)

    def tell(self, run: str, board: bytes, **given: Any) -> dict[str, Any]:
        """Keep the board of a run, and say what its driver does not see; as `Sight` takes it."""
        now = time.monotonic()
        entry = self.boards.tell(run, board=board, now=now, **given)
        apis = self.apis()
        return {
            "apis": apis,
            "under_way": under_way(entry, now=now),
            "workers": self.workers(apis),
            "cancelled": entry.cancelled,
        }

    def apis(self) -> dict[str, Any]:
        """What the control plane of this cluster knows, where it has one."""
        control = self.scheduler.plugins.get(f"dataflow-control-v{CONTROL}")
        plane = getattr(control, "plane", None)
        return {} if plane is None else plane.status(time.monotonic())

    def workers(self, apis: dict[str, Any]) -> list[dict[str, Any]]:
        """The workers of this cluster with what they hold of the limits."""
        control = self.scheduler.plugins.get(f"dataflow-control-v{CONTROL}")
        holders: dict[str, dict[str, None]] = getattr(control, "holders", {})
        return [_worker(one, holders.get(address, {}), apis) for address, one in self.scheduler.workers.items()]

    def board(self, run: str) -> dict[str, Any] | None:
        """The board of a run by any of its names, and the seconds since its driver was heard; None without one."""
        entry = self.boards.find(run)
        if entry is None or not entry.board:
            return None
        return {"board": entry.board, "heard_ago": time.monotonic() - entry.heard}

    def heard_ago(self, run: str) -> float:
        """Seconds since the driver of a run was heard."""
        entry = self.boards.find(run)
        return float("inf") if entry is None else time.monotonic() - entry.heard


def _worker(state: Any, holders: dict[str, None], apis: dict[str, Any]) -> dict[str, Any]:
    leases = {}
    for api, status in apis.items():
        held = [status["members"][one] for one in holders if one in status["members"]]
        if held:
            leases[api] = {name: sum(one[name] or 0 for one in held) for name in ("in_flight", "waiting", "share")}
    return {
        "address": state.address,
        "name": str(state.name),
        "threads": state.nthreads,
        "tasks": len(state.processing),
        "memory": state.metrics.get("memory", 0),
        "memory_limit": state.memory_limit,
        "cpu": state.metrics.get("cpu", 0.0),
        "leases": leases,
    }


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "tell": LivePlugin.tell,
    "hear": lambda plugin, *, run, worker, told: plugin.boards.hear(
        run, worker=worker, told=told, now=time.monotonic()
    ),
    "cancel": lambda plugin, *, run: plugin.boards.cancel(run),
    "boards": lambda plugin: {
        run: {"board": entry.board, "heard_ago": plugin.heard_ago(run)} for run, entry in plugin.boards.told().items()
    },
    "board": lambda plugin, *, run: plugin.board(run),
    "heard": lambda plugin, *, run: bool((entry := plugin.boards.find(run)) and entry.board),
    "attempt": lambda plugin, *, run: plugin.boards.attempt(run),
    "lines": lambda plugin, *, run: list(entry.lines) if (entry := plugin.boards.find(run)) else None,
}
"""What can be asked, by its name in a message."""


def install(client: Client) -> str | None:
    """Put the boards and their page on a cluster that has none; the package must be there already.

    Returns:
        The address of the page, or None where the cluster has none.

    Raises:
        ClusterError: The cluster does not answer.
    """
    from dataflow.engine.submission import connection_errors

    with connection_errors(client.scheduler.address):
        client.register_plugin(LivePlugin())
        return page_of(client)


def page_of(client: Client) -> str | None:
    """The address of the page, as far as the scheduler knows it."""
    with suppress(Exception):
        link = client.dashboard_link
        return None if not link else f"{link.removesuffix('/status')}/dataflow"
    return None


def start_telling(client: Client, run: str, **given: Any) -> Future[Sight]:
    """Tell the board of a run without waiting for what the scheduler knows."""
    telling = _tell(client.scheduler, {"run": run, **given})
    return asyncio.run_coroutine_threadsafe(telling, client.loop.asyncio_loop)


async def _tell(scheduler: Any, given: dict[str, Any]) -> Sight:
    return Sight(**await _ask(scheduler, "tell", given))


def ask(client: Client, do: str, **given: Any) -> Any:
    """Ask the boards of a cluster from a client: `cancel`, `boards`, `lines`.

    Raises:
        ClusterError: There are none, they refuse, or the cluster does not answer.
    """
    from dataflow.engine.submission import connection_errors

    with connection_errors(client.scheduler.address):
        return client.sync(_ask, client.scheduler, do, given)


async def _ask(scheduler: Any, do: str, given: dict[str, Any]) -> Any:
    try:
        reply = await getattr(scheduler, OPERATION)(do=do, protocol=PROTOCOL, **given)
    except (AttributeError, KeyError) as error:
        raise ClusterError("this cluster has heard of no run yet") from error
    if "refused" in reply:
        raise ClusterError(reply["refused"])
    return reply["answer"]


class Pulse:
    """Lets a worker tell once a second what it has under way for a run, as long as there is something.

    Args:
        worker: The worker of this process.
        run: The run.
        read: Gives what is under way; called on the loop of the worker, so it must be quick.
    """

    def __init__(self, worker: Worker, run: str, read: Callable[[], dict[str, Any]]) -> None:
        self._worker = worker
        self._run = run
        self._read = read
        self._ended = False
        self._idle = True
        asyncio.run_coroutine_threadsafe(self._beat(), worker.loop.asyncio_loop)

    def close(self) -> None:
        """Tell nothing more."""
        self._ended = True

    async def _beat(self) -> None:
        interval = 1.0
        while not self._ended:
            await asyncio.sleep(interval)
            told = self._read()
            if self._idle and not told["partitions"]:
                continue
            self._idle = not told["partitions"]
            given = {"run": self._run, "worker": self._worker.address, "told": told}
            try:
                interval = await asyncio.wait_for(_ask(self._worker.scheduler, "hear", given), _TIRED)
            except Exception:
                # A scheduler that knows no boards any more, or none that answers: nobody is harmed.
                interval = _TIRED
