"""Joins the journal of a catalog to the services of a graph that call out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from dataflow.outcomes import Status
from dataflow.plan.graph import Graph
from dataflow.store.commit import RunFolder
from dataflow.store.journal import Entry, Journal, journal_path


class JournalMemory:
    """The journal as the engine sees it.

    Args:
        journal: Where answers are kept.
        since: When the run was started, in seconds since 1970; what is older was paid for by another run.
    """

    def __init__(self, journal: Journal, *, since: float) -> None:
        self._journal = journal
        self._since = since

    def get_many(self, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        """The answers there are."""
        found = self._journal.get_many(keys)
        return {key: entry for key, entry in found.items() if entry.created >= self._since}

    def put_answer(self, key: bytes, *, status: Status, value: bytes, created: float, service: str) -> None:
        """Keep an answer."""
        self._journal.put(key, Entry(status=status, value=value, created=created, service=service))

    def flush(self) -> None:
        """Write what is not written; raises what keeps it from being written."""
        self._journal.flush()

    def close(self) -> None:
        """Write what is not written, and close."""
        self._journal.close()


def open_memory(graph: Graph, folder: RunFolder) -> JournalMemory | None:
    """The journal of a catalog for one run, where a service of the graph has an API; else None.

    Raises:
        StoreError: It cannot be opened.
    """
    if not graph.calls_apis:
        return None
    since = datetime.fromisoformat(folder.head()["started"]).timestamp()
    return JournalMemory(Journal(journal_path(folder.root)), since=since)
