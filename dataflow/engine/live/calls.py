"""The calls of a worker process over all its runs, as Prometheus scrapes them from the worker.

They are read off the tallies of the partitions, finished and under way, when somebody scrapes.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from dataflow.engine.tally import Tally
from dataflow.telemetry.durations import Durations

BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the buckets of call durations, in seconds."""


class Work(Protocol):
    """Whoever runs partitions of a dataset in this process."""

    dataset: str

    def tallies(self) -> Sequence[Mapping[str, Tally]]:
        """The tallies of the partitions under way."""


class Past:
    """What the finished partitions of a service have come to."""

    def __init__(self) -> None:
        self.statuses: dict[str, int] = {}
        self.calls = 0
        self.durations = Durations()

    def add(self, tally: Tally) -> None:
        """Add one partition."""
        for status, records in dict(tally.statuses).items():
            self.statuses[status] = self.statuses.get(status, 0) + records
        self.calls += tally.calls
        self.durations = Durations.merged([self.durations, tally.durations, Durations.of(list(tally.seconds))])


class CallCollector:
    """The calls of this process."""

    def __init__(self) -> None:
        self._works: list[Work] = []
        self._past: dict[tuple[str, str], Past] = {}
        self._entered = False
        self._lock = threading.Lock()

    def enter(self, work: Work) -> None:
        """Count the partitions of a run in this process from now on."""
        with self._lock:
            first, self._entered = not self._entered, True
            self._works.append(work)
        prometheus = sys.modules.get("prometheus_client")
        if first and prometheus is not None:
            prometheus.REGISTRY.register(self)

    def leave(self, work: Work) -> None:
        """A run has ended; what was counted stays."""
        with self._lock:
            self._works = [one for one in self._works if one is not work]

    def end(self, dataset: str, tallies: Mapping[str, Tally], *, forget: Callable[[], object]) -> None:
        """A partition has ended, and `forget` takes it from those under way: who reads sees it in one place."""
        with self._lock:
            forget()
            for service, tally in tallies.items():
                self._past.setdefault((dataset, service), Past()).add(tally)

    def read(self) -> dict[tuple[str, str], Past]:
        """Finished partitions and those under way, by dataset and service."""
        with self._lock:
            found = {name: _copy(past) for name, past in self._past.items()}
            under_way = [(work.dataset, tallies) for work in self._works for tallies in work.tallies()]
        for dataset, tallies in under_way:
            for service, tally in list(tallies.items()):
                found.setdefault((dataset, service), Past()).add(tally)
        return found

    def describe(self) -> Sequence[Any]:
        """Nothing before the first scrape; else the registry would collect to find out."""
        return ()

    def collect(self) -> Iterator[Any]:
        """Called by the registry at each scrape."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        labels = ("dataset", "service")
        calls = CounterMetricFamily("dataflow_worker_calls", "Calls that this worker has made.", labels=labels)
        outcomes = CounterMetricFamily(
            "dataflow_worker_outcomes", "How the calls of this worker have ended.", labels=(*labels, "status")
        )
        durations = HistogramMetricFamily(
            "dataflow_worker_call_duration_seconds", "How long the calls of this worker took.", labels=labels
        )
        running = GaugeMetricFamily("dataflow_worker_partitions", "Partitions under way on this worker.")
        running.add_metric([], sum(len(work.tallies()) for work in list(self._works)))
        for name, past in self.read().items():
            calls.add_metric(name, past.calls)
            for status, records in past.statuses.items():
                outcomes.add_metric((*name, str(status)), records)
            durations.add_metric(name, buckets=_buckets(past.durations), sum_value=past.durations.total)
        yield from (calls, outcomes, durations, running)


def _copy(past: Past) -> Past:
    copied = Past()
    copied.statuses, copied.calls, copied.durations = dict(past.statuses), past.calls, past.durations
    return copied


def _buckets(durations: Durations) -> list[tuple[str, int]]:
    counts = [(str(bound), durations.at_most(bound)) for bound in BOUNDS]
    return [*counts, ("+Inf", durations.count)]


CALLS = CallCollector()
"""The one of this process."""
