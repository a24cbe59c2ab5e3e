"""The run that `live.py` measures, in a process of its own: on a cluster, or on threads of this process."""

from __future__ import annotations

import json
import os
import sys
import threading

import dataflow as flow


def make(source: str, *, rate: int) -> flow.Job:
    """One service of an API; without a rate as fast as it goes."""
    api = flow.API("bench", os.environ["BENCH_URL"], rate=f"{rate}/s" if rate else None, concurrency=100)
    title = api.get("title", "/v2/companies/{domain}", returns={"name": str}, columns={"name": "company"})
    return flow.Job(flow.Pipeline("live", [title]), source=source, output="live", key="domain")


def scrape(ended: threading.Event) -> None:
    """What a Prometheus does once a second."""
    import prometheus_client

    while not ended.wait(1.0):
        prometheus_client.generate_latest()


def main() -> None:
    """Run it, and say how long it took."""
    given = json.loads(sys.argv[1])
    ended = threading.Event()
    import prometheus_client  # noqa: F401 - every process of Dask has it that serves metrics

    if given.get("scraped"):
        threading.Thread(target=scrape, args=(ended,), daemon=True).start()
    job = make(given["source"], rate=given.get("rate", 1000))
    settings = {"scheduler_file": given["file"]} if "file" in given else {"threads": 2}
    run = job.run(
        catalog=given["catalog"], live=given["live"], limit=given.get("limit"), resume=False, traffic=False, **settings
    )
    ended.set()
    print(json.dumps({"seconds": run.duration, "page": run.page}))


if __name__ == "__main__":
    main()
