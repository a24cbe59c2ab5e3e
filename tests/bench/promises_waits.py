"""What waits and for how long: for the slowest of several services, for an API that is down, for nothing after that."""

from __future__ import annotations

import http.server
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import psutil
from judging import Finding, most_while_down, span
from staging import intervals, stage

import dataflow as flow

LATENCIES = {"/v2/companies": 1.0, "/v2/tech": 0.8, "/v2/social": 0.6, "/v2/news": 0.4}
LONGER = 1.15
RECORDS = 10

FOUR = """
import urllib.request
import httpx
import dataflow as flow

one, two, three, four = (flow.API(name, "{url}", concurrency=32) for name in ("one", "two", "three", "four"))
company = one.get("company", "/v2/companies/{{domain}}", returns={{"title": str}}, select={{"title": "name"}})
tech = two.get("tech", "/v2/tech/{{domain}}", returns={{"cdn": str | None}}, select={{"cdn": "cdn"}})


@flow.enrichment(api=three)
async def social(domain: str, http: httpx.AsyncClient) -> int:
    return (await http.get("/v2/social", params={{"domain": domain}})).status_code


@flow.enrichment(api=four, threads=10)
def news(domain: str) -> int:
    with urllib.request.urlopen("{url}/v2/news?domain=" + domain) as answer:
        return answer.status


def job(source: str) -> flow.Job:
    return flow.Job(flow.Pipeline("four", [company, tech, social, news]), source=source, output="four", key="domain")
"""

DOWN, LATENCY = 10.0, 0.05
BREAKER = flow.Breaker(reset=1, maximum=1)

DEADLINES, TOGETHER, DEADLINE, AFTER = 2_000, 10, 0.01, 20


def check_slowest() -> list[Finding]:
    """Two endpoints, an async and a plain function over ten records of one partition, on a thread and a process."""
    found = []
    for options in (("--threads", "1"), ("--workers", "1")):
        with stage(paths={path: {"latency": seconds} for path, seconds in LATENCIES.items()}) as on:
            on.write(limits="", keys=RECORDS, parts=1, job=FOUR)
            on.finish(on.run(*options))
            log = on.settled()
        if len(log) != RECORDS * len(LATENCIES) or {entry[3] for entry in log} != {200}:
            raise RuntimeError(f"{len(log)} calls were made, or not all of them answered")
        what = f"services of 1.0, 0.8, 0.6 and 0.4 s, {' '.join(options)}"
        limit = LONGER * max(LATENCIES.values())
        found.append(Finding(check="slowest", what=what, figure=span(intervals(log)), limit=limit, unit="s"))
    return found


def check_outage() -> list[Finding]:
    """10,000 keys, 50 at a time, of an API that is down for 10 s; and 1,500 keys, 8 at a time.

    Its breaker rests 1 s each time instead of 60 s and more, so that the run is soon over. Down means that each call
    is answered 503, or reset. A connection that is refused never is a call that the provider could count.
    """
    found = []
    for down_as in ("status:503", "reset_before_headers"):
        found += _outage("--threads", 1, down_as=down_as, keys=10_000, cap=50)
        found += _outage("--workers", 2, down_as=down_as, keys=10_000, cap=50)
        found += _outage("--threads", 1, down_as=down_as, keys=1_500, cap=8)
    return found


