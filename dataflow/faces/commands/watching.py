"""The command that shows the page of a run."""

from __future__ import annotations

import sys
from contextlib import suppress

import click

from dataflow.faces.commands.common import CATALOG


@click.command()
@click.argument("run")
@CATALOG
@click.option("--scheduler", metavar="ADDR", help="The Dask scheduler that knows RUN, instead of the catalog.")
@click.option("--no-open", is_flag=True, help="Only print the address; open no browser.")
def dashboard(run: str, catalog: str, scheduler: str | None, no_open: bool) -> None:
    """Show the live page of RUN, which goes on or has ended.

    The page of its cluster where there is one, else one that this command serves on this machine: until Ctrl-C, or
    until the run has ended and nobody has looked for a minute. RUN is an id, or `latest`.
    """
    from dataflow.wiring.seeing import answering_page, seeing

    with seeing(run, catalog=catalog, scheduler=scheduler) as look:
        page = answering_page(look())
        if page is not None:
            _show(page, no_open=no_open)
            return
        from dataflow.faces.serving import served

        with served(lambda: {(now := look()).run: (now.board, now.heard_ago)}) as server, suppress(KeyboardInterrupt):
            _show(server.address, no_open=no_open)
            server.linger(lambda: look().is_awaited)


def _show(address: str, *, no_open: bool) -> None:
    click.echo(address)
    if sys.stdout.isatty() and not no_open:
        import webbrowser

        webbrowser.open(address)
