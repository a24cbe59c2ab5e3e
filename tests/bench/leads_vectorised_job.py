"""The vectorised benchmark on the library: column services on Arrow arrays.

Started by `vectorised.py`, which gives the paths.
"""

from __future__ import annotations

import kernels
import pyarrow as pa

import dataflow as flow


@flow.transformation
def first_name(first_name: pa.Array) -> pa.Array:
    return kernels.title(first_name)


@flow.transformation
def last_name(last_name: pa.Array) -> pa.Array:
    return kernels.title(last_name)


@flow.transformation
def email(email: pa.Array) -> pa.Array:
    return kernels.lower(email)


@flow.transformation
def phone(phone: pa.Array) -> pa.Array:
    return kernels.digits(phone)


@flow.transformation(returns=str)
def domain(email: pa.Array) -> pa.Array:
    return kernels.domain(email)


@flow.validation
def is_email(email: pa.Array) -> pa.Array:
    return kernels.is_email(email)


@flow.validation
def is_known_country(country: pa.Array) -> pa.Array:
    return kernels.is_known_country(country)


@flow.validation
def in_range(amount: pa.Array) -> pa.Array:
    return kernels.in_range(amount)


def job(leads: str, domains: str) -> flow.Job:
    industry = flow.lookup("industry", table=domains, on="domain")
    services = [first_name, last_name, email, phone, domain, is_email, is_known_country, in_range, industry]
    return flow.Job(flow.Pipeline("leads", services), source=leads, output="leads", key="lead_id")
