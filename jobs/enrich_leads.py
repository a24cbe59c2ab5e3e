"""Asks five services of a provider about ten thousand leads; the job to read for calling APIs.

    dataflow run jobs/enrich_leads.py

The provider is a small server of our own, started by the job unless PROVIDER_URL names another. It answers late,
knows nothing about some companies, and may be asked at a limited rate, as providers do.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

import httpx

import dataflow as flow
from jobs.provider.serve import ADDRESS, ensure_provider

DATASETS = Path(__file__).parents[1] / "datasets"
FREE_MAIL = {"freemail.example", "webpost.example", "mailbox.example"}

acme = flow.API("acme", ensure_provider(latency=0.02, jitter=0.02), rate="1000/s", concurrency=64, timeout=5)


@flow.transformation
def email(email: str) -> str:
    """Lower case, without spaces around it."""
    return email.strip().lower()


@flow.transformation
def domain(email: str) -> str | None:
    """The company's own domain; a free mailbox says nothing about the company."""
    found = email.rpartition("@")[2]
    return None if found in FREE_MAIL or "." not in found else found


@flow.validation
def email_syntax(email: str) -> str | None:
    """A first look, before anybody is paid for a second one."""
    name, at, host = email.partition("@")
    return None if name and at and "." in host and " " not in email else "no address"


class Company(TypedDict):
    """What a provider knows about a company."""

    company_name: str
    industry: str | None
    employees: int | None


company = acme.get(
    "company",
    "/v2/companies/{domain}",
    returns=Company,
    select={"company_name": "name", "employees": "data.metrics.employeeCount"},
)

reputation = acme.get(
    "reputation",
    "/v2/emails/{email}/reputation",
    returns={"deliverable": bool, "score": float},
    columns={"score": "reputation_score"},
    when="valid",
)

technologies = acme.get(
    "technologies", "/v2/tech/{domain}", returns=list[str], select="technologies", priority="optional"
)

social = acme.get(
    "social",
    "/v2/social",
    params={"domain": "{domain}"},
    returns={"linkedin": str | None, "twitter": str | None},
    select={"linkedin": "profiles.linkedin", "twitter": "profiles.twitter"},
    priority="optional",
)


@flow.enrichment(api=acme, priority="optional")
async def headlines(domain: str, http: httpx.AsyncClient) -> list[str]:
    """The news of a company, by a function that gets the API's own client."""
    answer = await http.get("/v2/news", params={"domain": domain})
    answer.raise_for_status()
    return [one["title"] for one in answer.json()["articles"]]


pipeline = flow.Pipeline(
    "enrich_leads", [email, domain, email_syntax, company, reputation, technologies, social, headlines]
)


def job(source: str = str(DATASETS / "leads.csv")) -> flow.Job:
    """The job; `--set source=PATH` enriches other leads."""
    return flow.Job(pipeline, source=source, output="leads-enriched", key="lead_id", environ=[ADDRESS])
