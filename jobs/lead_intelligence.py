"""Gathers what eight services know about each lead, side by side, and says who is ready to be called.

    dataflow run jobs/lead_intelligence.py --limit 500

Every service may fail; what the others have found stays. The provider is a small server of our own, started by the
job unless PROVIDER_URL names another. With `--set llm=URL` an OpenAI-compatible endpoint is asked for insights as
well; its key is in LLM_KEY, any word where it needs none.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import dataflow as flow
from jobs.leads.scores import buying_signals, domain_of, engagement_score, facts, has_content, share
from jobs.leads.shapes import (
    Article,
    Asked,
    Company,
    Contact,
    Firm,
    Insights,
    Metadata,
    Professional,
    Profile,
    Profiles,
    Reach,
    Signals,
    Sources,
    Stack,
)
from jobs.provider.serve import ADDRESS, ensure_provider

DATASETS = Path(__file__).parents[1] / "datasets"
URL = ensure_provider(latency=0.05, jitter=0.02)
NOTHING = ("", "NULL", "N/A", "n/a", "-")
"""What people write into a form for nothing."""
READY = 0.6
"""The completeness from which a lead is worth a call."""


@flow.transformation
def email(email: str) -> str:
    """Lower case, without spaces around it."""
    return email.strip().lower()


@flow.transformation(publish=False)
def asked(email: str, name: str | None = None, company: str | None = None, phone: str | None = None) -> Asked:
    """The inputs of the services; a company that is not named is unknown."""
    person, firm = (name or "").strip(), (company or "").strip()
    return Asked(
        person=person,
        firm=firm or "unknown",
        employer=firm,
        is_named=bool(person or firm),
        number=(phone or "").strip(),
        domain=domain_of(firm, email=email),
    )


def ask(name: str, service: str, returns: Any, inputs: dict[str, Any], **options: Any) -> flow.Service:
    """One of the eight services, on an account of its own: what goes wrong with it hurts no other."""
    api = flow.API(
        service,
        URL,
        concurrency=20,
        timeout=5,
        retry=flow.Retry(attempts=2, initial=0.2),
        # Nobody waits for a source that is down: the lead is published with what the others know.
        breaker=False,
    )
    return api.post(
        name,
        f"/v3/{service}",
        json=inputs,
        returns=returns,
        into=name,
        priority="optional",
        publish=False,
        **options,
    )


valid = ask("valid", "email-validator", bool, {"email": "{email}"}, select="is_valid")
reputation = ask("reputation", "email-reputation-checker", float, {"email": "{email}"}, select="score")
social = ask("social", "social-profile-finder", Profiles, {"email": "{email}", "name": "{person}"}, select="profiles")
profile = ask("profile", "linkedin-enrichment", Profile, {"email": "{email}", "name": "{person}"}, select="profile")
firm_found = ask("firm_found", "company-researcher", Firm, {"company": "{firm}", "email": "{email}"})
stack = ask("stack", "tech-stack-analyzer", Stack, {"domain": "{domain}"})
articles = ask(
    "articles",
    "news-aggregator",
    list[Article],
    {"company": "{employer}", "person": "{person}", "limit": 5},
    select="articles",
    when="is_named",
)
reach = ask("reach", "contact-finder", Reach, {"email": "{email}", "phone": "{number}"})

NO_PROFILES = Profiles(linkedin=None, twitter=None, github=None, facebook=None)


@flow.transformation(into="contact")
def contact(
    email: str | None,
    valid: bool | None,
    reputation: float | None,
    reach: Reach | None,
    social: Profiles | None,
    phone: str | None = None,
) -> Contact:
    """How to reach the lead."""
    return Contact(
        email=email,
        is_valid_email=bool(valid),
        email_reputation=f"{reputation:g}" if reputation else "unknown",
        phone=(reach and reach["phone"]) or phone,
        alternate_emails=[] if reach is None else reach["additional_emails"],
        social=social or NO_PROFILES,
    )


@flow.transformation(into="professional")
def professional(
    profile: Profile | None, firm_found: Firm | None, name: str | None = None, company: str | None = None
) -> Professional:
    """Who the lead is at work: what the lead says goes first."""
    return Professional(
        name=name or (profile and profile["name"]),
        title=profile and profile["title"],
        company=company or (profile and profile["company"]) or (firm_found and firm_found["name"]),
        experience=[] if profile is None else profile["experience"],
        education=[] if profile is None else profile["education"],
        skills=[] if profile is None else profile["skills"],
    )


@flow.transformation(into="company")
def company(firm_found: Firm | None, stack: Stack | None) -> Company | None:
    """Where the lead works; nothing where no company was found."""
    if firm_found is None:
        return None
    return Company(
        name=firm_found["name"],
        domain=firm_found["domain"],
        industry=firm_found["industry"],
        size=firm_found["employee_count"],
        revenue=firm_found["revenue"],
        founded=firm_found["founded"],
        location=firm_found["headquarters"],
        description=firm_found["description"],
        technologies=[] if stack is None else stack["technologies"],
        tech_categories=[] if stack is None else stack["categories"],
    )


@flow.transformation(into="signals")
def signals(
    articles: list[Article] | None, firm_found: Firm | None, social: Profiles | None, profile: Profile | None
) -> Signals:
    """What speaks for calling now."""
    titles = [one["title"] for one in articles or []]
    skills = [] if profile is None else profile["skills"]
    return Signals(
        recent_news=titles,
        buying_signals=buying_signals(titles, firm_found),
        engagement_score=engagement_score(social, skills, firm_found and firm_found["growth_rate"]),
    )


@flow.transformation(into="metadata")
def metadata(
    valid: bool | None,
    reputation: float | None,
    social: Profiles | None,
    profile: Profile | None,
    firm_found: Firm | None,
    stack: Stack | None,
    articles: list[Article] | None,
    reach: Reach | None,
    context: flow.Context,
) -> Metadata:
    """How much is known of the lead, by which services, since when."""
    results = [valid, reputation, social, profile, firm_found, stack, articles, reach]
    known = facts(
        valid=valid,
        reputation=reputation,
        social=social,
        profile=profile,
        firm=firm_found,
        stack=stack,
        articles=articles,
        reach=reach,
    )
    given = [one is not None for one in results]
    return Metadata(
        completeness=share(known),
        data_quality=share([has_content(one) for one in results]),
        enriched_at=context.started_at.isoformat(timespec="seconds"),
        sources=Sources(**dict(zip(Sources.__annotations__, given, strict=True))),  # type: ignore[typeddict-item]
    )


@flow.transformation
def ready_for_outreach(metadata: Metadata | None, contact: Contact | None) -> bool:
    """Whether the lead is worth a call: enough is known, and mail arrives."""
    enough = metadata is not None and metadata["completeness"] >= READY
    return enough and contact is not None and contact["is_valid_email"]


@flow.enrichment(name="insights", priority="optional", into="insights")
def no_insights(contact: Contact | None) -> Insights:
    """What stands for the model where no endpoint is set: counted as skipped."""
    raise flow.Skip("no endpoint is set; name one with --set llm=URL")


@flow.transformation(publish=False)
def brief(professional: Professional | None, company: Company | None, signals: Signals | None) -> str | None:
    """What a model is told: nothing by which to reach the lead; null where there is nothing to tell."""
    news = signals and signals["recent_news"]
    if not any(has_content(one) for one in (professional, company, news)):
        return None
    return json.dumps({"person": professional, "company": company, "signals": signals}, ensure_ascii=False)


def insights_by(api: flow.API, model: str) -> flow.Service:
    """A model that is told what is known of a lead."""
    return flow.llm(
        "insights",
        api=api,
        model=model,
        system="You prepare salespeople for a first call. Say nothing that the facts do not support.",
        prompt=(
            "What is known of the lead, as JSON:\n{brief}\n\n"
            "Give the key insights, the recommended approach, likely pain points, the best time to call, and one "
            "sentence that makes the first message personal."
        ),
        returns=Insights,
        into="insights",
        priority="optional",
        max_tokens=600,
    )


def account_of(llm: str) -> flow.API:
    """The account of an endpoint; one that asks for no key takes any."""
    demo = llm == "demo"
    # The key is always named: whether it is set may differ between here and the workers, and the job must not.
    auth = None if demo else flow.bearer("LLM_KEY")
    url = f"{URL}/v1" if demo else llm
    return flow.API("llm", url, auth=auth, concurrency=20, retry=flow.Retry(attempts=2, initial=0.5), breaker=False)


def services(*insights: flow.Service) -> list[flow.Service]:
    """All of them, in reading order."""
    eight = [valid, reputation, social, profile, firm_found, stack, articles, reach]
    nested = [contact, professional, company, signals, metadata]
    return [email, asked, *eight, *nested, *(insights or (no_insights,)), ready_for_outreach]


def job(
    source: str = str(DATASETS / "leads.csv"), llm: str = os.environ.get("LLM_URL", ""), model: str = "demo-small"
) -> flow.Job:
    """The job; `--set source=PATH` takes other leads, `--set llm=URL --set model=NAME` asks a model for insights.

    `--set llm=demo` asks the one that the provider plays.
    """
    insights = (brief, insights_by(account_of(llm), model)) if llm else ()
    return flow.Job(
        flow.Pipeline("lead_intelligence", services(*insights)),
        source=flow.csv(source, null_values=NOTHING) if source.endswith(".csv") else source,
        output="lead-intelligence",
        key="lead_id",
        # A source that fails for every lead must not end the run: the others have been paid for.
        max_failures="100%",
        environ=[ADDRESS, "LLM_URL"],
    )
