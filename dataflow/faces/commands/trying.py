"""Commands that look at a job before it is run: its graph, a trial, a draft."""

from __future__ import annotations

from pathlib import Path

import click

from dataflow.errors import DeclarationError
from dataflow.faces.commands.common import (
    CATALOG,
    ENV_FILE,
    JSON,
    PARTITION_SIZE,
    SET,
    own_stdout,
    parameters_of,
    print_json,
    read_env,
)


@click.command()
@click.argument("job")
@click.option("--source", help="Another source than the job's.")
@PARTITION_SIZE
@CATALOG
@SET
@JSON
def explain(
    job: str,
    source: str | None,
    partition_size: str | None,
    catalog: str,
    parameters: tuple[str, ...],
    as_json: bool,
) -> None:
    """Show what of JOB runs beside what, and why; and how many of its first records would be rejected."""
    from dataclasses import asdict

    from dataflow.wiring.explaining import explain as explain_job
    from dataflow.wiring.jobs import find_job

    with own_stdout(as_json):
        found = find_job(job, source=source, parameters=parameters_of(parameters))
        explanation = explain_job(
            found.job.pipeline,
            found.job.source,
            catalog=catalog,
            guardrails=found.job.guardrails,
            partition_size=partition_size,
            of_job=found.job.partition_size,
            parameters=found.parameters,
        )
    if as_json:
        print_json(asdict(explanation))
    else:
        click.echo(str(explanation))


@click.command()
@click.argument("job")
@click.option("-n", "size", type=click.IntRange(1), default=20, show_default=True, help="Records.")
@click.option("--source", help="Another source than the job's.")
@CATALOG
@SET
@ENV_FILE
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
    read_env(env_file)
    from dataflow.wiring.jobs import find_job, require_source
    from dataflow.wiring.trial import sample as sample_job

    with own_stdout(as_json):
        found = find_job(job, source=source, parameters=parameters_of(parameters))
        told = require_source(found, job)
        trial = sample_job(
            told.pipeline,
            told.source,
            n=size,
            catalog=catalog,
            guardrails=told.guardrails,
            error_texts=told.error_texts,
        )
    if as_json:
        print_json(trial.to_dict())
    else:
        click.echo(str(trial))


@click.command()
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
