"""What Prometheus scrapes: totals that only grow, labels that are names, no sample twice."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from dataflow.engine.live.boards import Boards
from dataflow.engine.live.calls import CallCollector
from dataflow.engine.live.metrics import FORM, BoardCollector, Totals, counters_of
from dataflow.engine.tally import Tally
from dataflow.faces import panels
from dataflow.outcomes import Status
from dataflow.telemetry import board as telemetry

sys.path.insert(0, str(Path(__file__).parents[2] / "faces"))

from boards import board, status

NAMES = ["tidy", "valid", "company"]


class Plugin(SimpleNamespace):
    """What a collector sees of a scheduler."""

    def __init__(self, **boards: dict[str, Any]) -> None:
        super().__init__(boards=Boards(), apis=lambda: {"acme": {**status(), "members": {}}}, heard_ago=lambda run: 0.5)
        for run, values in boards.items():
            self.tell(run, values)

    def tell(self, run: str, values: dict[str, Any]) -> None:
        self.boards.tell(run, board=json.dumps(values).encode(), now=0.0)


def collector(*plugins: Plugin) -> BoardCollector:
    made = BoardCollector()
    made.plugins.extend(plugins)  # type: ignore[arg-type]
    return made


def scraped(made: Any) -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(made)
    lines = [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]
    found = {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}
    assert len(found) == len(lines), "a sample is told twice"
    return found


def valid(found: dict[str, float]) -> float:
    return found['dataflow_records_total{dataset="leads",state="valid"}']


def some(records: int, **given: Any) -> dict[str, Any]:
    made = {**board(NAMES), **given}
    return {**made, "records": {**made["records"], "valid": records}}


def test_the_form_of_a_board_is_the_same_for_all_who_know_it() -> None:
    assert FORM == telemetry.FORM == panels.FORM


def test_totals_grow_over_runs_and_never_shrink() -> None:
    plugin = Plugin(a=some(10))
    made, seen = collector(plugin), []
    for run, records in (("a", 10), ("a", 30), ("a", 25), ("a", 31), ("b", 5), ("b", 7)):
        plugin.tell(run, some(records))
        seen.append(valid(scraped(made)))
    assert seen == [10, 30, 30, 31, 36, 38]


def test_a_run_that_is_gone_on_with_counts_nothing_twice() -> None:
    plugin = Plugin(a=some(100, status="stopped"))
    made = collector(plugin)
    before = valid(scraped(made))
    plugin.boards.tell("a", board=b"", now=0.0)
    seen = [valid(scraped(made))]
    plugin.tell("a", some(120))
    seen.append(valid(scraped(made)))
    assert (before, seen) == (100, [100, 120])


def test_runs_that_are_forgotten_leave_their_counts() -> None:
    totals = Totals()
    totals.take("a", iter([("n", (), 5.0)]))
    totals.keep({})
    assert totals.values == {("n", ()): 5.0}


def test_two_boards_of_one_dataset_give_each_sample_once_and_the_newest_counts() -> None:
    old, new = some(1), some(2)
    new["partitions"] = {**new["partitions"], "done": 39}
    found = scraped(collector(Plugin(a=old, b=new)))
    assert found['dataflow_partitions{dataset="leads",state="done"}'] == 39
    assert found['dataflow_runs{state="running"}'] == 2


def test_a_board_of_another_form_is_left_out_and_harms_no_other() -> None:
    assert valid(scraped(collector(Plugin(a={"form": 99}, b=some(3))))) == 3


def test_labels_are_names_and_never_values_of_records() -> None:
    found = scraped(collector(Plugin(a=board(NAMES))))
    assert not [name for name in found if "L-00017" in name or "HTTP 503" in name or "no address" in name]
    assert {name.partition("{")[0] for name in found if "acme" in name} >= {"dataflow_api_breaker"}


def test_a_cost_without_a_currency_says_none() -> None:
    labels = [labels for name, labels, _ in counters_of({**board(NAMES), "currency": None}) if name == "dataflow_cost"]
    assert labels
    assert {currency for _, _, currency in labels} == {""}


def test_a_scheduler_that_has_ended_is_forgotten() -> None:
    plugin = Plugin(a=some(3))
    made = collector(plugin)
    scraped(made)
    made.forget(plugin)  # type: ignore[arg-type]
    assert scraped(made) == {}
    assert made._totals == {}


class Working:
    """A run on a worker."""

    dataset = "leads"

    def __init__(self) -> None:
        self.here: list[dict[str, Tally]] = []

    def tallies(self) -> list[dict[str, Tally]]:
        return self.here


@pytest.fixture
def tally() -> Tally:
    made = Tally(calls=2, seconds=[0.02, 3.0])
    made.add(Status.SUCCEEDED, 2)
    return made


def test_calls_are_counted_once_while_they_go_on_and_after(tally: Tally) -> None:
    made, work = CallCollector(), Working()
    made._entered = True
    made.enter(work)
    work.here.append({"company": tally})
    during = scraped(made)
    made.end("leads", {"company": tally}, forget=work.here.clear)
    made.leave(work)
    after = scraped(made)
    place = '{dataset="leads",service="company"}'
    assert during[f"dataflow_worker_calls_total{place}"] == after[f"dataflow_worker_calls_total{place}"] == 2
    assert after[f"dataflow_worker_call_duration_seconds_count{place}"] == 2
    assert (during["dataflow_worker_partitions"], after["dataflow_worker_partitions"]) == (1, 0)
    assert after['dataflow_worker_outcomes_total{dataset="leads",service="company",status="succeeded"}'] == 2


def test_a_histogram_counts_up_to_each_bound(tally: Tally) -> None:
    made = CallCollector()
    made.end("leads", {"company": tally}, forget=lambda: None)
    found = scraped(made)
    bounds = [value for name, value in found.items() if "_bucket" in name]
    assert bounds == sorted(bounds)
    assert (bounds[0], bounds[-1]) == (0, 2)
