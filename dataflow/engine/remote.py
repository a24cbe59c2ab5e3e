"""A driver on a cluster: the one task that drives a whole run there, and how a client hands it over.

The scheduler imports this module, since the task names its function: nothing at its top but the standard library and
distributed. What the driver does is named, since it stands above the engine.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from distributed import Worker, WorkerPlugin

if TYPE_CHECKING:
    from distributed import Client


class SecretsPlugin(WorkerPlugin):  # type: ignore[misc]
    """Keeps secrets in the memory of every worker, also of one that joins later, as long as a run needs them.

    Args:
        values: By name; never written or shown.
        run: Whose they are.
        variables: What the job file is given of the client's environment; never written or shown either.
    """

    def __init__(
        self, values: Mapping[str, str], *, run: str, variables: Mapping[str, str | None] | None = None
    ) -> None:
        self.name = secrets_name(run)
        self.run = run
        self.values = dict(values)
        self.variables = dict(variables or {})

    def __repr__(self) -> str:
        return f"<SecretsPlugin {self.name}>"

    def setup(self, worker: Worker) -> None:
        """Keep them beside those of the environment, which goes first."""
        from dataflow.engine.variables import keep
        from dataflow.services.context import keep_secrets

        keep_secrets(self.values)
        keep(self.variables, run=self.run)

    def teardown(self, worker: Worker) -> None:
        """Forget what the run alone was given."""
        from dataflow.engine.variables import forget

        forget(self.run)


def secrets_name(run: str) -> str:
    """The name of the plugin that keeps the secrets of a run."""
    return f"dataflow-secrets-{run}"


def drive(task: dict[str, Any]) -> dict[str, Any]:
    """Drive a run from a worker: on a thread beside those of its tasks, with a connection of its own.

    Where this worker dies, the scheduler starts the task again elsewhere, and the run goes on.

    Args:
        task: `function` as `module:name`, which is called with `payload` and a client, and the `run`.
    """
    from distributed import Client, get_worker, secede

    worker = get_worker()
    secede()
    module, _, name = task["function"].partition(":")
    function = getattr(importlib.import_module(module), name)
    with Client(worker.scheduler.address, security=worker.security, set_as_default=False) as client:
        try:
            told: dict[str, Any] = function(task["payload"], client)
        finally:
            with suppress(Exception):
                client.unregister_worker_plugin(secrets_name(task["run"]))
        return told


def hand_over(
    client: Client,
    *,
    run: str,
    function: str,
    payload: bytes,
    secrets: Mapping[str, str],
    variables: Mapping[str, str | None] | None = None,
) -> None:
    """Give a run to the cluster; it goes on whatever becomes of this client.

    Args:
        client: An open client.
        run: Names the task.
        function: What drives it, as `module:name`.
        payload: What that is called with.
        secrets: What the workers lack.
        variables: What the job file is given of the client's environment.
    """
    from distributed import fire_and_forget

    if secrets or variables:
        client.register_plugin(SecretsPlugin(secrets, run=run, variables=variables))
    task = {"function": function, "payload": payload, "run": run}
    fire_and_forget(client.submit(drive, task, key=f"dataflow-run-{run}", pure=False))
