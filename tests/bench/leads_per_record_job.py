"""The per-record benchmark on the library: plain Python functions, made services without a change.

Started by `per_record.py`, which gives the path.
"""

from __future__ import annotations

import functions

import dataflow as flow

transformations = [
    flow.transformation(function) for function in (functions.full_name, functions.email, functions.phone)
]
validations = [
    flow.validation(function) for function in (functions.is_email, functions.is_known_country, functions.in_range)
]
pipeline = flow.Pipeline("leads", [*transformations, *validations, flow.enrichment(functions.industry)])


def job(leads: str) -> flow.Job:
    return flow.Job(pipeline, source=leads, output="leads", key="lead_id")
