"""Finds the boards of runs: on the scheduler of a cluster, or in the folders of a catalog."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from dataflow.engine.cluster import current_client, reached
from dataflow.errors import CatalogError, ClusterError
from dataflow.store.catalog import Catalog, RunRecord
from dataflow.store.commit import RunFolder
from dataflow.store.ledger import RunState
from dataflow.store.live import ask_to_stop, read_board, read_lines
from dataflow.wiring.settings import SCHEDULERS

SILENT = 15.0
"""Seconds after which a driver that has shown nothing is missed: it does once a second, or every ten at a URL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A board and how old it is.

    Attributes:
        board: As `telemetry.board` makes it.
        heard_ago: Seconds since its driver was heard.
    """

    board: Mapping[str, Any]
    heard_ago: float

    @property
    def status(self) -> str:
        """That of the run, or `not heard` where its driver is missed."""
        status: str = self.board["status"]
        return "not heard" if self.heard_ago > SILENT and status in ("running", "stopping") else status


def require_named(scheduler: str | None, scheduler_file: str | None, *, why: str) -> None:
    """Refuse to start a cluster of our own where one of somebody else is meant.

    Raises:
        ClusterError: None is named or current.
    """
    named = scheduler or scheduler_file or current_client() or any(os.environ.get(name) for name in SCHEDULERS)
    if not named:
        raise ClusterError(f"name a cluster with --scheduler or --scheduler-file: {why}")


class Places:
    """Where runs are looked for: a cluster where one is named, else a catalog; closed by `with`.

    Args:
        catalog: Its folder or URL.
        scheduler: The address of a scheduler.
        scheduler_file: The file in which it left its address.
    """

    def __init__(self, catalog: str, *, scheduler: str | None = None, scheduler_file: str | None = None) -> None:
        self._catalog = Catalog(catalog)
        self._scheduler = scheduler
        self._file = scheduler_file
        self._client: Any = None
        self._stack = ExitStack()

    def __enter__(self) -> Places:
        return self

    def __exit__(self, *exception: object) -> None:
        self._client = None
        self._stack.close()

    @property
    def _on_cluster(self) -> bool:
        return bool(self._scheduler or self._file or any(os.environ.get(name) for name in SCHEDULERS))

    def _ask(self, do: str, **given: Any) -> Any:
        from dataflow.engine.live.scheduler import ask

        if self._client is None:
            opened = reached(scheduler=self._scheduler, scheduler_file=self._file)
            self._client = self._stack.enter_context(opened)
        return ask(self._client, do, **given)

    def runs(self) -> list[dict[str, Any]]:
        """All runs, the newest first, as rows of a table."""
        if self._on_cluster:
            told = self._ask("boards").values()
            return [_row(Seen(board=json.loads(one["board"]), heard_ago=one["heard_ago"])) for one in told]
        return [self._recorded(record) for record in self._catalog.runs()]

    def _recorded(self, record: RunRecord) -> dict[str, Any]:
        seen = None
        if record.state is RunState.UNFINISHED:
            seen = self._shown(self._catalog.run(record.id))
        status = str(record.state) if seen is None else seen.status
        return {
            "run": record.id,
            "dataset": record.dataset if record.version is None else f"{record.dataset}@v{record.version}",
            "status": status,
            "partitions": f"{record.committed} of {record.planned}",
            "started": record.started[:19],
            "reason": record.reason,
        }

    def find(self, run: str) -> Seen:
        """The board of a run by its id, or of the newest one for `latest`.

        Raises:
            CatalogError: There is no such run, or it has shown no board.
            ClusterError: The cluster that is named does not answer.
        """
        if self._on_cluster:
            told = self._ask("board", run=run)
            if told is None:
                raise CatalogError(f"the cluster has not heard of run {run!r}; `dataflow runs` lists what it knows")
            return Seen(board=json.loads(told["board"]), heard_ago=told["heard_ago"])
        folder = self._catalog.run(run)
        seen = self._shown(folder)
        if seen is None:
            state = folder.state()
            raise CatalogError(
                f"run {folder.run} of {folder.dataset} is {state.state} and has shown no board: it was over within a "
                f"second, or is older; `dataflow show {folder.run}` shows what it has committed"
            )
        return seen

    def _shown(self, folder: RunFolder) -> Seen | None:
        board = read_board(folder)
        if board is None:
            return None
        values = json.loads(board)
        return Seen(board=values, heard_ago=max(0.0, time.time() - values["at"]))

    def lines(self, run: str) -> Sequence[Mapping[str, Any]]:
        """The log of a run, oldest line first.

        Raises:
            CatalogError: There is no such run.
        """
        if self._on_cluster:
            found = self._ask("lines", run=run)
            if found is None:
                raise CatalogError(f"the cluster has not heard of run {run!r}")
        else:
            found = read_lines(self._catalog.run(run))
        return [json.loads(line) for line in found]

    def cancel(self, run: str) -> str:
        """Ask the driver of a run to stop as the first Ctrl-C does; the id of the run.

        Raises:
            CatalogError: There is no such run, or it has ended.
        """
        if self._on_cluster:
            seen = self.find(run)
            _require_running(seen.board["run"], seen.board["status"])
            self._ask("cancel", run=seen.board["run"])
            found: str = seen.board["run"]
            return found
        folder = self._catalog.run(run)
        if (state := folder.state().state) is not RunState.UNFINISHED:
            _require_running(folder.run, str(state))
        ask_to_stop(folder)
        return folder.run


def _require_running(run: str, status: str) -> None:
    if status not in ("running", "stopping"):
        raise CatalogError(f"run {run} is {status} already")


def _row(seen: Seen) -> dict[str, Any]:
    board = seen.board
    version = "" if board["version"] is None else f"@v{board['version']}"
    return {
        "run": board["run"],
        "dataset": f"{board['dataset']}{version}",
        "status": seen.status,
        "partitions": f"{board['partitions']['done']} of {board['partitions']['planned']}",
        "started": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(board["started"])),
        "reason": board["reason"],
    }
