"""One record through eight services that each wait 100 ms: called, awaited a hundred at a time, and many in one call.

    python tests/bench/coordinator.py [--turns 5]

No network: what is measured is what coordinating costs. Every turn is reported, since the machine may be shared; the
worst record of a turn is what counts. CPU time hardly depends on who else uses the machine: 100 records in 150 ms are
1.5 ms a record. The bare line is asyncio alone with the same waits.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

import dataflow as flow

SERVICES = 8
SECONDS = 0.1
RECORDS = 100


def waiting(number: int) -> Any:
    """An async service that only waits."""

    @flow.enrichment(name=f"service_{number}")
    async def waited(x: int) -> int:
        await asyncio.sleep(SECONDS)
        return x + number

    return waited


async def bare(x: int) -> None:
    """The same waits without the library."""

    async def one() -> int:
        async with asyncio.timeout(30):
            await asyncio.sleep(SECONDS)
            return x

    await asyncio.gather(*(one() for _ in range(SERVICES)))


async def side_by_side(make: Callable[[int], Awaitable[Any]]) -> float:
    """Seconds of the slowest of a hundred records."""

    async def timed(x: int) -> float:
        began = time.perf_counter()
        await make(x)
        return time.perf_counter() - began

    return max(await asyncio.gather(*(timed(x) for x in range(RECORDS))))


def timed(function: Callable[[], Any]) -> float:
    """Seconds of one call."""
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def cpu(function: Callable[[], Any]) -> float:
    """CPU seconds of one call for each of a hundred records."""
    began = time.process_time()
    function()
    return (time.process_time() - began) / RECORDS


def main() -> None:
    """Measure and report."""
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--turns", type=int, default=5, help="of each (5)")
    turns = given.parse_args().turns
    pipeline = flow.Pipeline("coordinator", [waiting(number) for number in range(SERVICES)])
    records = [{"x": x} for x in range(RECORDS)]
    pipeline.call({"x": -1})
    measured = {
        "call, target 130 ms": [timed(lambda: pipeline.call({"x": 1})) for _ in range(turns)],
        f"slowest of {RECORDS} acall, target 250 ms": [
            asyncio.run(side_by_side(lambda x: pipeline.acall({"x": x}))) for _ in range(turns)
        ],
        "CPU of an acall among them": [
            cpu(lambda: asyncio.run(side_by_side(lambda x: pipeline.acall({"x": x})))) for _ in range(turns)
        ],
        f"call_many of {RECORDS}": [timed(lambda: pipeline.call_many(records)) for _ in range(turns)],
        f"slowest of {RECORDS}, asyncio alone": [asyncio.run(side_by_side(bare)) for _ in range(turns)],
    }
    print(
        f"{SERVICES} services of {SECONDS * 1000:.0f} ms each; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs"
    )
    for what, seconds in measured.items():
        print(f"{what:38} {' '.join(f'{one * 1000:6.1f}' for one in seconds)} ms, worst {max(seconds) * 1000:.1f}")


if __name__ == "__main__":
    main()
