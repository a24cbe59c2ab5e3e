"""The command line: reads arguments, calls the wiring, prints, and turns errors into exit codes.

Everything heavy is imported by the command that needs it, so that `--help` answers at once.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import click

from dataflow.errors import DataflowError, DeclarationError

CATALOG = click.option("--catalog", default="datasets", show_default=True, help="Folder or URL of the datasets.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout and nothing else there.")
SET = click.option("--set", "parameters", multiple=True, metavar="KEY=VALUE", help="A parameter of the job's function.")


class Commands(click.Group):
    """The commands, as `dataflow` and as `dask dataflow`: an error is one line on stderr and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was named."""
        try:
            return super().invoke(ctx)
        except DataflowError as error:
            click.echo(f"{type(error).__name__}: {error}", err=True)
            raise click.exceptions.Exit(error.exit_code) from error
        except KeyboardInterrupt as error:
            click.echo("interrupted; run the same command again to go on", err=True)
            raise click.exceptions.Exit(5) from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="dataflow", message="%(version)s")
def dataflow() -> None:
    """Run every record of a dataset through a graph of services, and publish Parquet with statistics.

    Exit codes: 0 done, 1 error, 2 usage or unreadable input, 3 quality guardrail, 4 budget or deadline,
    5 interrupted and resumable, 6 another run holds the output, 75 cluster unreachable.
    """


def main() -> None:
    """The program `dataflow`."""
    # Importing makes tens of thousands of objects and no garbage; looking for it takes a tenth of the start.
    gc.set_threshold(100_000)
    code = run_command(sys.argv[1:])
    # The interpreter looks once more for garbage when it ends; what goes with the process need not be looked at.
    gc.freeze()
    sys.exit(code)


def run_command(arguments: list[str]) -> int:
    """Run one command and return its exit code; errors are told on stderr in one line."""
    try:
        code = dataflow.main(args=arguments, prog_name="dataflow", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    return code if isinstance(code, int) else 0


@dataflow.command()
@click.argument("job")
@click.option("--source", help="Another source than the job's: a path, glob, URL or dataset.")
@click.option("--output", help="Another output dataset than the job's.")
@CATALOG
@click.option("--scheduler", metavar="ADDR", help="The address of a Dask scheduler.")
@click.option("--scheduler-file", metavar="FILE", help="The file in which a scheduler left its address.")
@click.option("--workers", type=click.IntRange(1), help="Worker processes to start here.")
@click.option("--threads", type=click.IntRange(1), help="Threads of each worker process.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Run only the first N records.")
@SET
@click.option("--no-resume", is_flag=True, help="Start anew, even where an unfinished run could go on.")
@click.option("--if-changed", is_flag=True, help="Do nothing where the newest version has the same plan.")
@click.option(
    "--deadline",
    metavar="DURATION",
    callback=lambda context, option, value: float(value) if value and value.isdecimal() else value,
    help='End cleanly after "90s", "2h", ... instead of the job\'s own deadline; exit code 4.',
)
@click.option("--env-file", type=click.Path(), help="A file of NAME=value lines with secrets.")
@click.option("--profile", is_flag=True, help="Estimate the distinct values of each column.")
@click.option("--no-progress", is_flag=True, help="Show no progress on stderr.")
@JSON
def run(job: str, source: str | None, output: str | None, as_json: bool, **options: Any) -> None:
    """Run JOB and publish its output; the same command again goes on with what was interrupted.

    JOB is a file with a `job` or a `pipeline`, `file.py:name`, or `module:name`.
    """
    with _own_stdout(as_json):
        shown = not (options.pop("no_progress") or as_json)
        finished = _run(job, source=source, output=output, shown=shown, **options)
    _print_run(finished, as_json)


@dataflow.command()
@click.argument("run")
@CATALOG
@click.option("--scheduler", metavar="ADDR", help="The address of a Dask scheduler.")
@click.option("--scheduler-file", metavar="FILE", help="The file in which a scheduler left its address.")
@click.option("--workers", type=click.IntRange(1), help="Worker processes to start here.")
@click.option("--threads", type=click.IntRange(1), help="Threads of each worker process.")
@click.option("--env-file", type=click.Path(), help="A file of NAME=value lines that the job reads.")
@click.option("--no-progress", is_flag=True, help="Show no progress on stderr.")
@JSON
def publish(run: str, env_file: str | None, no_progress: bool, as_json: bool, **options: Any) -> None:
    """Publish RUN, which was stopped, as it is: no API is called any more.

    What is left computes locally and answers from what is remembered; everything else counts as not attempted.
    RUN is an id, or `latest`. Give the command in the folder in which the run was started.
    """
    _read_env(env_file)
    from dataflow.faces.progress import progress_for
    from dataflow.wiring.running import publish_run

    with _own_stdout(as_json), progress_for(sys.stderr, enabled=not (no_progress or as_json)) as progress:
        finished = publish_run(run, on_event=_without_ending(progress), **options)
    _print_run(finished, as_json)


def _read_env(env_file: str | None) -> None:
    if env_file is not None:
        from dataflow.wiring.secrets import read_env_file

        read_env_file(env_file)


def _print_run(finished: Any, as_json: bool) -> None:
    """Tell what came of a run; one that has stopped ends the command with its error."""
    if as_json:
        _print_json(_run_summary(finished))
    elif finished.status != "stopped":
        from dataflow.faces.render import run_text
        from dataflow.faces.view import view_run

        click.echo(run_text(view_run(finished)))
    finished.wait()


def _run(job: str, *, source: str | None, output: str | None, env_file: str | None, shown: bool, **options: Any) -> Any:
    _read_env(env_file)
    if options["workers"] is not None:
        from dataflow.wiring.warming import warm_up

        warm_up(job)
    from dataflow.faces.progress import progress_for
    from dataflow.wiring.jobs import find_job, require_source
    from dataflow.wiring.running import run_to_a_stop

    with progress_for(sys.stderr, enabled=shown) as progress:
        found = find_job(job, source=source, output=output, parameters=_parameters(options.pop("parameters")))
        return run_to_a_stop(
            require_source(found, job),
            program=found.program,
            reference=found.reference,
            parameters=found.parameters,
            resume=not options.pop("no_resume"),
            on_event=_without_ending(progress),
            traffic=shown,
            **options,
        )


@contextmanager
def _own_stdout(as_json: bool) -> Iterator[None]:
    """With `--json`, stdout is for the object alone: what a job prints, here or in its workers, goes to stderr."""
    if not as_json:
        yield
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _without_ending(progress: Any) -> Any:
    """The progress without the error that ends a run, which is told by the command."""
    return lambda event: None if event.kind == "stopped" else progress(event)


def _run_summary(finished: Any) -> dict[str, Any]:
    return {
        "run": finished.id,
        "dataset": finished.output,
        "version": finished.version,
        "path": finished.path,
        "status": finished.status,
        **({} if finished.reason is None else {"reason": finished.reason}),
        "statistics": finished.statistics,
        "sample_records": finished.head(10).to_pylist(),
    }


@dataflow.command()
@click.argument("job")
@click.option("--source", help="Another source than the job's.")
@CATALOG
@SET
@JSON
def explain(job: str, source: str | None, catalog: str, parameters: tuple[str, ...], as_json: bool) -> None:
    """Show what of JOB runs beside what, and why."""
    from dataclasses import asdict

    from dataflow.wiring.explaining import explain as explain_job
    from dataflow.wiring.jobs import find_job

    with _own_stdout(as_json):
        found = find_job(job, source=source, parameters=_parameters(parameters))
        explanation = explain_job(found.job.pipeline, found.job.source, catalog=catalog)
    if as_json:
        _print_json(asdict(explanation))
    else:
        click.echo(str(explanation))


@dataflow.command()
@click.argument("job")
@click.option("-n", "size", type=click.IntRange(1), default=20, show_default=True, help="Records.")
@click.option("--source", help="Another source than the job's.")
@CATALOG
@SET
@click.option("--env-file", type=click.Path(), help="A file of NAME=value lines with secrets.")
@JSON
def sample(
    job: str,
    size: int,
    source: str | None,
    catalog: str,
    parameters: tuple[str, ...],
    env_file: str | None,
    as_json: bool,
) -> None:
    """Run a few real records of JOB and show what became of each; nothing is published."""
    _read_env(env_file)
    from dataflow.wiring.jobs import find_job, require_source
    from dataflow.wiring.trial import sample as sample_job

    with _own_stdout(as_json):
        found = find_job(job, source=source, parameters=_parameters(parameters))
        trial = sample_job(found.job.pipeline, require_source(found, job).source, n=size, catalog=catalog)
    if as_json:
        _print_json(trial.to_dict())
    else:
        click.echo(str(trial))


@dataflow.command()
@click.argument("source")
@click.option("--output", "path", type=click.Path(dir_okay=False), help="The job file to write; default: stdout.")
def new(source: str, path: str | None) -> None:
    """Write a job file from the columns of SOURCE, to be edited."""
    from dataflow.faces.drafts import draft_job
    from dataflow.wiring.explaining import source_columns

    text = draft_job(source_columns(source), source=source, name=Path(source).stem)
    if path is None:
        click.echo(text, nl=False)
    elif Path(path).exists():
        raise DeclarationError(f"{path} exists already; choose another --output")
    else:
        Path(path).write_text(text)
        click.echo(f"wrote {path}; next: dataflow explain {path}", err=True)


@dataflow.command()
@CATALOG
@JSON
def datasets(catalog: str, as_json: bool) -> None:
    """List the datasets of the catalog."""
    from dataclasses import asdict

    from dataflow.store.catalog import Catalog

    found = [asdict(one) for one in Catalog(catalog).datasets()]
    _print_rows(found, as_json, empty=f"no datasets in {catalog}")


@dataflow.command()
@click.argument("name")
@CATALOG
@click.option("-n", "size", type=click.IntRange(1), default=10, show_default=True, help="Records to show.")
@JSON
def show(name: str, catalog: str, size: int, as_json: bool) -> None:
    """Show a DATASET, DATASET@vN or RUN: its columns, statistics and first records."""
    from dataflow.wiring.opening import open_dataset

    found = open_dataset(name, catalog=catalog)
    if as_json:
        _print_json({**found.manifest, "statistics": found.statistics, "sample_records": found.head(size).to_pylist()})
        return
    from dataflow.faces.render import dataset_text, statistics_text
    from dataflow.faces.view import view_dataset

    click.echo(dataset_text(view_dataset(found)))
    click.echo(statistics_text(found.statistics))
    _print_rows(found.head(size).to_pylist(), as_json=False, empty="no records")


@dataflow.command()
@click.argument("name")
@click.option("--service", help="Only the failures of this service.")
@click.option("--inputs", is_flag=True, help="With the columns of the source, read again.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@CATALOG
@JSON
def failures(name: str, service: str | None, inputs: bool, as_csv: bool, catalog: str, as_json: bool) -> None:
    """List what went wrong in a RUN or DATASET: failed outcomes, then rejected records."""
    from dataflow.wiring.opening import open_dataset

    found = open_dataset(name, catalog=catalog)
    failed = found.failures(inputs=inputs).to_pylist()
    rejected = [{"status": "rejected", **row} for row in found.rejects(inputs=inputs).to_pylist()]
    rows = [row for row in [*failed, *rejected] if service in (None, row["service"])]
    if as_csv:
        _print_csv(rows)
    else:
        _print_rows(rows, as_json, empty="nothing failed")


@dataflow.command()
@click.argument("dataset")
@click.option("--keep", type=click.IntRange(1), required=True, help="Versions to keep, the newest ones.")
@CATALOG
@JSON
def prune(dataset: str, keep: int, catalog: str, as_json: bool) -> None:
    """Remove old versions of DATASET and the folders of abandoned runs."""
    from dataflow.store.catalog import Catalog

    removed = Catalog(catalog).prune(dataset, keep=keep)
    if as_json:
        _print_json({"removed": removed})
    else:
        click.echo("\n".join(f"removed {one}" for one in removed) or "nothing to remove")


@dataflow.command()
@click.argument("api")
@click.argument("state", type=click.Choice(["open", "closed", "auto"]))
@click.option("--scheduler", metavar="ADDR", help="The address of a Dask scheduler.")
@click.option("--scheduler-file", metavar="FILE", help="The file in which a scheduler left its address.")
@JSON
def breaker(api: str, state: Any, scheduler: str | None, scheduler_file: str | None, as_json: bool) -> None:
    """Hold the breaker of API open (no call starts) or closed, for all runs of a cluster; auto lets it go."""
    from dataflow.wiring.breaker import hold_breaker

    found = hold_breaker(api, state, scheduler=scheduler, scheduler_file=scheduler_file)
    if as_json:
        _print_json({"api": api, "state": state, "status": found})
    else:
        click.echo(f"the breaker of {api} is {'left to itself' if state == 'auto' else f'held {state}'}")


def _parameters(given: tuple[str, ...]) -> dict[str, str]:
    parameters = {}
    for one in given:
        name, equals, text = one.partition("=")
        if not equals or not name:
            raise DeclarationError(f"--set takes KEY=VALUE, not {one!r}")
        parameters[name] = text
    return parameters


def _print_json(value: Any) -> None:
    import msgspec

    click.echo(msgspec.json.encode(value, enc_hook=str).decode())


def _print_rows(rows: list[dict[str, Any]], as_json: bool, *, empty: str) -> None:
    if as_json:
        _print_json(rows)
    elif not rows:
        click.echo(empty)
    else:
        from dataflow.faces.render import table_text

        headers = list(dict.fromkeys(name for row in rows for name in row))
        click.echo(table_text(headers, [[row.get(name) for name in headers] for row in rows]))


def _print_csv(rows: list[dict[str, Any]]) -> None:
    import csv

    headers = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(sys.stdout, fieldnames=headers or ["service"])
    writer.writeheader()
    writer.writerows(rows)
