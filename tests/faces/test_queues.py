"""What the calls of an API waited for is told once, whatever the number of its services, and by its cause."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.faces.boardtext import board_text
from dataflow.faces.counts import statistics_html
from dataflow.faces.panels import draw
from dataflow.faces.queues import queues_of
from dataflow.faces.render import statistics_text
from tests.faces.boards import board, status

sys.path.insert(0, str(Path(__file__).parents[2] / "jobs"))

from provider.serve import serve


def plain(html: str) -> str:
    return re.sub("<[^>]*>", "", html)


def service(api: str, **waited: float) -> dict[str, Any]:
    return {"kind": "enrichment", "api": api, "calls": 10, "waited": waited}


def test_services_of_one_api_stand_in_one_queue_under_the_first_of_them() -> None:
    services = {"a": service("acme", rate=2.0), "b": service("", budget=1.0), "c": service("acme", rate=1.0, plane=4.0)}
    found = queues_of(services.items())
    assert {first: (one.name, one.calls, one.reasons) for first, one in found.items()} == {
        "a": ("API acme", 20, [("plane", 4.0), ("rate", 3.0)]),
        "b": ("b", 10, [("budget", 1.0)]),
    }


def test_each_cause_is_told_in_words() -> None:
    report = {"services": {"a": service("acme", rate=90.0, provider=80.0, plane=70.0, breaker=60.0)}}
    told = "9.0 s a call for the rate, 8.0 s a call for the provider, which asked for it, "
    told += "7.0 s a call for the control plane, 6.0 s a call for the breaker"
    assert statistics_text(report).splitlines()[-1] == f"API acme waited: {told}"
    assert told in statistics_html(report)


def test_a_board_tells_the_waits_of_an_api_in_the_line_of_its_first_service() -> None:
    made = board(["one", "two", "three", "four", "five"], apis={"acme": status(waiting_for={"provider": 212})})
    assert board_text(made, status="running").count("212 provider") == 1
    assert plain("".join(draw(made).values())).count("212 for the provider, which asked for it") == 1


def run_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, plays: dict[str, Any], chained: bool, **account: Any
) -> Any:
    """A run of two services of one account."""
    monkeypatch.setenv("DATAFLOW_JOURNAL", str(tmp_path / "journal"))
    with serve(unknown=0, **plays) as server:
        api = flow.API(f"waits{server.url.rpartition(':')[2]}", server.url, **account)
        path = "/v2/tech/{key}?of={title}" if chained else "/v2/tech/{key}"
        services = [
            api.get("company", "/v2/companies/{key}", returns={"title": str}, select={"title": "name"}),
            api.get("tech", path, returns={"of": str | None}, select={"of": "domain"}),
        ]
        source = pa.table({"key": [f"k{at}.example" for at in range(40)]})
        return flow.Pipeline("waits", services).run(source, "out", key="key", catalog=tmp_path / "catalog")


@pytest.mark.parametrize(
    ("plays", "account", "cause"),
    [
        ({}, {"rate": "40/s"}, "for the rate"),
        ({"latency": 0.1}, {"concurrency": 3}, "for the concurrency"),
        ({"fault": "status:429", "every": 60, "retry_after": "seconds"}, {}, "for the provider, which asked for it"),
    ],
)
def test_a_run_of_several_services_tells_the_waits_of_their_account_once_and_by_their_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plays: dict[str, Any], account: dict[str, Any], cause: str
) -> None:
    run = run_of(tmp_path, monkeypatch, plays=plays, chained="rate" in account, **account)
    for told in (statistics_text(run.statistics), plain(run._repr_html_()), str(run)):
        assert told.count("waited") <= 1
        assert told.count(cause) == told.count("waited")
        assert ("for the rate" in told) <= ("rate" in account)
    assert cause in statistics_text(run.statistics)
