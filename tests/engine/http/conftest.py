"""A real server beside the tests, APIs that call it, and the sums that every run over it must keep."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.wiring.run import Run

sys.path.insert(0, str(Path(__file__).parents[3] / "jobs"))
sys.path.insert(0, str(Path(__file__).parent))

from provider.serve import Running, serve

COMPANIES = "/v2/companies"
QUICK = flow.Retry(attempts=3, initial=0.02, maximum=0.05)

_numbers = itertools.count()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A server and a catalog for one test, and what is asked again and again about them."""

    server: Running
    catalog: Path

    def api(self, url: str | None = None, **options: Any) -> flow.API:
        """An API of a name that no other test uses, since limits and breakers belong to names."""
        given = {"retry": QUICK, "timeout": 5, **options}
        return flow.API(f"api{next(_numbers)}", url or self.server.url, **given)

    def company(self, api: flow.API | None = None, **options: Any) -> flow.Service:
        """A service that asks for companies by the column `key`."""
        returns = options.pop("returns", {"title": str})
        path = options.pop("path", "/v2/companies/{key}")
        select = options.pop("select", {"title": "name"})
        return (api or self.api()).get("company", path, returns=returns, select=select, **options)

    def listed(self, api: flow.API, batch: int) -> flow.Service:
        """A service that asks for several companies at once by the column `key`."""
        return api.post(
            "company",
            "/v2/companies/batch",
            json={"domains": ["{key}"]},
            batch=batch,
            items="companies",
            match="domain",
            select={"title": "name"},
            returns={"title": str},
        )

    def run(self, services: flow.Service | Sequence[flow.Service], keys: Sequence[Any], **settings: Any) -> Run:
        """Run them over the keys, and see that every record ends in exactly one place."""
        listed = [services] if isinstance(services, flow.Service) else list(services)
        table = pa.table({"key": list(keys)})
        output = settings.pop("output", "out")
        run = flow.Pipeline("test", listed).run(table, output=output, key="key", catalog=self.catalog, **settings)
        assert run.to_arrow().num_rows + run.rejects().num_rows == len(keys)
        for one in listed:
            sums = run.statistics["services"][one.name]
            ends = ("succeeded", "cached", "not_found", "failed", "timed_out", "skipped", "not_attempted")
            assert sum(sums[end] for end in ends) == len(keys)
        return run

    def seen(self, path: str = COMPANIES) -> dict[str, Any]:
        """What the server counted for a service, once nothing is in flight."""
        deadline = time.monotonic() + 10
        while (counts := self.server.counts())["in_flight"] and time.monotonic() < deadline:
            time.sleep(0.01)
        line: dict[str, Any] = counts["services"][path]
        return line

    def log(self, path: str = COMPANIES) -> list[list[Any]]:
        """The calls of a service in the order of arrival: [monotonic seconds, path, key, status, headers, end]."""
        return [entry for entry in self.server.log() if entry[1].startswith(path)]


@pytest.fixture(scope="session")
def running() -> Iterator[Running]:
    with serve(unknown=0) as server:
        yield server


@pytest.fixture
def bench(running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv("DATAFLOW_JOURNAL", str(tmp_path / "journal"))
    running.control(restore=True, paths=dict.fromkeys(PATHS), keys={})
    running.reset()
    return Bench(server=running, catalog=tmp_path / "catalog")


PATHS = ("/v2/companies", "/v2/tech", "/v2/social", "/v2/news", "/v2/emails", "/v2/phones/check", "/oauth/token")


@pytest.fixture
def checked() -> Callable[..., dict[str, Any]]:
    """Compare what a run says of a service with what the server saw; gives the only failure, if there is one."""

    def check(bench: Bench, run: Run, name: str = "company", path: str = COMPANIES) -> dict[str, Any]:
        said = run.statistics["services"][name]
        assert said["calls"] == bench.seen(path)["calls"]
        failures = [one for one in run.failures().to_pylist() if one["service"] == name]
        assert len(failures) == said["failed"] + said["timed_out"]
        assert len(failures) <= 1
        return failures[0] if failures else {}

    return check
