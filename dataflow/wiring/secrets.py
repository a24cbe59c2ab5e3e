"""Sees to it that the processes which call find their secrets, before anything is called.

A secret is looked for where the calls are made first, then here; its value crosses a network only under TLS. What
else an open connection means is said here too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dataflow.errors import ClusterError, DeclarationError
from dataflow.plan.graph import Graph
from dataflow.services.auth import is_loopback
from dataflow.services.context import is_set
from dataflow.services.service import Service

if TYPE_CHECKING:
    from dataflow.engine.cluster import Cluster


def secrets_of(services: Iterable[Service]) -> tuple[str, ...]:
    """The names of the secrets that the APIs of services need, each once."""
    apis = [service.api for service in services if service.api is not None]
    return tuple(dict.fromkeys(name for api in apis if api.auth is not None for name in api.auth.secrets))


def require_secrets(graph: Graph) -> None:
    """Refuse to begin where a secret is not set in this process, which makes the calls.

    Raises:
        DeclarationError: It names the missing ones.
    """
    missing = unset(secrets_of(step.service for step in graph.every))
    if missing:
        raise DeclarationError(f"not set in the environment: {', '.join(missing)}; set them, or give --env-file FILE")


def secrets_to_send(services: Iterable[Service], cluster: Cluster) -> dict[str, str]:
    """The secrets that are sent to the workers of a cluster, by name; where a worker has its own, that one counts.

    All that are set here are sent over a private connection, since workers may join later.

    Raises:
        DeclarationError: One of them is set neither there nor here.
        ClusterError: The connection is open to whoever listens.
    """
    names = secrets_of(services)
    if not names:
        return {}
    lacking = {name for found in cluster.on_every_worker(unset, names).values() for name in found}
    missing = unset(tuple(sorted(lacking)))
    if missing:
        raise DeclarationError(
            f"set neither on the workers nor here: {', '.join(missing)}; set them in one of the two, or give --env-file"
        )
    if lacking and not is_private(cluster.address):
        raise ClusterError(
            f"the workers of {cluster.address} lack {', '.join(sorted(lacking))}, which are not sent over a connection "
            "without TLS; set them in the environment of the workers, or use a scheduler with tls://"
        )
    return {name: os.environ[name] for name in names if os.environ.get(name) and is_private(cluster.address)}


def is_private(address: str) -> bool:
    """Whether nobody else can listen to a connection to this address: it has TLS, or stays on this machine."""
    parts = urlsplit(address)
    return parts.scheme in ("tls", "wss", "inproc") or is_loopback(parts.hostname)


CLOSED = "start scheduler and workers with TLS certificates, or with --host 127.0.0.1 where all are on one machine"
"""What to do about a scheduler that is open to others."""


def danger_of(address: str, *, what: str = "the scheduler") -> str | None:
    """What may come of something that listens at this address, or None where nobody else can use it.

    Args:
        address: Where it listens, or where others connect to it.
        what: A scheduler or a worker: each runs what it is sent.
    """
    if is_private(address):
        return None
    parts = urlsplit(address)
    wild = parts.hostname in ("0.0.0.0", "::", None)
    place = f"port {parts.port} of its host" if wild else parts.netloc
    return f"{what} has no TLS: anyone who reaches {place} can run code on every worker as its user"


def warn_if_open(cluster: Cluster, warn: Callable[[str], None]) -> None:
    """Say what may come of a scheduler that others can reach."""
    # Who connects through a tunnel names another address than the one at which it listens.
    addresses = (cluster.client.scheduler_info(n_workers=0).get("address", cluster.address), cluster.address)
    danger = next((found for one in addresses if (found := danger_of(one)) is not None), None)
    if danger is not None:
        warn(f"{danger}; {CLOSED}")


def read_env_file(path: str | Path) -> None:
    """Set what a file of `NAME=value` lines says in the environment of this process; what is set already stays.

    Raises:
        DeclarationError: It cannot be read, or a line is none of these; the line is named, not shown.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DeclarationError(
            f"{path}: cannot be read as a file of NAME=value lines ({type(error).__name__})"
        ) from None
    for number, line in enumerate(lines, start=1):
        text = line.strip().removeprefix("export ")
        if not text or text.startswith("#"):
            continue
        name, equals, value = text.partition("=")
        if not equals or not name.strip().isidentifier():
            raise DeclarationError(f"{path}, line {number}: is not NAME=value")
        os.environ.setdefault(name.strip(), _unquoted(value.strip()))


def _unquoted(value: str) -> str:
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    return value[1:-1] if quoted else value


def unset(names: tuple[str, ...]) -> list[str]:
    """Those of these names that this process neither has in its environment nor was sent."""
    return [name for name in names if not is_set(name)]