def _outage(option: str, processes: int, *, down_as: str, keys: int, cap: int) -> list[Finding]:
    with stage(latency=LATENCY, outage_as=down_as) as on:
        on.write(limits=f"concurrency={cap}, breaker=flow.{BREAKER!r}", keys=keys, parts=4)
        process = on.run(option, str(processes))
        on.wait_for_calls(2 * keys // 5, process=process)
        on.provider.control(outage=DOWN)
        output = on.finish(process)
        log = on.settled()
    good = sorted(entry[0] for entry in log if entry[3] == 200)
    most = most_while_down(
        window=cap,
        threshold=BREAKER.threshold,
        probes=BREAKER.probes,
        reset=BREAKER.reset,
        down=DOWN,
        processes=processes,
        # A reset of a used connection may only mean that it was idle: it is no failure to the breaker.
        uncounted=cap if down_as.startswith("reset") else 0,
    )
    what = f"{option} {processes}, cap {cap}, {down_as}"
    answered = set(output.filter(output["title"].is_valid())["domain"].to_pylist())
    _tell_of({f"c{at}.example" for at in range(keys)} - answered, log)
    pause = max(later - earlier for earlier, later in pairwise(good))
    return [
        Finding(check="outage", what=f"{what}: calls while down", figure=len(log) - len(good), limit=most),
        Finding(check="outage", what=f"{what}: answered", figure=len(answered), limit=keys, bound="least"),
        Finding(check="outage", what=f"{what}: longest pause", figure=pause, unit="s"),
    ]


def _tell_of(lost: set[str], log: list[list[Any]]) -> None:
    """Say on stderr when the calls of lost records came, counted from the first one in vain."""
    first = min((entry[0] for entry in log if entry[3] != 200), default=0.0)
    for key in sorted(lost):
        calls = [f"{entry[0] - first:.3f} s: {entry[3]}" for entry in log if entry[2] == key]
        print(f"{key} was lost; its calls: {', '.join(calls)}", file=sys.stderr)


def check_pool() -> list[Finding]:
    """2,000 deadlines in a row that fall into connection set-up, then the same client against the same, healthy host.

    The host takes no connections until then: its queue is full, and the kernel leaves further ones unanswered.
    """
    with tempfile.TemporaryDirectory() as folder, socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        api = flow.API(
            "pool", f"http://127.0.0.1:{listener.getsockname()[1]}", concurrency=TOGETHER, breaker=False, retry=1
        )
        hasty = api.get("hasty", "/{key}", returns={"name": str}, timeout=DEADLINE, when="in_haste")
        patient = api.get(
            "patient", "/{key}", returns={"title": str}, select={"title": "name"}, timeout=5, when="with_patience"
        )
        pipeline = flow.Pipeline("pool", [hasty, patient])

        def call(at: int, *, in_haste: bool) -> Any:
            record = {"key": f"k{at}", "in_haste": in_haste, "with_patience": not in_haste}
            return pipeline.call(record, catalog=folder)

        with ThreadPoolExecutor(TOGETHER) as threads:
            late = [one.metadata for one in threads.map(lambda at: call(at, in_haste=True), range(DEADLINES))]
            sockets = _sockets()
            with _answering(listener):
                began = time.monotonic()
                healthy = list(threads.map(lambda at: call(at, in_haste=False), range(AFTER)))
                took = time.monotonic() - began
    timed_out = sum(one.failures[0].reason == "timeout" for one in late if one.failures)
    lines: list[tuple[str, float, float | None, Any]] = [
        ("deadlines within connection set-up", timed_out, DEADLINES, "least"),
        ("sockets left by them", sockets, TOGETHER, "most"),
        (f"of {AFTER} calls answered after them", sum(one.data["title"] == "x" for one in healthy), AFTER, "least"),
        ("seconds for these", took, 1.0, "most"),
    ]
    return [
        Finding(check="pool", what=what, figure=figure, limit=limit, bound=bound)
        for what, figure, limit, bound in lines
    ]


def _sockets() -> int:
    """Connections of this process that are open or being set up."""
    return sum(1 for one in psutil.Process(os.getpid()).net_connections("tcp") if one.raddr)


class _Healthy(http.server.BaseHTTPRequestHandler):
    """Has the same answer to everything."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = b'{"name": "x"}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def _answering(listener: socket.socket) -> Iterator[None]:
    """A healthy server on a socket that listens already."""
    listener.listen(64)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Healthy, bind_and_activate=False) as server:
        server.socket.close()
        server.socket = listener
        server.daemon_threads = True
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
