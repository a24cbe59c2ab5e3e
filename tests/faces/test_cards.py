"""What an author has declared is told in a few lines, and never a secret."""

from __future__ import annotations

import re
from typing import TypedDict

import pandas as pd
import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.faces.cards import api_html, job_html, service_html


class Company(TypedDict):
    company_name: str
    employees: int | None


acme = flow.API(
    "acme",
    "https://api.acme.example/v2",
    auth=flow.bearer("ACME_KEY"),
    rate=["100/s", "50000/day"],
    concurrency=64,
    timeout=5,
    headers={"X-Team": "s3cr3t"},
)
company = acme.get(
    "company", "/companies/{domain}", returns=Company, price=0.01, cache="90d", when="valid", default=None
)


@flow.transformation
def email(email: str) -> str:
    """Lower case, without spaces around it.

    The rest of the story.
    """
    return email.strip().lower()


@flow.validation
def email_syntax(email: str) -> str | None:
    return None if "@" in email else "no address"


def told(page: str) -> dict[str, str]:
    """The lines of a card: what, and what it is."""
    rows = re.findall(r"<tr>(.*?)</tr>", page)
    cells = [[re.sub("<[^>]*>", "", one) for one in re.findall(r"<td[^>]*>(.*?)</td>", row)] for row in rows]
    return {row[0]: row[1] for row in cells if len(row) == 2}


def test_a_service_of_an_api_tells_what_it_asks_and_under_which_limits() -> None:
    page = service_html(company)
    assert "enrichment · http form · important" in page
    assert told(page) == {
        "asks": "GET https://api.acme.example/v2/companies/{domain}",
        "reads": "domain",
        "writes": "company_name str, employees int | None",
        "api": "acme: 100/s, 50000/day, 64 in flight",
        "price": "USD 0.01 a call",
        "when": "valid",
        "cache": "answers serve 90 days",
        "default": "None",
    }


def test_a_function_tells_the_first_line_of_its_docstring() -> None:
    assert told(service_html(email)) == {
        "does": "Lower case, without spaces around it.",
        "reads": "email str",
        "writes": "email str",
    }


@pytest.mark.parametrize(
    ("price", "said"),
    [
        (flow.PerRecord(0.5), "USD 0.50 a record"),
        (0, "free"),
        (lambda answer: 1.0, "said by the answer"),
        (flow.PerMillionTokens(input=0.15, output=0.6), "USD 0.15 in and 0.6 out for a million tokens"),
    ],
)
def test_a_price_is_told_in_words(price: object, said: str) -> None:
    assert told(service_html(company.with_(price=price)))["price"] == said


def test_a_limit_of_a_price_is_told() -> None:
    dear = company.with_(price=lambda answer: 1.0, max_price=2, budget=100)
    said = "said by the answer, at most USD 2.00, a budget of USD 100.00 a run"
    assert told(service_html(dear))["price"] == said


def test_a_composite_service_names_its_members() -> None:
    both = flow.waterfall("firm", [company, company.with_(name="other")])
    assert told(service_html(both))["made of"] == "firm.company, firm.other"


def test_a_lookup_tells_its_table() -> None:
    facts = flow.lookup("facts", table="s3://key:secret@bucket/facts.parquet", on="domain")
    assert told(service_html(facts))["asks"] == "s3://bucket/facts.parquet"
    assert told(service_html(flow.lookup("facts", table=pa.table({"domain": ["a"]}), on="domain")))["asks"] == (
        "a Table in memory"
    )


def test_an_api_tells_its_limits_and_names_of_secrets_only() -> None:
    page = api_html(acme)
    assert told(page) == {
        "secrets": "ACME_KEY (bearer)",
        "rate": "100/s, 50000/day",
        "in flight": "64 calls at most",
        "timeout": "5.0 s an attempt",
        "retry": "3 attempts, exponential from 1.0 s to 10.0 s",
        "breaker": "opens at 5 failures in a row, for 1 min 00 s",
        "headers": "X-Team",
        "answers": "10 MB at most",
    }
    assert "s3cr3t" not in page


def test_an_api_without_limits_says_so() -> None:
    free = told(api_html(flow.API("free", "https://free.example", concurrency=None, retry=1, breaker=False)))
    assert (free["rate"], free["in flight"], free["retry"], free["breaker"]) == ("no limit", "no limit", "none", "none")


def test_a_job_tells_from_where_to_where_and_draws_its_graph() -> None:
    pipeline = flow.Pipeline("leads", [email, email_syntax, company.with_(columns={"domain": "email"})])
    job = flow.Job(
        pipeline,
        source="leads.csv",
        output="leads-processed",
        key="lead_id",
        budget=50,
        deadline="2h",
        min_found={"company": "20%"},
    )
    page = job_html(job)
    assert told(page) | {
        "source": "leads.csv",
        "output": "leads-processed",
        "key": "lead_id",
        "failures": "1% at most",
        "found": "at least company 20%",
        "deadline": "2h",
        "budget": "50",
    } == told(page)
    assert "<svg" in page


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("https://user:pass@host.example/leads.csv?signature=x", "https://host.example/leads.csv?…"),
        (["a.csv", "b.csv"], "a.csv, b.csv"),
        (flow.csv("leads.csv"), "leads.csv"),
        (pa.table({"email": ["a"]}), "a Table in memory"),
        (pd.DataFrame({"paths": ["private"]}), "a DataFrame in memory"),
        (None, "none yet"),
    ],
)
def test_a_source_is_told_without_its_secrets_and_without_its_records(source: object, said: str) -> None:
    job = flow.Job(flow.Pipeline("leads", [email]), source=source, output="out")
    assert told(job_html(job))["source"] == said


@pytest.mark.parametrize("name", ["service", "api", "job"])
def test_a_declaration_shows_itself_in_a_notebook_and_is_never_markup(name: str, tags: type) -> None:
    evil = "<script>alert(1)</script>" + "x" * 10_000 + "שלום 🚀"
    shown = {
        "service": email.with_(columns={"email": evil}),
        "api": flow.API("acme", "https://acme.example/<script>alert(1)</script>"),
        "job": flow.Job(flow.Pipeline(evil, [email]), source=evil, output="out"),
    }
    page = shown[name]._repr_html_()
    assert "&lt;script&gt;" in page
    assert len(page) < 40_000
    read = tags(page)
    assert "script" not in read.seen
    assert read.open == []
