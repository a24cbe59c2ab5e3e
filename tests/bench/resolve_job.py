"""A service that would be called once for each distinct domain; the benchmark collects its keys and calls nothing."""

from __future__ import annotations

import dataflow as flow

acme = flow.API("acme", "https://api.acme.example", concurrency=None)
company = acme.get("company", "/companies/{domain}", returns={"employees": int | None})
pipeline = flow.Pipeline("companies", [company])


def job(source: str) -> flow.Job:
    """The job over some source."""
    return flow.Job(pipeline, source=source, output="companies", key="id")
