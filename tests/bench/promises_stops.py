"""What a second Ctrl-C and a killed client leave at the provider: no new call after half a second.

The calls take longer than a check waits between its signals, so that there are some in flight at each of them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable

from judging import Finding, last_after, running_at
from staging import SETTLE, Stage, cluster, intervals, stage

Stop = Callable[[subprocess.Popen[bytes]], float]

LATENCY, KEYS, PARTS, CAP = 0.5, 6_000, 8, 40
IN_TIME = 0.5
BETWEEN = 0.3


def check_stops() -> list[Finding]:
    """Both signals on threads and on worker processes, and a killed client of somebody else's cluster."""
    found = []
    for where, options in (("threads", ("--threads", "2")), ("workers", ("--workers", "2"))):
        found += _stopped(f"second Ctrl-C, {where}", interrupt_twice, *options)
        found += _stopped(f"client killed, {where}", kill, *options)
    return found + _stopped("client killed, --scheduler", kill)


def _stopped(what: str, stop: Stop, *options: str) -> list[Finding]:
    with stage(latency=LATENCY) as on:
        on.write(limits=f"concurrency={CAP}, timeout=5", keys=KEYS, parts=PARTS)
        if options:
            return _judged(on, what, stop, *options)
        with cluster(on, workers=2) as address:
            return _judged(on, what, stop, "--scheduler", address)


def _judged(on: Stage, what: str, stop: Stop, *options: str) -> list[Finding]:
    process = on.run(*options)
    on.wait_for_calls(4 * CAP, process=process)
    at = stop(process)
    process.wait(timeout=30)
    ended = time.monotonic()
    time.sleep(SETTLE)
    log = on.settled()
    running = running_at(intervals(log), at)
    dropped = [entry for entry in log if entry[0] <= at < entry[5] and entry[3] == "left"]
    lines = [
        ("last arrival after it", last_after((entry[0] for entry in log), at), IN_TIME, "s"),
        ("last of the calls in flight gone", last_after((end for _, end in running), at), None, "s"),
        (f"of {len(running)} calls in flight broken off", len(dropped), None, ""),
        ("process gone", ended - at, None, "s"),
    ]
    return [
        Finding(check="stops", what=f"{what}: {line}", figure=figure, limit=limit, unit=unit)
        for line, figure, limit, unit in lines
    ]


def interrupt_twice(process: subprocess.Popen[bytes]) -> float:
    """Ctrl-C twice, to the whole process group as a terminal sends it; when the second one was."""
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(BETWEEN)
    os.killpg(process.pid, signal.SIGINT)
    return time.monotonic()


def kill(process: subprocess.Popen[bytes]) -> float:
    """SIGKILL to the client alone; when that was."""
    process.kill()
    return time.monotonic()
