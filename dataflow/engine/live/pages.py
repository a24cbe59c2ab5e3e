"""The pages of the boards on the HTTP server of a scheduler: internal ways of Dask, each tried and none relied on.

Drawn is by a module that is named, since the faces stand above the engine.
"""

from __future__ import annotations

import importlib
import json
import secrets
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tornado.web import RequestHandler

if TYPE_CHECKING:
    from dataflow.engine.live.scheduler import LivePlugin

HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}
"""What every answer says, whoever serves the page."""


def add_pages(plugin: LivePlugin) -> None:
    """Serve `/dataflow`, `/dataflow/panels` and `/dataflow.json` beside the pages of the scheduler, at any prefix."""
    given = {"plugin": plugin}
    plugin.scheduler.http_application.add_handlers(
        r".*",
        [
            (r"(?:/.*)?/(?:individual-)?dataflow", Page, given),
            (r"(?:/.*)?/dataflow/panels", Panels, given),
            (r"(?:/.*)?/dataflow\.json", Boards, given),
        ],
    )
    with suppress(Exception):
        _add_link(plugin.scheduler)


def _add_link(scheduler: Any) -> None:
    """Put the page into the navigation bar of the scheduler's own pages, where Bokeh serves them."""
    if "distributed.dashboard.scheduler" not in sys.modules:
        return
    from distributed.dashboard.scheduler import template_variables

    variables = template_variables(scheduler)
    if "dataflow" not in variables["pages"]:
        variables["pages"].append("dataflow")
        variables["plots"].append({"url": "individual-dataflow", "name": "Dataflow"})


class _Drawn(RequestHandler):
    """What the pages have in common."""

    def initialize(self, plugin: LivePlugin) -> None:
        self.plugin = plugin

    def set_default_headers(self) -> None:
        for name, value in HEADERS.items():
            self.set_header(name, value)

    @property
    def faces(self) -> Any:
        return importlib.import_module(self.plugin.pages)

    @property
    def boards(self) -> dict[str, tuple[bytes, float]]:
        told = self.plugin.boards.told()
        return {run: (entry.board, self.plugin.heard_ago(run)) for run, entry in told.items()}


class Page(_Drawn):
    """The document."""

    def get(self) -> None:
        nonce = secrets.token_urlsafe(16)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Content-Security-Policy", self.faces.policy(nonce))
        self.write(self.faces.page(self.boards, run=self.get_query_argument("run", None), nonce=nonce))


class Panels(_Drawn):
    """What has changed on it since the browser has looked last."""

    def get(self) -> None:
        run, boards = self.get_query_argument("run", None), self.boards
        if self.get_query_argument("seen", "") == self.faces.seen(boards, run=run):
            self.set_status(204)
            return
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.write(json.dumps(self.faces.panels(boards, run=run)))


class Boards(_Drawn):
    """All boards as JSON, for machines: by run, with the seconds since its driver was heard."""

    def get(self) -> None:
        runs = self.faces.values(self.boards)
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.write(json.dumps({"runs": runs, "apis": self.plugin.apis()}))
