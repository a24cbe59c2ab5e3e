"""Gathers what eight services know about each lead, side by side, and says who is ready to be called.

    dataflow run jobs/lead_intelligence.py --limit 500

Every service may fail; what the others have found stays. The provider is a small server of our own, started by the
job unless PROVIDER_URL names another. With `--set llm=URL` an OpenAI-compatible endpoint, whose key is LLM_KEY, is
asked for insights as well.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypedDict

import dataflow as flow
from jobs.provider.serve import ensure_provider

DATASETS = Path(__file__).parents[1] / "datasets"
URL = ensure_provider(latency=0.05, jitter=0.02)
READY = 0.6
"""The completeness from which a lead is worth a call."""


class Asked(TypedDict):
    """What the services are asked with; an empty text where a lead says nothing."""

    person: str
    firm: str
    number: str
    domain: str


class Profiles(TypedDict):
    """The social profiles of a person."""

    linkedin: str | None
    twitter: str | None
    github: str | None
    facebook: str | None


class Position(TypedDict):
    """One station of a career."""

    title: str | None
    company: str | None


class Profile(TypedDict):
    """The professional profile of a person."""

    name: str | None
    title: str | None
    company: str | None
    experience: list[Position]
    education: list[str]
    skills: list[str]


class Firm(TypedDict):
    """What is known about a company."""

    name: str | None
    domain: str | None
    industry: str | None
    employee_count: int | None
    last_year_employee_count: int | None
    revenue: float | None
    founded: int | None
    headquarters: str | None
    description: str | None
    growth_rate: float | None


class Stack(TypedDict):
    """The technologies of a company."""

    technologies: list[str]
    categories: list[str]


class Article(TypedDict):
    """One piece of news."""

    title: str


class Reach(TypedDict):
    """Further ways to a person."""

    phone: str | None
    additional_emails: list[str]


class Insights(TypedDict):
    """What a model makes of a lead."""

    key_insights: list[str]
    recommended_approach: str
    pain_points: list[str]
    best_time: str
    personalisation: str


class Contact(TypedDict):
    """How to reach a lead."""

    email: str | None
    is_valid_email: bool
    email_reputation: str
    phone: str | None
    alternate_emails: list[str]
    social: Profiles


class Professional(TypedDict):
    """Who a lead is at work."""

    name: str | None
    title: str | None
    company: str | None
    experience: list[Position]
    education: list[str]
    skills: list[str]


class Company(TypedDict):
    """Where a lead works."""

    name: str | None
    domain: str | None
    industry: str | None
    size: int | None
    revenue: float | None
    founded: int | None
    location: str | None
    description: str | None
    technologies: list[str]
    tech_categories: list[str]


class Signals(TypedDict):
    """What speaks for calling now."""

    recent_news: list[str]
    buying_signals: list[str]
    engagement_score: int


class Sources(TypedDict):
    """Which of the eight services have given something."""

    email_validator: bool
    email_reputation_checker: bool
    social_profile_finder: bool
    linkedin_enrichment: bool
    company_researcher: bool
    tech_stack_analyzer: bool
    news_aggregator: bool
    contact_finder: bool


class Metadata(TypedDict):
    """How much is known, and since when."""

    completeness: float
    data_quality: float
    enriched_at: str
    sources: Sources


@flow.transformation
def email(email: str) -> str:
    """Lower case, without spaces around it."""
    return email.strip().lower()


@flow.transformation(publish=False)
def asked(email: str, name: str | None = None, company: str | None = None, phone: str | None = None) -> Asked:
    """The inputs of the services; a company that is not named is unknown."""
    firm = (company or "").strip()
    return Asked(
        person=(name or "").strip(),
        firm=firm or "unknown",
        number=(phone or "").strip(),
        domain=domain_of(firm or email),
    )


def domain_of(company_or_email: str) -> str:
    """What follows the @ of an e-mail; of a company's name, the domain that it suggests."""
    _, at, host = company_or_email.rpartition("@")
    return host.strip() if at else f"{''.join(company_or_email.lower().split())}.com"


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
    {"company": "{firm}", "person": "{person}", "limit": 5},
    select="articles",
)
reach = ask("reach", "contact-finder", Reach, {"email": "{email}", "phone": "{number}"})

