"""Waiting for the first worker of a cluster: what ends it, and what is said meanwhile.

A batch queue may take hours to start a worker, so nobody gives up here. How a cluster is found is in `cluster`.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dataflow.engine.drive import TICK, lost_cluster, stop_on_signal
from dataflow.engine.submission import connection_errors
from dataflow.errors import Interrupted

if TYPE_CHECKING:
    from distributed import Client, Future

PATIENCE = 5.0
"""Seconds before it is said that a worker is waited for: one of this machine needs one or two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """How a run waits for the first worker.

    Attributes:
        stop: Ends the waiting when it is set; the first Ctrl-C sets it, too.
        say: Is told, once, that the run waits and for what.
        hint: What can be done about it.
        patience: Seconds before that is said.
    """

    stop: threading.Event
    say: Callable[[str], None]
    hint: str = "Ctrl-C ends the waiting"
    patience: float = PATIENCE

    def wait(self, client: Client, *, cluster: str) -> None:
        """Wait until there is a worker; return at once where there is one.

        Args:
            client: The connection.
            cluster: What the cluster is called in messages.

        Raises:
            Interrupted: The run was stopped meanwhile.
            ClusterError: The scheduler is gone.
        """
        with connection_errors(client.scheduler.address):
            if client.nthreads():
                return
            knock = _knock(client)
        with stop_on_signal(self.stop):
            self._wait(knock, client, cluster=cluster)

    def _wait(self, knock: Future, client: Client, *, cluster: str) -> None:
        began, said = time.monotonic(), False
        while knock.status not in ("finished", "error"):
            if self.stop.wait(TICK):
                raise Interrupted(
                    f"stopped while waiting for the first worker of {cluster}; run the same command again to go on"
                )
            if client.status != "running":
                raise lost_cluster(f"{cluster} has gone before its first worker came")
            if knock.status in ("lost", "cancelled"):
                # The scheduler was gone for a moment, and has forgotten it.
                knock = _knock(client)
            if not said and time.monotonic() - began >= self.patience:
                said = True
                self.say(f"waiting for the first worker of {cluster}; {self.hint}")


def _knock(client: Client) -> Future:
    """Something to do: a cluster that adapts starts no worker before there is."""
    return client.submit(os.getpid, pure=False)
