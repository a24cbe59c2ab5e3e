"""The command that tells the price of a job before it is run."""

from __future__ import annotations

import click

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
@click.option(
    "--sample",
    "size",
    type=click.IntRange(1),
    metavar="N",
    help="Run N records first, which is paid for and kept in the cache, to know how services answer.",
)
@click.option("--source", help="Another source than the job's.")
@PARTITION_SIZE
@CATALOG
@SET
@ENV_FILE
@JSON
def quote(
    job: str,
    size: int | None,
    source: str | None,
    partition_size: str | None,
    catalog: str,
    parameters: tuple[str, ...],
    env_file: str | None,
    as_json: bool,
) -> None:
    """Tell what a run of JOB would call, cost and take; without --sample, nothing is called for that."""
    read_env(env_file)
    from dataflow.wiring.jobs import find_job, require_source
    from dataflow.wiring.quoting import quote_job

    with own_stdout(as_json):
        found = find_job(job, source=source, parameters=parameters_of(parameters))
        quoted = quote_job(require_source(found, job), catalog=catalog, sample=size, partition_size=partition_size)
    if as_json:
        print_json(quoted.to_dict())
    else:
        click.echo(str(quoted))
