"""What no pipeline and no job may say, whatever their source is: refused while declaring, with the likely question.

Pure; what needs the columns of a source is checked when a pipeline is bound.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from dataflow.errors import DeclarationError
from dataflow.services.prices import currency_of
from dataflow.services.service import Service
from dataflow.services.signature import REQUIRED


def check_pipeline(name: str, services: Sequence[Service], invalid: str) -> None:
    """Refuse what cannot run whatever the source is.

    Raises:
        DeclarationError: Something is no service, two share a name, or a column is read before it is written.
    """
    if not isinstance(name, str) or not name:
        raise DeclarationError("a pipeline needs a name: Pipeline('leads', [...])")
    if invalid not in ("keep", "reject"):
        raise DeclarationError(f'pipeline `{name}`: invalid takes "keep" or "reject"')
    seen: set[str] = set()
    for service in services:
        if not isinstance(service, Service):
            raise DeclarationError(
                f"pipeline `{name}` lists {getattr(service, '__name__', repr(type(service)))}, which is no service; "
                "declare it with @flow.transformation, @flow.validation or @flow.enrichment"
            )
        if service.name in seen:
            raise DeclarationError(f"pipeline `{name}` lists two services called `{service.name}`; use with_(name=...)")
        seen.add(service.name)
    if not services:
        raise DeclarationError(f"pipeline `{name}` lists no service")
    currency_of({one.name: one.policy.price for service in services for one in service.every})
    _check_order(services)


def _check_order(services: Sequence[Service]) -> None:
    """Refuse a column that is read before it is made, unless it is one of the source's that is only rewritten later."""
    written: set[str] = set()
    origins = _origins(services)
    for at, service in enumerate(services):
        for later in services[at + 1 :]:
            made = {output.column for output in later.outputs if later.policy.overwrite != "nulls"}
            early = sorted((_required(service) & made) - written - origins[later.name])
            if early:
                by = "" if later.name == early[0] else f" written by `{later.name}`, which is"
                raise DeclarationError(
                    f"`{service.name}` reads `{early[0]}`, which nothing before it provides; "
                    f"`{early[0]}` is{by} listed after it"
                )
        written |= {output.column for output in service.outputs}


def _required(service: Service) -> set[str]:
    """The columns that a service cannot do without."""
    return {
        column
        for parameter in service.parameters
        for column in parameter.columns
        if parameter.default is REQUIRED and column not in parameter.field_defaults()
    }


def _origins(services: Sequence[Service]) -> dict[str, set[str]]:
    """For each service, every column that it reads, and what those before it made these of."""
    made_of: dict[str, set[str]] = {}
    origins: dict[str, set[str]] = {}
    for service in services:
        read = {column for parameter in service.parameters for column in parameter.columns}
        origins[service.name] = read.union(*(made_of.get(column, set()) for column in read))
        for output in service.outputs:
            made_of[output.column] = origins[service.name] | made_of.get(output.column, set())
    return origins


def check_key_names(key: Any) -> None:
    """Refuse a key that is no column, or that names one twice.

    Raises:
        DeclarationError: It is neither a text nor a list of different texts.
    """
    names = [key] if key is None or isinstance(key, str) else list(key) if isinstance(key, Sequence) else [key]
    if key is not None and (not names or not all(isinstance(name, str) and name for name in names)):
        raise DeclarationError(f"key takes the name of a column or a list of names, not {key!r}")
    if len(set(names)) < len(names):
        raise DeclarationError(f"the key names a column twice: {', '.join(map(str, names))}")


def check_dataset_name(name: str) -> None:
    """Refuse a dataset name that could not be a folder on every file system.

    Raises:
        DeclarationError: It is empty, starts with `_` or `.`, or holds other than ASCII letters, digits, `_`, `-`, `.`.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise DeclarationError(f"{name!r} is no name for a dataset; use letters, digits, '.', '_' and '-'")


def check_environ(names: Any) -> tuple[str, ...]:
    """Names of environment variables, each once.

    Raises:
        DeclarationError: They are none.
    """
    listed = None if isinstance(names, str) or not isinstance(names, Iterable) else list(names)
    if listed is None or not all(isinstance(name, str) and name and "=" not in name for name in listed):
        raise DeclarationError("environ takes a list of names of environment variables: environ=['ACME_URL']")
    return tuple(dict.fromkeys(listed))
