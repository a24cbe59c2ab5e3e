"""Forks worker processes from a server that has imported what all of them need; Linux and macOS only.

It is `multiprocessing`'s fork server, in an instance of our own: the user's processes keep theirs, and ours need
not import the user's `__main__`. Which processes are used where is decided in `processes`.
"""

from __future__ import annotations

import io
import os
from multiprocessing import forkserver, popen_forkserver, process, reduction, util
from multiprocessing.context import ForkServerContext, ForkServerProcess, set_spawning_popen
from typing import Any

from dataflow.engine.processes import WorkerProcess, preparation

server = forkserver.ForkServer()
"""One for this process; it ends when this process and all that were forked from it have ended."""


class ForkedPopen(popen_forkserver.Popen):
    """A child of our server."""

    def _launch(self, process_obj: process.BaseProcess) -> None:
        message = io.BytesIO()
        set_spawning_popen(self)
        try:
            reduction.dump(preparation(process_obj.name), message)
            reduction.dump(process_obj, message)
        finally:
            set_spawning_popen(None)
        self.sentinel, data = server.connect_to_new_process(self._fds)  # type: ignore[attr-defined]
        # The child takes the end of this pipe for the end of its parent, so an end stays open here.
        held = os.dup(data)
        self.finalizer = util.Finalize(self, util.close_fds, (held, self.sentinel))  # type: ignore[attr-defined]
        with os.fdopen(data, "wb") as file:
            file.write(message.getbuffer())
        self.pid = forkserver.read_signed(self.sentinel)


class ForkedProcess(WorkerProcess, ForkServerProcess):
    """A worker process forked from our server."""

    @staticmethod
    def _Popen(process_obj: process.BaseProcess) -> Any:  # noqa: N802 - what multiprocessing calls
        return ForkedPopen(process_obj)


class ForkedContext(ForkServerContext):
    """What `multiprocessing.get_context` gives for our start method where processes can be forked."""

    Process = ForkedProcess
