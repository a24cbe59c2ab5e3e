"""Processes of one host that use one catalog keep the rate and the cap of an API together, counted at a real server."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.outcomes import Event
from dataflow.wiring.engines import scope_of

sys.path.insert(0, str(Path(__file__).parents[2] / "jobs"))

from provider.serve import Running, serve

pytestmark = pytest.mark.slow

RATE, JITTER = 20, 2
"""Calls in a second, and by how many a loaded machine may shift what arrives; without sharing it is twice as many."""

SCRIPT = """
import sys

import pyarrow as pa

import dataflow as flow
from dataflow.outcomes import Event

if __name__ == "__main__":
    url, name, catalog, how, calls, rate, cap = sys.argv[1:]
    api = flow.API("host", url, rate=rate or None, concurrency=int(cap), timeout=3)
    company = api.get("company", "/v2/companies/{key}", returns={"title": str}, select={"title": "name"})
    pipeline = flow.Pipeline("t", [company])
    table = pa.table({"key": [f"{name}{at}.example" for at in range(int(calls))]})
    if how == "apply":
        pipeline.apply(table, catalog=catalog)
    elif how == "call":
        for key in table["key"].to_pylist():
            pipeline.call({"key": key}, catalog=catalog)
    else:
        pipeline.run(table, output=name, key="key", catalog=catalog, **({"workers": 2} if how == "workers" else {}))
"""


class Host:
    """A server, and processes that call it."""

    def __init__(self, folder: Path, server: Running) -> None:
        self.folder = folder
        self.server = server
        self.started: list[subprocess.Popen[bytes]] = []
        (folder / "calls.py").write_text(SCRIPT)

    def start(
        self,
        name: str,
        *,
        how: str = "run",
        calls: int = 80,
        rate: str = f"{RATE}/s",
        cap: int = 16,
        catalog: str = "one",
    ) -> subprocess.Popen[bytes]:
        command = [sys.executable, "calls.py", self.server.url, name, catalog, how, str(calls), rate, str(cap)]
        environment = {**os.environ, "DATAFLOW_JOURNAL": str(self.folder / "journal")}
        process = subprocess.Popen(command, cwd=self.folder, env=environment, stderr=subprocess.PIPE)
        self.started.append(process)
        return process

    def times(self, name: str = "") -> list[float]:
        """When the calls of a process have arrived."""
        return sorted(entry[0] for entry in self.server.log() if entry[2].startswith(name))

    def wait_for(self, *names: str, calls: int = 1) -> None:
        """Until each of them has made so many calls."""
        deadline = time.monotonic() + 60
        while any(len(self.times(name)) < calls for name in names):
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def end(self, *processes: subprocess.Popen[bytes]) -> None:
        for one in processes:
            _, err = one.communicate(timeout=120)
            assert one.returncode == 0, err.decode()

    @property
    def most(self) -> int:
        counts: dict[str, Any] = self.server.counts(keys=False)
        return int(counts["max_in_flight"])


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with serve(latency=0.02, unknown=0) as server:
        made = Host(tmp_path, server)
        yield made
        for process in made.started:
            if process.poll() is None:
                process.kill()
            process.communicate()


def worst_second(times: Sequence[float]) -> int:
    return max(bisect_left(times, at + 1.0) - place for place, at in enumerate(times))


@pytest.mark.parametrize("hows", [("run", "run"), ("run", "workers", "apply")], ids="-".join)
def test_processes_keep_a_rate_together(host: Host, hows: tuple[str, ...]) -> None:
    host.end(*(host.start(f"{how}{at}", how=how) for at, how in enumerate(hows)))
    times = host.times()
    assert len(times) == 80 * len(hows)
    assert worst_second(times) <= RATE + JITTER


def test_a_process_that_is_killed_leaves_its_rate_to_the_other_at_once(host: Host) -> None:
    one, other = host.start("one"), host.start("other", calls=160)
    host.wait_for("one", "other", calls=10)
    one.kill()
    killed = time.monotonic()
    host.end(other)
    assert worst_second(host.times()) <= RATE + JITTER
    after = [at for at in host.times("other") if at > killed + 0.5]
    assert (len(after) - 1) / (after[-1] - after[0]) > 0.8 * RATE


def test_processes_keep_a_cap_together_and_a_killed_one_holds_its_part_for_one_attempt(host: Host) -> None:
    host.server.control(paths={"/v2/companies": {"latency": 0.3}})
    one, other = (host.start(name, rate="", cap=4, calls=60) for name in ("one", "other"))
    host.wait_for("one", "other", calls=6)
    one.kill()
    host.end(other)
    assert host.most <= 4
    assert len(host.times("other")) == 60


def test_records_one_by_one_share_with_a_run(host: Host) -> None:
    host.end(host.start("run"), host.start("call", how="call", calls=40))
    assert worst_second(host.times()) <= RATE + JITTER


def test_another_catalog_has_limits_of_its_own(host: Host) -> None:
    started = [host.start(name, catalog=name, calls=120) for name in ("one", "two")]
    host.wait_for("one", "two")
    host.end(*started)
    both = max(host.times("one")[0], host.times("two")[0])
    assert len([at for at in host.times() if both <= at < both + 2]) > 1.4 * 2 * RATE


def test_one_process_alone_uses_its_rate(host: Host) -> None:
    host.end(host.start("alone", calls=120))
    times = host.times()
    assert worst_second(times) <= RATE + JITTER
    assert 119 / (times[-1] - times[0]) > 0.85 * RATE


def test_a_run_says_how_far_its_limits_hold(host: Host) -> None:
    told: list[Event] = []
    company = flow.API("scope", host.server.url).get("company", "/v2/companies/{key}", returns={"name": str})
    table = pa.table({"key": ["a.example"]})
    flow.Pipeline("t", [company]).run(
        table, output="t", key="key", catalog=host.folder / "catalog", on_event=told.append
    )
    said = [one.message for one in told if one.kind == "limited"]
    assert said == ["the limits of the APIs hold for all processes of this host that use this catalog"]
    assert scope_of(ours=False) == "the limits of the APIs hold for this cluster only"
