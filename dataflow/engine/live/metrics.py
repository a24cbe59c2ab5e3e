"""What Prometheus scrapes from a scheduler beside Dask's own metrics; nothing where it is not installed.

Counters only grow over all runs of a process, gauges are those of the runs that go on. Labels are names that authors
chose, never values of records. Read is when somebody scrapes, so that nothing is paid for nobody.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dataflow.outcomes import Status
from dataflow.policies.breaker import shown_state

if TYPE_CHECKING:
    from dataflow.engine.live.scheduler import LivePlugin

Labels = tuple[str, ...]

FORM = 1
"""The form of a board, as `telemetry.board` makes it; others are left out."""

_COUNTERS: dict[str, tuple[str, Labels]] = {
    "dataflow_records": ("Records by where they ended.", ("dataset", "state")),
    "dataflow_outcomes": ("Records by service and outcome.", ("dataset", "service", "status")),
    "dataflow_calls": ("Calls, with those that repeated an attempt.", ("dataset", "service")),
    "dataflow_retries": ("Calls that repeated an attempt.", ("dataset", "service")),
    "dataflow_cost": ("Money that calls cost.", ("dataset", "service", "currency")),
    "dataflow_waited_seconds": ("Seconds that calls waited before they began.", ("dataset", "service", "reason")),
}
_GAUGES: dict[str, tuple[str, Labels]] = {
    "dataflow_runs": ("Runs that this scheduler has heard of lately.", ("state",)),
    "dataflow_partitions": ("Partitions of the runs that go on.", ("dataset", "state")),
    "dataflow_run_left_seconds": ("Seconds until the end at the present speed.", ("dataset",)),
    "dataflow_run_heard_ago_seconds": ("Seconds since the driver was heard.", ("dataset",)),
    "dataflow_call_duration_p50_seconds": ("Half of the calls took no longer.", ("dataset", "service")),
    "dataflow_call_duration_p95_seconds": ("95 % of the calls took no longer.", ("dataset", "service")),
    "dataflow_budget_spent": ("Money that was spent of a budget.", ("dataset", "budget", "currency")),
    "dataflow_budget_limit": ("Money that a budget allows.", ("dataset", "budget", "currency")),
    "dataflow_api_calls_per_second": ("Calls that ended in a second.", ("api",)),
    "dataflow_api_calls_per_second_limit": ("Calls that may begin in a second.", ("api",)),
    "dataflow_api_in_flight": ("Calls that wait for their answer.", ("api",)),
    "dataflow_api_in_flight_limit": ("Calls that may wait for their answer at the same time.", ("api",)),
    "dataflow_api_waiting": ("Calls that may not begin yet.", ("api", "reason")),
    "dataflow_api_breaker": ("1 for the state in which the breaker is.", ("api", "state")),
}
_RUNNING = ("running", "stopping")
_BREAKER = ("closed", "half_open", "open", "held")

Sample = tuple[str, Labels, float]


def counters_of(board: Mapping[str, Any]) -> Iterator[Sample]:
    """What of a board only grows: name, values of the labels, value."""
    dataset = board["dataset"]
    for state in ("valid", "invalid", "rejected"):
        yield "dataflow_records", (dataset, state), board["records"][state]
    for one in board["services"]:
        here = dataset, one["name"]
        for status in map(str, Status):
            yield "dataflow_outcomes", (*here, status), one[status]
        yield "dataflow_calls", here, one["calls"]
        yield "dataflow_retries", here, one["retries"]
        if one["cost"]:
            yield "dataflow_cost", (*here, board["currency"] or ""), one["cost"]
        for reason, seconds in one["waited"].items():
            yield "dataflow_waited_seconds", (*here, reason), seconds


def gauges_of(board: Mapping[str, Any], *, heard_ago: float) -> Iterator[Sample]:
    """What of the board of a run that goes on comes and goes."""
    dataset, parts = board["dataset"], board["partitions"]
    for state in ("planned", "done", "running"):
        yield "dataflow_partitions", (dataset, state), parts[state]
    yield "dataflow_run_heard_ago_seconds", (dataset,), heard_ago
    if board["left"] is not None:
        yield "dataflow_run_left_seconds", (dataset,), board["left"]
    for one in board["services"]:
        for mark in ("p50", "p95"):
            if one["api"] and one[mark] is not None:
                yield f"dataflow_call_duration_{mark}_seconds", (dataset, one["name"]), one[mark]
    for budget in board["budgets"]:
        for part in ("spent", "limit"):
            yield f"dataflow_budget_{part}", (dataset, budget["title"], board["currency"] or ""), budget[part]


def gauges_of_api(api: str, status: Mapping[str, Any]) -> Iterator[Sample]:
    """What the control plane says of an API."""
    yield "dataflow_api_calls_per_second", (api,), status["rate"]
    yield "dataflow_api_in_flight", (api,), status["in_flight"]
    if status["allowed"] is not None:
        yield "dataflow_api_calls_per_second_limit", (api,), status["allowed"]
    if status["concurrency"] is not None:
        yield "dataflow_api_in_flight_limit", (api,), status["concurrency"]
    for reason, calls in status["waiting_for"].items():
        yield "dataflow_api_waiting", (api, reason), calls
    shown = shown_state(status["breaker"]["state"], status["breaker"]["held"])
    for state in _BREAKER:
        yield "dataflow_api_breaker", (api, state), float(state == shown)


class Totals:
    """Counters that only grow, made of boards that begin anew with each run."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, Labels], float] = {}
        self._before: dict[str, dict[tuple[str, Labels], float]] = {}

    def take(self, run: str, samples: Iterator[Sample]) -> None:
        """Take up what the board of a run says; what it has said before is not counted again."""
        before = self._before.setdefault(run, {})
        for name, labels, value in samples:
            place = name, labels
            grown = max(0.0, value - before.get(place, 0.0))
            before[place] = max(value, before.get(place, 0.0))
            self.values[place] = self.values.get(place, 0.0) + grown

    def keep(self, runs: Mapping[str, Any]) -> None:
        """Forget the boards of runs that nobody knows any more; their counts stay."""
        self._before = {run: before for run, before in self._before.items() if run in runs}


