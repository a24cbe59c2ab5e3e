"""A job that does next to nothing, without pandas; started by `fixed_cost.py`, `memory.py` and `startup.py`."""

from __future__ import annotations

from pathlib import Path

import dataflow as flow

LEADS = Path(__file__).parents[2] / "datasets" / "leads.csv"


@flow.transformation
def email(email: str) -> str:
    return email.strip().lower()


@flow.validation
def has_at_sign(email: str) -> bool:
    return "@" in email


def job(leads: str = str(LEADS)) -> flow.Job:
    return flow.Job(flow.Pipeline("small", [email, has_at_sign]), source=leads, output="small", key="lead_id")
