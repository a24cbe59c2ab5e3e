"""Hands a run over to a cluster, and waits until its driver has begun there."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

import msgspec

from dataflow.engine.cluster import Cluster, connect
from dataflow.engine.live.scheduler import ask
from dataflow.engine.remote import hand_over
from dataflow.errors import ClusterError, DeclarationError
from dataflow.plan.checks import check_environ
from dataflow.store.files import rooted
from dataflow.wiring.boards import require_named
from dataflow.wiring.jobs import Found, require_source
from dataflow.wiring.running import new_id
from dataflow.wiring.secrets import secrets_to_send
from dataflow.wiring.settings import read_settings
from dataflow.wiring.submitted import DRIVER, Submission
from dataflow.wiring.variables import read_variables

WAIT = 60.0
"""Seconds until it is no longer waited for the driver to begin: planning takes seconds, a busy cluster any time."""
_LOOK = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """A run that a cluster drives.

    Attributes:
        run: Its id; that of the submission as long as no worker has begun it.
        status: `waiting` for a worker, else as a `Run` has it.
        page: The address of the live page, or None.
        dataset: What it publishes.
        reason: Why it has ended already, or None.
        error: The class of the error that has ended it, or None.
    """

    run: str
    status: str
    page: str | None
    dataset: str
    reason: str | None = None
    error: str | None = None


def submit(
    found: Found,
    *,
    scheduler: str | None = None,
    scheduler_file: str | None = None,
    wait: float = WAIT,
    **settings: Any,
) -> Submitted:
    """Let a cluster drive a run; the caller may go.

    Args:
        found: The job, as `find_job` gives it.
        scheduler: The address of the cluster's scheduler.
        scheduler_file: The file in which it left its address.
        wait: Seconds for the driver to begin.
        **settings: Of the run; see `Settings`.

    Raises:
        ClusterError: No cluster is named, it cannot be reached, or has other versions.
        DeclarationError: The job has no source or comes from no file, or a secret is set nowhere.
    """
    require_named(scheduler, scheduler_file, why="a run is handed over to it")
    if found.program is None or found.reference is None:
        raise DeclarationError("only a job in a file can be submitted")
    job = require_source(found, found.reference.job)
    settings["catalog"] = rooted(settings.get("catalog", "datasets"))
    read_settings(settings)
    names = [*job.environ, *check_environ(settings.get("environ", ()))]
    variables = read_variables(names, services=job.pipeline.every)
    submission = Submission(
        id=new_id(),
        program=found.program.given(variables),
        reference=found.reference,
        parameters=found.parameters,
        settings=settings,
    )
    with connect(scheduler=scheduler, scheduler_file=scheduler_file) as cluster:
        page = cluster.show()
        secrets = secrets_to_send(job.pipeline.every, cluster)
        hand_over(
            cluster.client,
            run=submission.id,
            function=DRIVER,
            payload=msgspec.json.encode(submission),
            secrets=secrets,
            variables=variables,
        )
        return _begun(cluster, submission, page, dataset=job.output, wait=wait)


def _begun(cluster: Cluster, submission: Submission, page: str | None, *, dataset: str, wait: float) -> Submitted:
    until = time.monotonic() + wait
    while time.monotonic() < until:
        told = ask(cluster.client, "board", run=submission.id)
        if told is not None:
            board = json.loads(told["board"])
            return Submitted(
                run=board["run"],
                status=board["status"],
                page=page,
                dataset=dataset,
                reason=board["reason"],
                error=board["error"],
            )
        if (trouble := cluster.trouble()) is not None:
            raise trouble
        time.sleep(_LOOK)
    return Submitted(run=submission.id, status="waiting", page=page, dataset=dataset)


def error_of(submitted: Submitted) -> Exception | None:
    """The error that has ended a run before its time, as it would have been raised here."""
    from dataflow import errors

    if submitted.error is None:
        return None
    known = getattr(errors, submitted.error, None)
    if isinstance(known, type) and issubclass(known, errors.DataflowError):
        return known(submitted.reason or "")
    return ClusterError(f"{submitted.error}: {submitted.reason}")
