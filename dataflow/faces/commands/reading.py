"""Commands that read, or remove, what the catalog holds."""

from __future__ import annotations

from collections import Counter
from typing import Any

import click

from dataflow.faces.commands.common import CATALOG, JSON, print_csv, print_json, print_rows


@click.command()
@CATALOG
@JSON
def datasets(catalog: str, as_json: bool) -> None:
    """List the datasets of the catalog."""
    from dataclasses import asdict

    from dataflow.store.catalog import Catalog

    found = [asdict(one) for one in Catalog(catalog).datasets()]
    print_rows(found, as_json, empty=f"no datasets in {catalog}")


@click.command()
@click.argument("name")
@CATALOG
@click.option("-n", "size", type=click.IntRange(1), default=10, show_default=True, help="Records to show.")
@JSON
def show(name: str, catalog: str, size: int, as_json: bool) -> None:
    """Show a DATASET, DATASET@vN or RUN: its columns, statistics and first records."""
    from dataflow.wiring.opening import open_dataset

    found = open_dataset(name, catalog=catalog)
    if as_json:
        print_json({**found.manifest, "statistics": found.statistics, "sample_records": found.head(size).to_pylist()})
        return
    from dataflow.faces.render import dataset_text, statistics_text
    from dataflow.faces.view import view_dataset

    click.echo(dataset_text(view_dataset(found)))
    click.echo(statistics_text(found.statistics))
    print_rows(found.head(size).to_pylist(), as_json=False, empty="no records")


@click.command()
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
        print_csv(rows)
    else:
        print_rows(rows, as_json, empty="nothing failed")
        for line in () if as_json else _most_frequent(rows):
            click.echo(f"error: {line}")


def _most_frequent(rows: list[dict[str, Any]]) -> list[str]:
    """The texts of errors as a whole, for which a table has no room, the most frequent first."""
    from dataflow.faces.texts import printable
    from dataflow.wiring.saying import MOST, ErrorLine

    counts = Counter((row["service"], row["reason"], row["error"]) for row in rows if row.get("error"))
    return [
        printable(str(ErrorLine(service=service, reason=reason, records=records, error=error)))
        for (service, reason, error), records in counts.most_common(MOST)
    ]


@click.command()
@click.argument("dataset")
@click.option(
    "--keep", type=click.IntRange(1), required=True, help="Versions to keep: the newest ones, and always `latest`."
)
@CATALOG
@JSON
def prune(dataset: str, keep: int, catalog: str, as_json: bool) -> None:
    """Remove old versions of DATASET and the folders of abandoned runs."""
    from dataflow.store.catalog import Catalog

    removed = Catalog(catalog).prune(dataset, keep=keep)
    if as_json:
        print_json({"removed": removed})
    else:
        click.echo("\n".join(f"removed {one}" for one in removed) or "nothing to remove")