NO_PROFILES = Profiles(linkedin=None, twitter=None, github=None, facebook=None)
NEWS = {
    "recent-funding": ("funding", "raised"),
    "rapid-growth": ("hiring", "expansion"),
    "new-product": ("launch", "release"),
}


def facts(
    *,
    valid: bool | None,
    reputation: float | None,
    social: Profiles | None,
    profile: Profile | None,
    firm: Firm | None,
    stack: Stack | None,
    articles: list[Article] | None,
    reach: Reach | None,
) -> list[bool]:
    """The eight facts that make a lead complete."""
    return [
        bool(valid),
        bool(reputation),
        social is not None and any(social.values()),
        profile is not None,
        firm is not None and bool(firm["name"]),
        stack is not None and bool(stack["technologies"]),
        bool(articles),
        reach is not None and bool(reach["additional_emails"]),
    ]


def share(flags: list[bool]) -> float:
    """The share of those that hold."""
    return sum(flags) / len(flags)


def has_content(result: Any) -> bool:
    """Whether a result is there and holds anything."""
    if isinstance(result, dict):
        return any(has_content(one) for one in result.values())
    return result is not None and result not in ("", [])


def buying_signals(titles: list[str], firm: Firm | None) -> list[str]:
    """What headlines and headcount say about a company that may buy."""
    text = " ".join(titles).lower()
    found = [signal for signal, words in NEWS.items() if any(word in text for word in words)]
    now, before = (None, None) if firm is None else (firm["employee_count"], firm["last_year_employee_count"])
    if now is not None and before and now > 1.2 * before:
        found.append("aggressive-hiring")
    return found


def engagement_score(social: Profiles | None, skills: list[str], growth: float | None) -> int:
    """10 for each social profile, 20 for more than 10 skills, 30 for growth above 20 %; at most 100."""
    profiles = 0 if social is None else sum(one is not None for one in social.values())
    return min(100, 10 * profiles + 20 * (len(skills) > 10) + 30 * ((growth or 0) > 0.2))


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


def insights_by(url: str, model: str) -> flow.Service:
    """A model that is told what is known of a lead."""
    key = flow.bearer("LLM_KEY") if "LLM_KEY" in os.environ else None
    return flow.llm(
        "insights",
        api=flow.API("llm", url, auth=key, concurrency=20, retry=flow.Retry(attempts=2, initial=0.5), breaker=False),
        model=model,
        system="You prepare salespeople for a first call. Say nothing that the facts do not support.",
        prompt=(
            "Contact: {contact}\nWork: {professional}\nSignals: {signals}\n\n"
            "Give the key insights, the recommended approach, likely pain points, the best time to call, and one "
            "sentence that makes the first message personal."
        ),
        returns=Insights,
        into="insights",
        priority="optional",
        max_tokens=600,
    )


def services(insights: flow.Service = no_insights) -> list[flow.Service]:
    """All of them, in reading order."""
    eight = [valid, reputation, social, profile, firm_found, stack, articles, reach]
    return [email, asked, *eight, contact, professional, company, signals, metadata, insights, ready_for_outreach]


def job(
    source: str = str(DATASETS / "leads.csv"), llm: str = os.environ.get("LLM_URL", ""), model: str = "demo-small"
) -> flow.Job:
    """The job; `--set source=PATH` takes other leads, `--set llm=URL --set model=NAME` asks a model for insights.

    `--set llm=demo` asks the one that the provider plays.
    """
    insights = insights_by(f"{URL}/v1" if llm == "demo" else llm, model) if llm else no_insights
    return flow.Job(
        flow.Pipeline("lead_intelligence", services(insights)),
        source=source,
        output="lead-intelligence",
        key="lead_id",
        # A source that fails for every lead must not end the run: the others have been paid for.
        max_failures="100%",
    )
