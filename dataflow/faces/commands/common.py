"""What commands share: options, secrets, and how an answer is printed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any

import click

from dataflow.errors import DeclarationError

CATALOG = click.option("--catalog", default="datasets", show_default=True, help="Folder or URL of the datasets.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout and nothing else there.")
SET = click.option("--set", "parameters", multiple=True, metavar="KEY=VALUE", help="A parameter of the job's function.")
ENV_FILE = click.option("--env-file", type=click.Path(), help="A file of NAME=value lines with secrets.")

SCHEDULER = click.option("--scheduler", metavar="ADDR", help="The address of a Dask scheduler.")
SCHEDULER_FILE = click.option(
    "--scheduler-file", metavar="FILE", help="The file in which a scheduler left its address."
)
SOURCE = click.option("--source", help="Another source than the job's: a path, glob, URL or dataset.")
OUTPUT = click.option("--output", help="Another output dataset than the job's.")

_WHERE = (
    SCHEDULER,
    SCHEDULER_FILE,
    click.option(
        "--cluster",
        metavar="MODULE:CALLABLE",
        help="A function, also FILE.py:NAME, that makes a cluster object; it is closed at the end.",
    ),
    click.option("--workers", type=click.IntRange(1), help="Worker processes to start here, or in --cluster."),
    click.option("--adapt", metavar="MIN:MAX", help="Let --cluster have as many workers as there is work for."),
    click.option("--threads", type=click.IntRange(1), help="Threads of each worker process that starts here."),
)


PARTITION_SIZE = click.option(
    "--partition-size",
    metavar="SIZE",
    help='Records of a partition, or its bytes such as "64MiB", whatever the job says.',
)

_HOW = (
    PARTITION_SIZE,
    click.option(
        "--limit",
        type=click.IntRange(1),
        metavar="N",
        help="Run only the first N records; never the `latest` version beside a whole one.",
    ),
    SET,
    click.option(
        "--environ",
        multiple=True,
        metavar="NAME",
        help="Give the job file this variable's value here wherever it is loaded, as on workers; no secrets.",
    ),
    click.option("--no-resume", is_flag=True, help="Start anew, even where an unfinished run could go on."),
    click.option(
        "--incremental/--no-incremental",
        default=None,
        help="Take over what would be the same from the newest version, instead of what the job says.",
    ),
    click.option("--if-changed", is_flag=True, help="Do nothing where a run would give the newest version again."),
    click.option("--recall", multiple=True, metavar="SERVICE", help="Call SERVICE again, whatever the cache holds."),
    click.option(
        "--keep-sent", multiple=True, metavar="SERVICE", help="What SERVICE sent before it was changed counts as sent."
    ),
    click.option(
        "--send-again", multiple=True, metavar="SERVICE", help="Send all records of SERVICE again, sent or not."
    ),
    click.option(
        "--deadline",
        metavar="DURATION",
        callback=lambda context, option, value: float(value) if value and value.isdecimal() else value,
        help='End cleanly after "90s", "2h", ... instead of the job\'s own deadline; exit code 4.',
    ),
    click.option(
        "--budget",
        type=click.FloatRange(0),
        metavar="MONEY",
        help="Spend no more on paid services in this run, instead of the job's own budget; exit code 4.",
    ),
    ENV_FILE,
    click.option("--profile", is_flag=True, help="Estimate the distinct values of each column."),
)


def where(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say who runs the partitions."""
    return _with(_WHERE, command)


def how(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say how a job is run, wherever it is."""
    return _with(_HOW, command)


def _with(options: Sequence[Callable[..., Any]], command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(options):
        command = option(command)
    return command


def read_env(env_file: str | None) -> None:
    """Let the secrets of a file stand beside those of the environment."""
    if env_file is not None:
        from dataflow.wiring.secrets import read_env_file

        read_env_file(env_file)


@contextmanager
def own_stdout(as_json: bool) -> Iterator[None]:
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


def parameters_of(given: tuple[str, ...]) -> dict[str, str]:
    """What `--set KEY=VALUE` says."""
    parameters = {}
    for one in given:
        name, equals, text = one.partition("=")
        if not equals or not name:
            raise DeclarationError(f"--set takes KEY=VALUE, not {one!r}")
        parameters[name] = text
    return parameters


def print_json(value: Any) -> None:
    """Print a value as one line of JSON."""
    import msgspec

    click.echo(msgspec.json.encode(value, enc_hook=str).decode())


def print_rows(rows: list[dict[str, Any]], as_json: bool, *, empty: str) -> None:
    """Print rows as a table or as JSON; `empty` is what is said where there are none."""
    if as_json:
        print_json(rows)
    elif not rows:
        click.echo(empty)
    else:
        from dataflow.faces.render import table_text

        headers = list(dict.fromkeys(name for row in rows for name in row))
        click.echo(table_text(headers, [[row.get(name) for name in headers] for row in rows]))


def print_csv(rows: list[dict[str, Any]]) -> None:
    """Print rows as CSV."""
    import csv

    headers = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(sys.stdout, fieldnames=headers or ["service"])
    writer.writeheader()
    writer.writerows(rows)
