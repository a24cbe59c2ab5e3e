"""Commands that run a job and publish what comes out."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

import click

from dataflow.faces.commands.common import (
    CATALOG,
    JSON,
    OUTPUT,
    SOURCE,
    how,
    own_stdout,
    parameters_of,
    print_json,
    read_env,
    where,
)


@click.command()
@click.argument("job")
@SOURCE
@OUTPUT
@CATALOG
@where
@how
@click.option("--offline", is_flag=True, help="Call no API: answers come from the cache only.")
@click.option("--no-progress", is_flag=True, help="Show no progress on stderr.")
@JSON
def run(job: str, source: str | None, output: str | None, as_json: bool, **options: Any) -> None:
    """Run JOB and publish its output; the same command again goes on with what was interrupted.

    JOB is a file with a `job` or a `pipeline`, `file.py:name`, or `module:name`.
    """
    with own_stdout(as_json):
        shown = not (options.pop("no_progress") or as_json)
        finished = _run(job, source=source, output=output, shown=shown, **options)
    print_run(finished, as_json)


@click.command()
@click.argument("run")
@CATALOG
@where
@click.option("--env-file", type=click.Path(), help="A file of NAME=value lines that the job reads.")
@click.option("--no-progress", is_flag=True, help="Show no progress on stderr.")
@JSON
def publish(run: str, env_file: str | None, no_progress: bool, as_json: bool, **options: Any) -> None:
    """Publish RUN, which was stopped, as it is: no API is called any more.

    What is left computes locally and answers from what is remembered; everything else counts as not attempted.
    RUN is an id, or `latest`. Give the command in the folder in which the run was started.
    """
    read_env(env_file)
    from dataflow.faces.progress import progress_for
    from dataflow.wiring.running import publish_run

    with own_stdout(as_json), progress_for(sys.stderr, enabled=not (no_progress or as_json)) as progress:
        finished = publish_run(run, on_event=without_ending(progress), **options)
    print_run(finished, as_json)


def print_run(finished: Any, as_json: bool) -> None:
    """Tell what came of a run; one that has stopped ends the command with its error."""
    if as_json:
        print_json(_run_summary(finished))
    elif finished.status != "stopped":
        from dataflow.faces.render import run_text
        from dataflow.faces.view import view_run

        click.echo(run_text(view_run(finished)))
    finished.wait()


def _run(job: str, *, source: str | None, output: str | None, env_file: str | None, shown: bool, **options: Any) -> Any:
    read_env(env_file)
    if options["workers"] is not None and options["cluster"] is None:
        from dataflow.wiring.warming import warm_up

        warm_up(job)
    from dataflow.faces.progress import progress_for
    from dataflow.wiring.jobs import find_job, require_source
    from dataflow.wiring.running import run_to_a_stop

    with progress_for(sys.stderr, enabled=shown) as progress:
        found = find_job(job, source=source, output=output, parameters=parameters_of(options.pop("parameters")))
        return run_to_a_stop(
            require_source(found, job),
            program=found.program,
            reference=found.reference,
            parameters=found.parameters,
            resume=not options.pop("no_resume"),
            on_event=without_ending(progress),
            traffic=shown,
            **options,
        )


def without_ending(progress: Any) -> Any:
    """The progress without the error that ends a run, which is told by the command."""
    return lambda event: None if event.kind == "stopped" else progress(event)


def _run_summary(finished: Any) -> dict[str, Any]:
    return {
        "run": finished.id,
        "dataset": finished.output,
        "version": finished.version,
        "path": finished.path,
        "status": finished.status,
        **({} if finished.dataset is None else _standing(finished.dataset)),
        **({} if finished.reason is None else {"reason": finished.reason}),
        "statistics": finished.statistics,
        "errors": [asdict(one) for one in finished.errors],
        "sample_records": finished.head(10).to_pylist(),
    }


def _standing(dataset: Any) -> dict[str, Any]:
    """What a version is among the others of its dataset."""
    from dataflow.store.catalog import Catalog

    latest = Catalog(dataset.home.rpartition("/")[0]).open(dataset.name)
    return {"whole": dataset.is_whole, "limit": dataset.limit, "latest": latest.version}
