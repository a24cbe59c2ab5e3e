"""Commands about what went wrong: try it again, and tell what became of one record."""

from __future__ import annotations

import sys
from typing import Any

import click

from dataflow.faces.commands.common import CATALOG, JSON, own_stdout, print_json, read_env, where


@click.command()
@click.argument("run")
@click.option("--service", help="Only the failures of this service; those of others stay without a call.")
@CATALOG
@where
@click.option("--env-file", type=click.Path(), help="A file of NAME=value lines with secrets.")
@click.option("--no-progress", is_flag=True, help="Show no progress on stderr.")
@JSON
def repair(
    run: str, service: str | None, env_file: str | None, no_progress: bool, as_json: bool, **options: Any
) -> None:
    """Try again what failed in RUN, and publish it with all that was good as a new version.

    Only what failed is called; everything else is carried over or answers from what is remembered. RUN is the id of a
    published run, `latest`, or a DATASET or DATASET@vN. Give the command in the folder in which the run was started.
    """
    read_env(env_file)
    from dataflow.faces.commands.running import print_run, without_ending
    from dataflow.faces.progress import progress_for
    from dataflow.wiring.repairing import repair_run

    with own_stdout(as_json), progress_for(sys.stderr, enabled=not (no_progress or as_json)) as progress:
        finished = repair_run(run, service=service, on_event=without_ending(progress), **options)
    print_run(finished, as_json)


@click.command()
@click.argument("dataset")
@click.argument("key")
@click.option("--version", type=click.IntRange(1), help="Another version than the newest.")
@CATALOG
@click.option("--env-file", type=click.Path(), help="A file of NAME=value lines that the job reads.")
@JSON
@click.pass_context
def why(
    ctx: click.Context,
    dataset: str,
    key: str,
    *,
    version: int | None,
    catalog: str,
    env_file: str | None,
    as_json: bool,
) -> None:
    """Tell the story of one record of DATASET: where it ended, and what each service did for it. No call is made.

    KEY is the value of the key column; of several `a,b` or `name=value,name=value`; or FILE:ROW of the source. Give
    the command in the folder in which the run was started.
    """
    read_env(env_file)
    from dataflow.wiring import telling

    with own_stdout(as_json):
        story = telling.why(dataset, key, version=version, catalog=catalog)
    if as_json:
        print_json(story.to_dict())
    else:
        click.echo(str(story))
    if story.ended == "nowhere":
        ctx.exit(1)