class BoardCollector:
    """The boards of the schedulers of this process as metrics."""

    def __init__(self) -> None:
        self.plugins: list[LivePlugin] = []
        self._totals: dict[int, Totals] = {}

    def describe(self) -> Sequence[Any]:
        """Nothing before the first scrape; else the registry would collect to find out."""
        return ()

    def collect(self) -> Iterator[Any]:
        """Read every board; called by the registry at each scrape."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        counted: dict[tuple[str, Labels], float] = {}
        gauges: list[Sample] = []
        for plugin in self.plugins:
            counted |= self._counted(plugin, gauges)
        grown = [(name, labels, value) for (name, labels), value in counted.items()]
        yield from _families(CounterMetricFamily, _COUNTERS, grown)
        yield from _families(GaugeMetricFamily, _GAUGES, gauges)

    def forget(self, plugin: LivePlugin) -> None:
        """Read the boards of a scheduler no more."""
        self.plugins.remove(plugin)
        self._totals.pop(id(plugin), None)

    def _counted(self, plugin: LivePlugin, gauges: list[Sample]) -> dict[tuple[str, Labels], float]:
        totals, told = self._totals.setdefault(id(plugin), Totals()), plugin.boards.told()
        states: dict[str, int] = {}
        for run, entry in told.items():
            board = json.loads(entry.board)
            if board.get("form") != FORM:
                continue
            totals.take(run, counters_of(board))
            states[board["status"]] = states.get(board["status"], 0) + 1
            if board["status"] in _RUNNING:
                gauges += gauges_of(board, heard_ago=plugin.heard_ago(run))
        totals.keep(told)
        gauges += [("dataflow_runs", (state,), number) for state, number in states.items()]
        for api, status in plugin.apis().items():
            gauges += gauges_of_api(api, status)
        return totals.values


def _families(
    make: Callable[..., Any], known: Mapping[str, tuple[str, Labels]], samples: Sequence[Sample]
) -> Iterator[Any]:
    families = {name: make(name, text, labels=labels) for name, (text, labels) in known.items()}
    values: dict[tuple[str, Labels], float] = {}
    for name, labels, value in samples:
        # Of two runs of a dataset that both seem to go on, the older one has died.
        values.setdefault((name, labels), value)
    for (name, labels), value in values.items():
        families[name].add_metric(list(labels), value)
    yield from (family for family in families.values() if family.samples)


_collector = BoardCollector()


def watch_boards(plugin: LivePlugin) -> None:
    """Let the metrics of this process show the boards of a scheduler, where Dask serves metrics at all."""
    prometheus = sys.modules.get("prometheus_client")
    if prometheus is None:
        return
    if not _collector.plugins:
        prometheus.REGISTRY.register(_collector)
    _collector.plugins.append(plugin)


def leave_boards(plugin: LivePlugin) -> None:
    """Show the boards of a scheduler that ends no more."""
    if plugin in _collector.plugins:
        _collector.forget(plugin)
        if not _collector.plugins:
            sys.modules["prometheus_client"].REGISTRY.unregister(_collector)
