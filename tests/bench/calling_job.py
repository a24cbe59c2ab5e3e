"""The calling benchmark on the library: one service of an API, declared or as a function.

Started by `calling.py`, which gives the address of the server.
"""

from __future__ import annotations

import os

import httpx

import dataflow as flow

api = flow.API("bench", os.environ["BENCH_URL"], concurrency=100)

declared = api.get("declared", "/v2/companies/{domain}", returns={"name": str}, columns={"name": "company"})


@flow.enrichment(api=api)
async def injected(domain: str, http: httpx.AsyncClient) -> str | None:
    answer = await http.get(f"/v2/companies/{domain}")
    return answer.json()["name"] if answer.status_code == 200 else None


def job(source: str, service: str) -> flow.Job:
    pipeline = flow.Pipeline("calling", [{"declared": declared, "injected": injected}[service]])
    return flow.Job(pipeline, source=source, output="calling", key="domain")
