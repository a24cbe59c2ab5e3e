"""Commands that look into the cache of a catalog and empty it."""

from __future__ import annotations

import time

import click

from dataflow.faces.commands.common import CATALOG, JSON, print_json, print_rows


@click.group()
def cache() -> None:
    """Look at the answers that a catalog keeps, or remove them."""


@cache.command()
@CATALOG
@JSON
def stats(catalog: str, as_json: bool) -> None:
    """List what is kept of each service and definition, and what it has cost."""
    from dataclasses import asdict

    from dataflow.store.cache.keeping import holdings

    found = holdings(catalog, warn=lambda problem: click.echo(f"warning: {problem}", err=True))
    print_rows([asdict(one) for one in found], as_json, empty=f"no answers are kept in {catalog}")


@cache.command()
@click.option("--service", help="Only the answers of this service.")
@click.option("--older", metavar="DURATION", help='Only answers older than "30d", "12h", ...')
@click.option("--version", help="Only the answers of this version of a service.")
@CATALOG
@JSON
def purge(service: str | None, older: str | None, version: str | None, catalog: str, as_json: bool) -> None:
    """Remove answers: all, or those that fit all that is given. They are paid for again when they are asked for."""
    from dataclasses import asdict

    from dataflow.services.units import seconds
    from dataflow.store.cache.keeping import purge as purge_answers

    before = None if older is None else time.time() - seconds(older, where="--older")
    purged = purge_answers(catalog, service=service, version=version, before=before)
    if as_json:
        print_json(asdict(purged))
    else:
        click.echo(f"removed {purged.answers:,} answers, {purged.segments:,} segments")
