"""A job that does next to nothing, with pandas; started by `fixed_cost.py`."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

import dataflow as flow

LEADS = Path(__file__).parents[2] / "datasets" / "leads.csv"


@flow.transformation
def email(email: pd.Series) -> pd.Series:
    return email.str.strip().str.lower()


@flow.validation
def has_at_sign(email: pd.Series) -> pd.Series:
    return email.str.contains("@", regex=False)


job = flow.Job(flow.Pipeline("small", [email, has_at_sign]), source=LEADS, output="small", key="lead_id")
