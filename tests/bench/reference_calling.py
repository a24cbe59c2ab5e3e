"""The calling benchmark by hand: one process, aiohttp, callers that pull from one iterator, and no framework.

    python tests/bench/reference_calling.py SOURCE URL --concurrency 100

Prints the seconds of calling and the CPU seconds of this process as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time

import aiohttp
import pyarrow.parquet as pq


async def call(url: str, domains: list[str], *, concurrency: int) -> None:
    rest = iter(domains)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def caller() -> None:
            for domain in rest:
                async with session.get(f"{url}/v2/companies/{domain}") as answer:
                    await answer.read()

        await asyncio.gather(*(caller() for _ in range(concurrency)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source")
    parser.add_argument("url")
    parser.add_argument("--concurrency", type=int, default=100)
    given = parser.parse_args()
    domains = pq.ParquetFile(given.source).read(columns=["domain"])["domain"].to_pylist()
    began, cpu = time.perf_counter(), time.process_time()
    asyncio.run(call(given.url, domains, concurrency=given.concurrency))
    print(json.dumps({"wall": time.perf_counter() - began, "cpu": time.process_time() - cpu}))


if __name__ == "__main__":
    main()
