"""Looks at a Dask cluster without changing it: what its processes say of themselves, and what they reach.

What is asked there travels as code and uses the standard library only, so nothing needs to be installed or sent.
What the answers mean is not known here.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from distributed import Client

from dataflow.engine import reaching
from dataflow.engine.control.scheduler import OPERATION, read_status
from dataflow.engine.submission import connection_errors, lost_errors, unanswered
from dataflow.engine.travel import by_value, mismatches

PACKAGES = ("dataflow", "pyarrow", "msgspec", "datasketches", "bokeh", "prometheus_client")
"""What is asked for beside what `Client.get_versions` tells by itself."""
CONNECT = 5.0
"""Seconds to wait for a scheduler; one that is there answers in milliseconds."""
_TIMES = 3
"""How often the clocks are asked; the quickest round trip says most about them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What one process of a cluster says of itself.

    Attributes:
        clock: Its time, in seconds since 1970.
        asked: The time here when it was asked.
        answered: The time here when the answer was there.
        listening: The addresses at which it listens, as it was told to.
        folder: Where it keeps its files; empty for a scheduler.
        free: Bytes that are free there.
    """

    clock: float
    asked: float
    answered: float
    listening: tuple[str, ...]
    folder: str = ""
    free: int = 0


@contextmanager
def inspect_cluster(address: str, *, timeout: float = CONNECT) -> Iterator[Inspection]:
    """A connection to a scheduler for looking only, closed at the end; one at a time in a process.

    Certificates come from Dask's configuration.

    Raises:
        ClusterError: Nobody answers there.
    """
    failures: tuple[type[BaseException], ...] = (Exception, *lost_errors())
    try:
        client = Client(address, timeout=timeout, set_as_default=False)
    except failures as error:
        # A scheduler that ends while it says hello makes a client raise almost anything.
        raise unanswered(address, error) from error
    # For as long as the client is open, since several threads may ask at once.
    with client, by_value(sys.modules[__name__]), by_value(reaching):
        yield Inspection(client)


class Inspection:
    """Asks a cluster; each method raises a ClusterError where it does not answer any more.

    Args:
        client: Open, with what is defined here travelling as code; see `inspect_cluster`.
        clock: Seconds since 1970.

    Attributes:
        address: Of the scheduler.
    """

    def __init__(self, client: Client, *, clock: Callable[[], float] = time.time) -> None:
        self.address: str = client.scheduler.address
        self._client = client
        self._clock = clock

    def versions(self) -> tuple[Mapping[str, Any], list[str]]:
        """The versions here, on the scheduler and on all workers, and the differences for which a run refuses them."""
        with connection_errors(self.address):
            versions: Mapping[str, Any] = self._client.get_versions(packages=list(PACKAGES))
        return versions, mismatches(versions)

    def workers(self) -> Mapping[str, Any]:
        """What the scheduler knows of each worker: threads, memory and more, by address."""
        with connection_errors(self.address):
            workers: Mapping[str, Any] = self._client.scheduler_info()["workers"]
        return workers

    def scheduler_place(self) -> Place:
        """What the scheduler says of itself."""
        return self._quickest(lambda: {"": self._client.run_on_scheduler(_scheduler)})[""]

    def worker_places(self) -> dict[str, Place]:
        """What each worker says of itself, by address."""
        return self._quickest(lambda: self._client.run(_worker))

    def _quickest(self, ask: Callable[[], Mapping[str, Any]]) -> dict[str, Place]:
        tries = []
        with connection_errors(self.address):
            for _ in range(_TIMES):
                asked = self._clock()
                said = ask()
                answered = self._clock()
                tries.append((answered - asked, asked, answered, said))
        _, asked, answered, said = min(tries, key=lambda one: one[0])
        return {where: Place(asked=asked, answered=answered, **one) for where, one in said.items()}

    def unset(self, names: Sequence[str]) -> dict[str, list[str]]:
        """Which of these names the environment of each worker does not have, by address."""
        return self._on_workers(_unset, list(names))

    def missing(self, paths: Sequence[str]) -> dict[str, list[str]]:
        """Which of these paths are not there for each worker, by address."""
        return self._on_workers(_missing, list(paths))

    def _on_workers(self, function: Callable[[list[str]], list[str]], names: list[str]) -> dict[str, list[str]]:
        with connection_errors(self.address):
            found: dict[str, list[str]] = self._client.run(function, names)
        return found

    def plane_status(self) -> Mapping[str, Mapping[str, Any]]:
        """By API what the control plane says; nothing where no run has brought one yet."""
        with connection_errors(self.address):
            is_there = self._client.run_on_scheduler(_has_operation, OPERATION)
        return read_status(self._client) if is_there else {}

    def reach(self, url: str, *, worker: str, ca_file: str | None, ask: bool) -> dict[str, Any]:
        """What `reaching.reach` finds on one worker, which goes on with its work meanwhile."""
        with connection_errors(self.address):
            found: dict[str, dict[str, Any]] = self._client.run(
                reaching.reach_aside, url, ca_file=ca_file, ask=ask, workers=[worker]
            )
        return found[worker]


def _scheduler(dask_scheduler: Any) -> dict[str, Any]:
    return {"clock": time.time(), "listening": tuple(one.listen_address for one in dask_scheduler.listeners)}


def _worker(dask_worker: Any) -> dict[str, Any]:
    folder = dask_worker.local_directory
    return {
        "clock": time.time(),
        "listening": tuple(one.listen_address for one in dask_worker.listeners),
        "folder": str(folder),
        "free": shutil.disk_usage(folder).free,
    }


def _unset(names: list[str]) -> list[str]:
    return [name for name in names if not os.environ.get(name)]


def _missing(paths: list[str]) -> list[str]:
    return [path for path in paths if not os.path.exists(path)]  # noqa: PTH110 - travels as code


def _has_operation(name: str, dask_scheduler: Any = None) -> bool:
    return name in dask_scheduler.handlers
