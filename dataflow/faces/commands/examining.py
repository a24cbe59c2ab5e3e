"""The command that looks at everything a run would need."""

from __future__ import annotations

import click

from dataflow.faces.commands.common import (
    CATALOG,
    ENV_FILE,
    JSON,
    SCHEDULER,
    SCHEDULER_FILE,
    SET,
    own_stdout,
    parameters_of,
    print_json,
    read_env,
)


@click.command()
@click.argument("job", required=False)
@CATALOG
@SCHEDULER
@SCHEDULER_FILE
@SET
@ENV_FILE
@JSON
def doctor(
    job: str | None,
    catalog: str,
    scheduler: str | None,
    scheduler_file: str | None,
    parameters: tuple[str, ...],
    env_file: str | None,
    as_json: bool,
) -> None:
    """Look at what a run needs: versions, cluster, catalog, and of JOB its source, APIs and secrets.

    Nothing is changed, and no service is called: an API gets one request without a secret. Exit codes: 0 no problem,
    1 a problem, 2 JOB does not load, 75 the cluster does not answer.
    """
    read_env(env_file)
    from dataflow.wiring.doctor.examination import Subject, examine
    from dataflow.wiring.doctor.findings import exit_code

    with own_stdout(as_json):
        subject = Subject(
            job=job,
            catalog=catalog,
            scheduler=scheduler,
            scheduler_file=scheduler_file,
            parameters=parameters_of(parameters),
        )
        findings = examine(subject)
    code = exit_code(findings)
    if as_json:
        print_json({"findings": [one.to_dict() for one in findings], "ok": code == 0})
    else:
        click.echo("\n".join(map(str, findings)))
    if code:
        raise click.exceptions.Exit(code)
