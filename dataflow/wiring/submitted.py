"""What drives a submitted run, on whichever worker the scheduler has chosen."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from dataflow.engine.live.scheduler import ask, start_telling
from dataflow.engine.program import Program, load
from dataflow.engine.variables import as_given, kept
from dataflow.errors import OutputLocked
from dataflow.plan.pipeline import Job
from dataflow.store.filesystem import is_remote
from dataflow.store.sources import Source
from dataflow.wiring.jobs import Reference, as_job
from dataflow.wiring.plainboard import board_of_run
from dataflow.wiring.run import Run
from dataflow.wiring.running import run_to_a_stop

DRIVER = "dataflow.wiring.submitted:drive"
PATIENCE = 120.0
"""Seconds for which a driver waits for the lock of the one that has died before it: leases last no longer."""
_AGAIN = 2.0
_LAST = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A run as a client hands it over; plain values and the sources of its job.

    Attributes:
        id: Names the submission; the run has an id of its own, since it may go on with an unfinished one.
        program: The job.
        reference: How the command named it.
        parameters: What was set for it.
        settings: Of the run, as `Settings` takes them.
    """

    id: str
    program: Program
    reference: Reference
    parameters: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


def drive(payload: bytes, client: Any) -> dict[str, Any]:
    """Drive a submitted run to its end; how it ended is on its board, whatever that was.

    Args:
        payload: A `Submission` as JSON.
        client: A connection of its own.
    """
    submission = msgspec.json.decode(payload, type=Submission)
    again = ask(client, "attempt", run=submission.id) > 1
    try:
        with as_given(kept(submission.id)):
            run = _driven(submission, client, again=again)
    except Exception as error:
        run = getattr(error, "run", None) or Run(id=submission.id, output="", catalog="")
        run.status, run._error = "failed" if run.status == "running" else run.status, error
    _tell_end(submission, run, client)
    return {"run": run.id, "status": run.status}


def _driven(submission: Submission, client: Any, *, again: bool) -> Run:
    job = job_of(submission)
    settings = dict(submission.settings)
    if again:
        # What an earlier driver of this submission has begun goes on.
        settings["resume"] = True
    until = time.monotonic() + (PATIENCE if again else 0.0)
    while True:
        try:
            return run_to_a_stop(
                job,
                program=submission.program,
                reference=submission.reference,
                names=(submission.id,),
                client=client,
                parameters=submission.parameters,
                traffic=False,
                **settings,
            )
        except OutputLocked:
            if time.monotonic() >= until:
                raise
            time.sleep(_AGAIN)


def job_of(submission: Submission) -> Job:
    """The job, with its source where the client sees it.

    Raises:
        DeclarationError: It cannot be loaded here.
    """
    reference = submission.reference
    job = as_job(
        load(submission.program, kept(submission.id)),
        reference.job,
        source=None if "source" in dict(submission.program.parameters) else reference.source,
        output=reference.output,
    )
    return replace(job, source=placed(job.source, folder=reference.folder))


def placed(source: Any, *, folder: str) -> Any:
    """A source whose relative paths are those of the folder in which the command was given.

    The name of a dataset stays as it is, and so does whatever is not there.
    """
    if isinstance(source, Source):
        return replace(source, paths=tuple(_placed(path, folder) for path in source.paths))
    return _placed(source, folder) if isinstance(source, (str, Path)) else source


def _placed(path: str | Path, folder: str) -> str:
    text = str(path)
    if is_remote(text) or Path(text).is_absolute():
        return text
    there = Path(folder) / text
    return str(there) if there.exists() or any(one in text for one in "*?[") else text


def _tell_end(submission: Submission, run: Run, client: Any) -> None:
    """Show how a run has ended that had no time to show itself."""
    with suppress(Exception):
        if not ask(client, "heard", run=submission.id):
            board = msgspec.json.encode(board_of_run(run, now=time.time()))
            start_telling(client, run.id, board=board, lines=[], names=[submission.id]).result(timeout=_LAST)
