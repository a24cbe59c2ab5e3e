"""Commands that hand a run over to a cluster, and look after it from any terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import click

from dataflow.faces.commands.common import (
    CATALOG,
    JSON,
    OUTPUT,
    SCHEDULER,
    SCHEDULER_FILE,
    SOURCE,
    how,
    own_stdout,
    parameters_of,
    print_json,
    print_rows,
    read_env,
)

_EVERY = 1.0


@click.command()
@click.argument("job")
@SOURCE
@OUTPUT
@CATALOG
@SCHEDULER
@SCHEDULER_FILE
@how
@JSON
def submit(
    job: str, source: str | None, output: str | None, env_file: str | None, as_json: bool, **options: Any
) -> None:
    """Let a cluster drive JOB: this terminal may close, and a worker may die.

    Look after it with `runs`, `status`, `logs` and `cancel`. The catalog must be where the workers see it.
    """
    read_env(env_file)
    from dataclasses import asdict

    from dataflow.wiring.jobs import find_job
    from dataflow.wiring.submitting import error_of
    from dataflow.wiring.submitting import submit as submit_job

    with own_stdout(as_json):
        found = find_job(job, source=source, output=output, parameters=parameters_of(options.pop("parameters")))
        submitted = submit_job(found, resume=not options.pop("no_resume"), **options)
    if as_json:
        print_json(asdict(submitted))
    elif submitted.error is None:
        click.echo(f"{submitted.status}: run {submitted.run} of {submitted.dataset}")
        if submitted.page and submitted.status == "running":
            click.echo(f"live page: {submitted.page}")
    if (error := error_of(submitted)) is not None:
        raise error


@click.command()
@CATALOG
@SCHEDULER
@SCHEDULER_FILE
@JSON
def runs(catalog: str, scheduler: str | None, scheduler_file: str | None, as_json: bool) -> None:
    """List the runs of a catalog, or those that a cluster knows, the newest first."""
    from dataflow.wiring.boards import Places

    with Places(catalog, scheduler=scheduler, scheduler_file=scheduler_file) as places:
        found = places.runs()
    print_rows(found, as_json, empty="no runs")


@click.command()
@click.argument("run")
@CATALOG
@SCHEDULER
@SCHEDULER_FILE
@click.option("--once", is_flag=True, help="Show it once, also on a terminal.")
@JSON
def status(
    run: str, catalog: str, scheduler: str | None, scheduler_file: str | None, once: bool, as_json: bool
) -> None:
    """Show where RUN is; on a terminal until it has ended. Ctrl-C ends the looking only.

    RUN is an id, or `latest`.
    """
    from dataflow.faces.boardtext import board_text
    from dataflow.wiring.boards import Places

    with Places(catalog, scheduler=scheduler, scheduler_file=scheduler_file) as places:
        seen = places.find(run)
        if as_json:
            print_json({**seen.board, "status": seen.status, "heard_ago": seen.heard_ago, "graph": None})
        elif once or not sys.stdout.isatty():
            click.echo(board_text(seen.board, status=seen.status))
        else:
            _follow(places, seen)


def _follow(places: Any, seen: Any) -> None:
    from rich.live import Live
    from rich.text import Text

    from dataflow.faces.boardtext import board_text

    run = seen.board["run"]
    with Live(refresh_per_second=2) as live:
        while True:
            live.update(Text(board_text(seen.board, status=seen.status), no_wrap=True, overflow="ellipsis"))
            if seen.board["status"] not in ("running", "stopping"):
                return
            time.sleep(_EVERY)
            seen = places.find(run)


@click.command()
@click.argument("run")
@CATALOG
@SCHEDULER
@SCHEDULER_FILE
@click.option("-f", "--follow", is_flag=True, help="Go on until the run has ended.")
@JSON
def logs(
    run: str, catalog: str, scheduler: str | None, scheduler_file: str | None, follow: bool, as_json: bool
) -> None:
    """Show what RUN has told: what was planned and done, warnings, and how it ended; with --json a line for each."""
    from dataflow.wiring.boards import Places

    with Places(catalog, scheduler=scheduler, scheduler_file=scheduler_file) as places:
        for line in _lines(places, run, follow=follow):
            _print_line(line, as_json)


def _lines(places: Any, run: str, *, follow: bool) -> Iterator[Mapping[str, Any]]:
    """The lines of a log, and those that come as long as the run goes on."""
    shown, going = 0, True
    while going:
        going = follow and places.find(run).status in ("running", "stopping")
        lines = places.lines(run)
        yield from lines[shown:]
        shown = len(lines)
        if going:
            time.sleep(_EVERY)


def _print_line(line: Mapping[str, Any], as_json: bool) -> None:
    from dataflow.faces.boardtext import line_text

    if as_json:
        print_json(line)
    else:
        click.echo(line_text(line))


@click.command()
@click.argument("run")
@CATALOG
@SCHEDULER
@SCHEDULER_FILE
@JSON
def cancel(run: str, catalog: str, scheduler: str | None, scheduler_file: str | None, as_json: bool) -> None:
    """Stop RUN as the first Ctrl-C does: no new calls, those in flight may end, what is done is kept."""
    from dataflow.wiring.boards import Places

    with Places(catalog, scheduler=scheduler, scheduler_file=scheduler_file) as places:
        stopped = places.cancel(run)
    if as_json:
        print_json({"run": stopped})
    else:
        click.echo(f"asked run {stopped} to stop; the same command, or `dataflow submit`, goes on")
