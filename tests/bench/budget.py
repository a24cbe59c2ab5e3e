"""A budget of 10.00 at a price of 0.01 and 64 calls in flight: what the provider sees, also through kills.

    python tests/bench/budget.py                        # ten runs of each kind, about 6 minutes
    python tests/bench/budget.py --turns 2 kill-driver

Nothing may ever come after the thousandth call; without a kill all thousand come, with one and a run that goes on at
least 950. Ends with 1 where that is missed. The provider counts; it shares the machine with those that call it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

from staging import PATIENCE, SETTLE, Stage, stage

BUDGET, PRICE, ALLOWED, LEAST = 10, 0.01, 1_000, 950
KEYS, PARTS, LATENCY = 1_600, 8, 0.05
SPENT = 4

JOB = """
import os
import dataflow as flow

api = flow.API("promises", "{url}", {limits})
company = api.get(
    "company", "/v2/companies/{{domain}}", returns={{"title": str}}, select={{"title": "name"}}, price=0.01
)


def job(source: str) -> flow.Job:
    return flow.Job(
        flow.Pipeline("promises", [company]), source=source, output="promises", key="domain", budget=10
    )
"""


def threads(on: Stage) -> int:
    """A run on threads that nobody disturbs."""
    return _ended(on, "--threads", "2")


def workers(on: Stage) -> int:
    """A run on two worker processes that nobody disturbs."""
    return _ended(on, "--workers", "2")


def kill_worker(on: Stage) -> int:
    """A worker is killed in the middle; the run goes on by itself."""
    process = on.run("--workers", "2")
    on.wait_for_calls(300, process=process)
    on.kill_worker(process)
    process.wait(timeout=PATIENCE)
    return _ended(on, "--workers", "2")


def kill_driver(on: Stage) -> int:
    """The driver of two workers is killed in the middle, and the same command given again."""
    return _killed(on, "--workers", "2")


def kill_threads(on: Stage) -> int:
    """A process that runs on threads is killed in the middle, and the same command given again."""
    return _killed(on, "--threads", "2")


def _killed(on: Stage, *options: str) -> int:
    process = on.run(*options)
    on.wait_for_calls(300, process=process)
    process.kill()
    process.wait(timeout=PATIENCE)
    time.sleep(SETTLE)
    return _ended(on, *options)


def _ended(on: Stage, *options: str) -> int:
    """The exit code of a run that ends by itself; 4 where all of its budget is spent."""
    return on.run(*options).wait(timeout=PATIENCE)


KINDS: dict[str, tuple[Callable[[Stage], int], int]] = {
    "threads": (threads, ALLOWED),
    "workers": (workers, ALLOWED),
    "kill-worker": (kill_worker, LEAST),
    "kill-driver": (kill_driver, LEAST),
    "kill-threads": (kill_threads, LEAST),
}


def turn(kind: str) -> tuple[int, int, float]:
    """One run of a kind: the calls that the provider saw, the last exit code, and the seconds it took."""
    began = time.monotonic()
    with stage(latency=LATENCY) as on:
        on.write(limits="concurrency=64, timeout=5", keys=KEYS, parts=PARTS, job=JOB)
        code = KINDS[kind][0](on)
        time.sleep(0.5)
        return len(on.settled()), code, time.monotonic() - began


def main() -> None:
    """Run all kinds, print a line for each, and end with 1 where a promise is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)}; default: all")
    parser.add_argument("--turns", type=int, default=10, help="runs of each kind (%(default)s)")
    given = parser.parse_args()
    missed = False
    for kind in given.kinds or KINDS:
        found = [turn(kind) for _ in range(given.turns)]
        calls = [one[0] for one in found]
        good = all(KINDS[kind][1] <= one <= ALLOWED for one in calls) and all(one[1] == SPENT for one in found)
        missed |= not good
        seconds = sorted(one[2] for one in found)[len(found) // 2]
        codes = sorted({one[1] for one in found})
        print(
            f"{kind:<13} calls {min(calls):>5,} to {max(calls):>5,} of {ALLOWED:,} (at least {KINDS[kind][1]:,}), "
            f"exit {codes}, median {seconds:.1f} s  {'met' if good else 'MISSED'}",
            flush=True,
        )
    sys.exit(missed)


if __name__ == "__main__":
    main()
