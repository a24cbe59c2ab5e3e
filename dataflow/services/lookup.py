"""Lookups: a join to reference data as a service.

The table is named here and read elsewhere; its columns are known when a pipeline is planned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Unpack

from dataflow.errors import DeclarationError
from dataflow.outcomes import Kind
from dataflow.services.contract import check_cache, check_name, check_price
from dataflow.services.options import Options, check_options, read_policy
from dataflow.services.service import Service
from dataflow.services.signature import Form, Parameter


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """The reference data of a lookup.

    Attributes:
        table: A path or URL of Parquet, CSV or JSON lines, a dataset's path, or an Arrow or pandas table.
        on: Record column to table column, in order.
        select: The table columns to add, or None for all but the keys.
    """

    table: Any
    on: Mapping[str, str]
    select: tuple[str, ...] | None

    def declare(self, options: Options) -> Service:
        """The service that joins to this table.

        Raises:
            DeclarationError: An option does not fit.
        """
        name = options["name"]
        check_name(name)
        check_options(options, name=name)
        service = Service(
            name=name,
            kind=Kind.ENRICHMENT,
            form=Form.LOOKUP,
            parameters=tuple(Parameter(name=column, columns=(column,)) for column in self.on),
            outputs=(),
            returns=None,
            policy=read_policy(options, kind=Kind.ENRICHMENT, name=name),
            function=None,
            options=options,
            lookup=self,
        )
        check_price(service)
        check_cache(service)
        return service


def lookup(
    name: str,
    /,
    *,
    table: Any,
    on: str | Sequence[str] | Mapping[str, str],
    select: Sequence[str] | None = None,
    **options: Unpack[Options],
) -> Service:
    """Declare an enrichment that joins records to a table of reference data.

    A record without a match is `not_found` and gets nulls. A key that the table holds twice is refused when
    planned, since one record would become two.

    Args:
        name: The name of the service.
        table: A path or URL (`.parquet`, `.csv`, `.jsonl`, also compressed), or an Arrow or pandas table.
        on: The key: a column of both sides, several, or {record column: table column}.
        select: The columns to add; all but the keys by default.
        **options: As for every service; `columns=` renames what is added, `into=` puts it into one struct column.

    Raises:
        DeclarationError: `on` names no column, or an option does not fit.
    """
    if isinstance(on, str):
        keys: dict[str, str] = {on: on}
    elif isinstance(on, Mapping):
        keys = dict(on)
    else:
        keys = {column: column for column in on}
    if not keys:
        raise DeclarationError(f"`{name}`: on= names no column to join by")
    chosen = None if select is None else tuple(select)
    named: Options = {**options, "name": name}
    return Lookup(table=table, on=keys, select=chosen).declare(named)
