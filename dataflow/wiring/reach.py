"""Whether the workers of somebody else's cluster see the driver's catalog and source, asked before any work."""

from __future__ import annotations

import socket
import uuid
from typing import Any

from dataflow.errors import CatalogError, DataflowError, SourceError
from dataflow.plan.partitions import SourcePlan
from dataflow.store.commit import RunFolder
from dataflow.store.files import files_at
from dataflow.store.filesystem import open_file


def check_reach(cluster: Any, folder: RunFolder, source: SourcePlan) -> None:
    """Let every worker read back a word that the driver has written to the run, and open one source file.

    Args:
        cluster: With an `on_every_worker`.
        folder: The run; the word is written beside its commits.
        source: The planned source.

    Raises:
        CatalogError: A worker sees another catalog; the message names host and path.
        SourceError: A worker cannot open the source file.
    """
    path, word = folder.path("nonce"), uuid.uuid4().hex
    files_at(folder.root).write(path, word.encode())
    first = source.files[0].path if source.files else None
    answers: dict[str, tuple[str, str | None, str | None]] = cluster.on_every_worker(look, path, word, first)
    for address, (host, catalog, unread) in answers.items():
        where = f"worker {address} on host {host}"
        if catalog is not None:
            raise CatalogError(
                f"{where} does not see the catalog {folder.root} ({catalog}); give --catalog a folder or URL that "
                "driver and workers share"
            )
        if unread is not None:
            raise SourceError(f"{where} cannot open {first} ({unread}); put the source where all workers reach it")


def look(path: str, word: str, source: str | None) -> tuple[str, str | None, str | None]:
    """What a worker sees: its host, what is wrong with the catalog, what is wrong with the source."""
    try:
        found = files_at(path).read(path).decode()
        catalog = None if found == word else "it holds another word than the driver wrote"
    except (OSError, DataflowError) as error:
        catalog = type(error).__name__
    unread = None
    if source is not None:
        try:
            open_file(source).close()
        except (OSError, DataflowError) as error:
            unread = type(error).__name__
    return socket.gethostname(), catalog, unread
