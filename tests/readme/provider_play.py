"""Runs a row of the README's table of providers: what its code declares, against a real server that behaves like that.

In the code of a row `...` stands for what every declaration has and no reader needs to see there: names, paths and
types. Here it is filled; everything else is taken as it is written.
"""

from __future__ import annotations

import importlib.util
import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest
from provider.serve import Running

import dataflow as flow

ENDS = ("succeeded", "cached", "not_found", "failed", "timed_out", "skipped", "not_attempted")
_numbers = itertools.count()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What `...` stands for in a declaration.

    Attributes:
        path: Of an endpoint.
        options: Of a service, where the row does not give them.
        method: Of the endpoint that a row has which only declares its API.
        base: Added to the url of the server.
        account: Of the API, in place of its defaults, which no test has the time to wait for.
    """

    path: str = "/v2/companies/{domain}"
    options: Mapping[str, Any] = field(
        default_factory=lambda: {"returns": {"title": str | None}, "select": {"title": "name"}}
    )
    method: str = "GET"
    base: str = ""
    account: Mapping[str, Any] = field(default_factory=lambda: {"timeout": 5, "retry": 3})


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What came of a row.

    Attributes:
        run: The run.
        told: What it says of the service.
        seen: What the server counted for it.
        log: The calls as the server got them: [monotonic seconds, path, key, status, headers, end].
    """

    run: flow.Run
    told: Mapping[str, Any]
    seen: Mapping[str, Any]
    log: list[list[Any]]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The records of the output."""
        return self.run.to_arrow().to_pylist()

    @property
    def failures(self) -> list[dict[str, Any]]:
        """What failed."""
        return self.run.failures().to_pylist()


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """How a row is played, and what must come of it.

    Attributes:
        plays: Settings of the provider, as `jobs/provider/settings.py` has them.
        ends: How many records end how, for the service; all others must be none. Nothing where the run is stopped.
        calls: How many the server sees, exactly or within a range.
        domains: The records.
        reason: That of every failure.
        stops: The error that ends the run, or None; `also` is not asked then.
        asks: What `...` stands for.
        around: The function `company` with `CODE` in it, where the code of the row is part of one; it may use `flow`,
            `acme`, `httpx`, and `url`, that of the server.
        path: Under which the server counts the calls.
        also: Looks at what else must be true.
    """

    plays: Mapping[str, Any] = field(default_factory=dict)
    ends: Mapping[str, int] = field(default_factory=dict)
    calls: int | range
    domains: tuple[str, ...] = ("a.example", "b.example", "c.example")
    reason: str = ""
    stops: type[Exception] | None = None
    asks: Ask = Ask()
    around: str = ""
    path: str = "/v2/companies"
    also: Callable[[Played], None] | None = None


def play(row: Row, code: str, *, server: Running, home: Path) -> None:
    """Run the code of a row, and see that what its scenario says comes of it.

    Args:
        row: The scenario.
        code: From the table; empty for a row that asks for nothing.
        server: The provider.
        home: An empty folder.
    """
    server.control(**row.plays)
    server.reset()
    service, settings = declared(row, code, url=server.url, home=home)
    options = {**settings, "output": "out", "key": "domain", "catalog": home / "catalog"}
    pipeline, records = flow.Pipeline("row", [service]), pa.table({"domain": list(row.domains)})
    if row.stops is not None:
        with pytest.raises(row.stops):
            pipeline.run(records, **options)
        _check_calls(row, _seen(server, row.path))
        return
    run = pipeline.run(records, **options)
    told = run.statistics["services"][service.name]
    played = Played(run=run, told=told, seen=_seen(server, row.path), log=server.log())
    ends = {end: told[end] for end in ENDS if told[end]}
    assert ends == dict(row.ends), played.failures
    _check_calls(row, played.seen)
    assert {one["reason"] for one in played.failures} == ({row.reason} if row.reason else set())
    if row.also is not None:
        row.also(played)


def _check_calls(row: Row, seen: Mapping[str, Any]) -> None:
    calls = seen["calls"]
    assert calls in row.calls if isinstance(row.calls, range) else calls == row.calls, calls


def _seen(server: Running, path: str) -> Mapping[str, Any]:
    """What the server counted, once nothing is in flight."""
    deadline = time.monotonic() + 10
    while (counts := server.counts())["in_flight"] and time.monotonic() < deadline:
        time.sleep(0.01)
    line: Mapping[str, Any] = counts["services"][path]
    return line


def declared(row: Row, code: str, *, url: str, home: Path) -> tuple[flow.Service, Mapping[str, Any]]:
    """The service that the code of a row declares, and the options of its run."""
    filled = _Flow(row.asks, url=url + row.asks.base)
    names = {"flow": filled, "acme": filled.acme, "httpx": httpx, "url": url}
    if row.around and code:
        file = home / "row.py"
        file.write_text(row.around.replace("CODE", code))
        spec = importlib.util.spec_from_file_location(f"row{next(_numbers)}", file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        module.__dict__.update(names)
        spec.loader.exec_module(module)
        value = module.company
    else:
        value = eval(code or "flow.API(...)", names)
    if isinstance(value, flow.API):
        return filled.service(value), {}
    return (value, {}) if isinstance(value, flow.Service) else (filled.service(filled.account), value)


class _Flow:
    """The package as the code of a row sees it: `...` is filled, waits between attempts are short."""

    def __init__(self, asks: Ask, *, url: str) -> None:
        self._asks = asks
        self._url = url
        self.account = self.API(...)
        self.acme = _Account(asks, self.account)

    def __getattr__(self, name: str) -> Any:
        return getattr(flow, name)

    def API(self, gap: Any, **options: Any) -> flow.API:
        """An account at the server, under a name that no other row uses, since limits and breakers belong to names."""
        assert gap is ...
        given = {**self._asks.account, **options}
        if isinstance(given["retry"], int):
            given["retry"] = flow.Retry(attempts=given["retry"], initial=0.02, maximum=0.05)
        return flow.API(f"acme{next(_numbers)}", self._url, **given)

    def oauth2_client(self, *secrets: str, token_url: Any) -> Any:
        """The credentials that the server gives tokens for."""
        assert token_url is ...
        return flow.oauth2_client(*secrets, token_url=f"{self._url}/oauth/token")

    def service(self, api: flow.API) -> flow.Service:
        """The endpoint of a row that declares its API only."""
        return api.request("company", self._asks.method, path=self._asks.path, **self._asks.options)

    def llm(self, gap: Any, **options: Any) -> flow.Service:
        """A model at the server."""
        assert gap is ...
        return flow.llm("company", **{"api": self.account, "model": "demo-small", **self._asks.options, **options})

    def enrichment(self, gap: Any = ..., **options: Any) -> Any:
        """What makes a service of a function."""
        assert gap is ...
        return flow.enrichment(**{"api": self.account, **options})

    def Job(self, gap: Any, **options: Any) -> Mapping[str, Any]:
        """The options of a run."""
        assert gap is ...
        return options


class _Account:
    """`acme` in the code of a row."""

    def __init__(self, asks: Ask, api: flow.API) -> None:
        self._asks = asks
        self._api = api

    def get(self, gap: Any, **options: Any) -> flow.Service:
        return self._declare("GET", gap, options)

    def post(self, gap: Any, **options: Any) -> flow.Service:
        return self._declare("POST", gap, options)

    def put(self, gap: Any, **options: Any) -> flow.Service:
        return self._declare("PUT", gap, options)

    def _declare(self, method: str, gap: Any, options: Mapping[str, Any]) -> flow.Service:
        assert gap is ...
        filled = {"path": self._asks.path, **self._asks.options, **options}
        return self._api.request("company", method, **filled)
