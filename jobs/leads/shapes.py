"""The shapes of lead intelligence: what the services are asked with, what they give, and what is published."""

from __future__ import annotations

from typing import TypedDict


class Asked(TypedDict):
    """What the services are asked with; an empty text where a lead says nothing, no domain where nothing tells it."""

    person: str
    firm: str
    employer: str
    is_named: bool
    number: str
    domain: str | None


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
    """What is known about a company; an answer without a name is none."""

    name: str
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
