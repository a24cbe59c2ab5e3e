"""Commands that steer what is running."""

from __future__ import annotations

from typing import Any

import click

from dataflow.faces.commands.common import JSON, SCHEDULER, SCHEDULER_FILE, print_json


@click.command()
@click.argument("api")
@click.argument("state", type=click.Choice(["open", "closed", "auto"]))
@SCHEDULER
@SCHEDULER_FILE
@JSON
def breaker(api: str, state: Any, scheduler: str | None, scheduler_file: str | None, as_json: bool) -> None:
    """Hold the breaker of API open (no call starts) or closed, for all runs of a cluster; auto lets it go."""
    from dataflow.wiring.breaker import hold_breaker

    found = hold_breaker(api, state, scheduler=scheduler, scheduler_file=scheduler_file)
    if as_json:
        print_json({"api": api, "state": state, "status": found})
    else:
        click.echo(f"the breaker of {api} is {'left to itself' if state == 'auto' else f'held {state}'}")
