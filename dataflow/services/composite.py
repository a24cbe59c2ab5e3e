"""Composite services: what all of them have in common, whatever they are made of.

Each kind has a file of its own. How they are run is not known here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from dataflow.services.options import Options
    from dataflow.services.service import Service


class Composite(Protocol):
    """What a composite service is made of."""

    @property
    def members(self) -> tuple[Service, ...]:
        """Every service that it may call, in listed order, each under the name of the composite: `phone.acme`."""

    def named(self, service: Service, name: str) -> Service:
        """The composite service under another name, its members too; the columns that it writes keep theirs."""

    def declare(self, options: Options) -> Service:
        """The composite service under these options.

        Raises:
            DeclarationError: An option does not fit.
        """
