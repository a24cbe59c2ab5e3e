"""`for_each`: a sub-pipeline for every item of a list column, as a service.

An inert value: how items become records, and their results a list again, is decided in `plan` and done by the engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypedDict, Unpack

import pyarrow as pa

from dataflow.errors import DeclarationError
from dataflow.outcomes import Kind
from dataflow.services.composite import check_listed, check_taken
from dataflow.services.contract import Output, check_name
from dataflow.services.options import Options, read_policy
from dataflow.services.service import Service
from dataflow.services.signature import Form, Parameter
from dataflow.services.types import ANYTHING, Declared

LIST = Declared(text="a list", arrow=None)
"""What the column of the items holds where nothing inside declares an item; a record whose list is null is skipped."""

_TAKES = ("name", "into", "publish", "when", "priority", "default", "required", "overwrite", "version")


class EachOptions(TypedDict, total=False):
    """The options of `for_each`; for the others see the services inside.

    Attributes:
        name: Default: the column that it writes.
        into: The column that it writes. Default: its name.
        when: As for every service.
        priority: What a lost item means for its record: `important` by default, as for all enrichments.
        default: What the column gets where an item was lost; without it, the list with null in the place of that item.
        required: A null list rejects the record, instead of being skipped.
        overwrite: As for every enrichment.
        publish: As for every service.
        version: As for every service.
    """

    name: str
    into: str
    when: str
    priority: Literal["critical", "important", "optional"]
    default: Any
    required: bool
    overwrite: Literal["never", "always", "nulls"]
    publish: bool
    version: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ForEach:
    """What is done for every item of a list column.

    Attributes:
        column: The list column.
        item: The column under which the services inside see an item.
        services: They, as their author gave them.
        members: They under the name of the whole: `content.generate`.
    """

    column: str
    item: str
    services: tuple[Service, ...]
    members: tuple[Service, ...] = ()

    def declare(self, options: Options) -> Service:
        """The service that does it.

        Raises:
            DeclarationError: An option does not fit.
        """
        name = _name(options, self.column)
        check_taken(options, name=name, what="for_each", takes=_TAKES)
        _check_services(self.services, name=name)
        named: Options = {**options, "name": name, "into": options.get("into", name)}
        members = tuple(one.named(f"{name}.{one.name}") for one in self.services)
        return Service(
            name=name,
            kind=Kind.ENRICHMENT,
            form=Form.EACH,
            parameters=(
                Parameter(name=self.column, columns=(self.column,), declared=self.lists),
                *(Parameter(name=column, columns=(column,), declared=ANYTHING, default=None) for column in self.asks),
            ),
            outputs=(Output(column=named["into"], declared=None),),
            returns=None,
            policy=read_policy(named, kind=Kind.ENRICHMENT, name=name),
            function=None,
            options=named,
            composite=replace(self, members=members),
        )

    def named(self, service: Service, name: str) -> Service:
        """The `for_each` under another name; its column keeps its own."""
        return self.declare({**service.options, "name": name})

    @property
    def lists(self) -> Declared:
        """What the column of the items holds, as far as the first service that reads an item declares it."""
        for service in self.services:
            for parameter in service.parameters:
                if parameter.columns == (self.item,) and parameter.declared.arrow is not None:
                    declared = parameter.declared
                    return Declared(text=f"list[{declared.text}]", arrow=pa.list_(declared.arrow))
        return LIST

    @property
    def asks(self) -> tuple[str, ...]:
        """The columns that the services inside may need of the record: what none of them has written before."""
        written, found = {self.item}, dict[str, None]()
        for service in self.services:
            when = service.policy.when
            read = [column for parameter in service.parameters for column in parameter.columns]
            read += [when.column] if when is not None and when.column else []
            found |= dict.fromkeys(column for column in read if column not in written)
            written |= {output.column for output in service.outputs}
        return tuple(found)


def for_each(
    column: str, services: Iterable[Service], /, *, item: str = "item", **options: Unpack[EachOptions]
) -> Service:
    """Declare a sub-pipeline that runs for every item of a list column; its results are a list of structs, in order.

    The services inside see an item as the column `item`, the fields of a struct as columns of their own, and all
    columns of the record. They follow each other as in a pipeline, for each item by itself. What reads nothing of an
    item, nor of what came of one, is called once for each record. A struct holds the item, what the services have
    written, with validations `is_valid` and `validations`, and with enrichments `completeness` and `degraded`, as a
    record would.

    Priorities hold for each item: where a critical service fails, the item is lost: null in its place, and the whole
    has failed for that record, whose other items are kept. Where an important one fails, item and record are
    degraded. A null list is skipped, an empty one has an empty list of results.

    Args:
        column: A column of lists.
        services: In reading order.
        item: What an item is called inside.
        **options: See `EachOptions`; one of `into=` and `name=` is needed.

    Raises:
        DeclarationError: An option does not fit, or a service inside cannot be called for items.
    """
    if not isinstance(column, str) or not column:
        raise DeclarationError(f"for_each takes the name of a list column, not {column!r}")
    listed = tuple(services)
    return ForEach(column=column, item=item, services=listed).declare(dict(options))  # type: ignore[arg-type]


def _name(options: Options, column: str) -> str:
    name = options.get("name", options.get("into"))
    if name is None:
        raise DeclarationError(f"for_each over `{column}` needs into=, the column of its results")
    check_name(name)
    return name


def _check_services(services: Sequence[Service], *, name: str) -> None:
    check_listed(services, name=name, shown="for_each(column, [first, second], into=...)")
    for one in (one for service in services for one in service.every):
        if not one.repeatable:
            raise DeclarationError(
                f"`{one.name}` has idempotent=False, and what is sent only once is noted by record, not by item of "
                f"`{name}`: declare it as a POST without idempotent=; it sends an Idempotency-Key, or put it outside"
            )
