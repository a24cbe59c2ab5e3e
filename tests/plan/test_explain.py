"""What runs beside what, and why, in lines."""

from __future__ import annotations

import pyarrow as pa

import dataflow as flow
from dataflow.plan.binding import bind
from dataflow.plan.explain import Explanation, explain_graph

SOURCE = pa.schema({"email": pa.string(), "vip": pa.bool_(), "phone": pa.string()})


@flow.transformation
def email(email: str) -> str: ...


@flow.transformation
def domain(email: str) -> str: ...


@flow.validation
def email_ok(email: str) -> bool: ...


@flow.enrichment(when="valid")
async def company(domain: str) -> str: ...


@flow.enrichment(when="vip", overwrite="nulls")
def phone(domain: str) -> str: ...


@flow.transformation
def told(outcomes: flow.Outcomes) -> str: ...


def explained(*services: flow.Service) -> Explanation:
    return explain_graph(bind(services, SOURCE, name="leads"), notes=("from the source",))


def test_each_service_says_what_it_reads_writes_and_waits_for() -> None:
    explanation = explained(email, domain, email_ok, company, phone, told)
    lines = {line.name: line for line in explanation.lines}
    assert [line.level for line in explanation.lines] == [0, 1, 1, 2, 2, 3]
    assert (lines["email"].reads, lines["email"].writes, lines["email"].after) == (("email@0",), ("email@1",), ())
    assert (lines["domain"].after, lines["domain"].why) == (("email",), ("reads email@1",))
    assert dict(zip(lines["company"].after, lines["company"].why, strict=True)) == {
        "domain": "reads domain@1",
        "email_ok": "when valid",
    }
    assert (lines["phone"].when, lines["phone"].writes) == ("vip", ("phone@1",))
    assert set(lines["told"].why) == {"needs its outcome"}


def test_a_service_names_only_those_it_waits_for_directly() -> None:
    (line,) = [
        one for one in explained(email, domain, company.with_(when="phone is null")).lines if one.name == "company"
    ]
    assert line.after == ("domain",)


def test_the_text_shows_levels_output_and_notes() -> None:
    text = str(explained(email_ok, email, domain))
    assert text.splitlines()[0] == "leads: 3 services in 2 levels; one level runs side by side"
    assert "level 2\n  domain" in text
    assert "domain    transformation (record, critical); email@1 -> domain@1; after email (reads email@1)" in text
    assert "output: email string, vip bool, phone string, domain string, is_valid bool, validations list<...>" in text
    assert text.splitlines()[-2:] == [
        "note: from the source",
        "note: `email_ok` judges `email` before `email` rewrites it; "
        "list the validation after it to judge what is published",
    ]


def test_why_a_writer_waits_for_the_writer_before_it() -> None:
    again = domain.with_(name="again", columns={"email": "phone"}, into="domain")
    (line,) = [one for one in explained(domain, again).lines if one.name == "again"]
    assert line.why == ("replaces domain@1",)


def test_why_a_call_waits_for_a_critical_service() -> None:
    asked = company.with_(name="asked", when="vip", columns={"domain": "phone"})
    (line,) = [one for one in explained(domain, asked).lines if one.name == "asked"]
    assert line.why == ("calls out only for records that it has not rejected",)


def test_records_that_share_a_call_are_told() -> None:
    acme = flow.API("acme", "https://acme.example")
    sized = acme.post("sized", "/sizes", json=["{email}"], batch=1000, returns=int)
    assert "enrichment (http, API acme, 1,000 records a call, important)" in str(explained(sized))
    assert "1,000 records a call" in explained(sized)._repr_html_()


def test_what_is_asked_once_for_each_distinct_input_is_told_in_order() -> None:
    acme = flow.API("acme", "https://api.acme.example")
    company = acme.get("company", "/companies/{domain}", returns={"slug": str})
    people = acme.get("people", "/people/{slug}", returns={"boss": str})
    order = acme.post("order", "/orders", json={"domain": "{domain}"}, returns={"ordered": int}, idempotent=False)
    graph = bind([company, people, order], pa.schema([("domain", pa.string())]), name="test")
    (note,) = explain_graph(graph).notes
    assert note.endswith("is called once before them: `company`; then `people`")
