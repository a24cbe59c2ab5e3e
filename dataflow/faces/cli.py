"""The command line: reads arguments, calls the wiring, prints, and turns errors into exit codes.

The commands themselves are in `commands`, a file for each group; one is imported when it is asked for, and everything
heavy by the command that needs it, so that `--help` answers at once.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
from typing import Any

import click

from dataflow.errors import DataflowError

_HOMES = {
    "breaker": "steering",
    "cancel": "submitting",
    "cache": "caching",
    "dashboard": "watching",
    "datasets": "reading",
    "doctor": "examining",
    "explain": "trying",
    "failures": "reading",
    "logs": "submitting",
    "new": "trying",
    "prune": "reading",
    "publish": "running",
    "quote": "pricing",
    "repair": "repairing",
    "run": "running",
    "runs": "submitting",
    "sample": "trying",
    "show": "reading",
    "status": "submitting",
    "submit": "submitting",
    "why": "repairing",
}
"""The file in `commands` where each command is."""


class Commands(click.Group):
    """The commands, as `dataflow` and as `dask dataflow`: an error is one line on stderr and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names, in the order of the alphabet."""
        return sorted(_HOMES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name, or None."""
        home = _HOMES.get(cmd_name)
        if home is None:
            return None
        found: click.Command = getattr(importlib.import_module(f"dataflow.faces.commands.{home}"), cmd_name)
        return found

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was named."""
        try:
            if asked := os.environ.get("DATAFLOW_LOG"):
                _start_logging(asked)
            return super().invoke(ctx)
        except DataflowError as error:
            click.echo(f"{type(error).__name__}: {error}", err=True)
            raise click.exceptions.Exit(error.exit_code) from error
        except KeyboardInterrupt as error:
            click.echo("interrupted; run the same command again to go on", err=True)
            raise click.exceptions.Exit(5) from error


def _start_logging(asked: str) -> None:
    from dataflow.telemetry.logs import start_logging

    start_logging(asked)


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
