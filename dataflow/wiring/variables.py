"""Which variables of the environment a job file may be given: those that its author names, and no secrets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dataflow.engine import variables
from dataflow.errors import DeclarationError
from dataflow.services.service import Service
from dataflow.wiring.secrets import secrets_of


def read_variables(names: Sequence[str], *, services: Iterable[Service]) -> dict[str, str | None]:
    """The values of named variables, as they are where the run was started.

    Raises:
        DeclarationError: One of them is a secret.
    """
    secrets = set(secrets_of(services))
    if found := [name for name in dict.fromkeys(names) if name in secrets]:
        raise DeclarationError(
            f"environ names {', '.join(found)}, a secret of an API; those travel in another way, take it out"
        )
    return variables.read(dict.fromkeys(names))
