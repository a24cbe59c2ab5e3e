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
        since: Since when answers serve the run, in seconds since 1970: since it was started, or since that one was
            which was published as it is and left it something to do.
    """

    def __init__(self, journal: Journal, *, since: float) -> None:
        self._journal = journal
        self._since = since

    def get_many(self, keys: Sequence[bytes], *, service: str) -> dict[bytes, Entry]:
        """The answers of a service that serve the run."""
        found = self._journal.get_many(keys)
        return {key: entry for key, entry in found.items() if entry.created >= self._since}

    def put_answer(
        self, key: bytes, *, status: Status, value: bytes, created: float, service: str, cost: float
    ) -> None:
        """Keep an answer."""
        self._journal.put(key, Entry(status=status, value=value, created=created, service=service, cost=cost))

    def flush(self) -> None:
        """Write what is not written; raises what keeps it from being written."""
        self._journal.flush()

    def close(self) -> None:
        """Write what is not written, and close."""
        self._journal.close()


def answers_since(folder: RunFolder) -> str:
    """Since when what was paid for serves a run, as ISO text in UTC."""
    head = folder.head()
    return str(head.get("answers_since", head["started"]))


def open_memory(graph: Graph, folder: RunFolder) -> JournalMemory | None:
    """The journal of a catalog for one run, where a service of the graph has an API; else None.

    Raises:
        StoreError: It cannot be opened.
    """
    if not graph.calls_apis:
        return None
    since = datetime.fromisoformat(answers_since(folder)).timestamp()
    return JournalMemory(Journal(journal_path(folder.root)), since=since)
