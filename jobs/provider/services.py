"""The services of the provider: which path asks which of them, and what the key of a call is. Pure.

Facts come from `data`; limits, faults and counts do not belong here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import parse_qs

from . import chat, content, data, graph, leads

BATCH = 100
"""Domains at most in one call of the batch endpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service.

    Attributes:
        prefix: Where its paths begin; the name it is counted under.
        method: The only method it takes.
        place: Where the key is: in the `path` behind the prefix, in the `query`, or in the `json` or `form` body.
        fields: Names under which query or body may hold the key; the first that is there counts.
        suffix: What follows the key in the path.
        facts: The answer to a key; None for the token endpoint and the batch endpoint.
        gaps: Whether some keys are unknown.
        answers: The answer to all fields of a body, None for nothing known; the key is made of those in `fields`.
        effect: Whether a call does something, which an Idempotency-Key keeps from being done twice.
    """

    prefix: str
    method: str = "GET"
    place: Literal["path", "query", "json", "form"] = "query"
    fields: tuple[str, ...] = ("domain", "email")
    suffix: str = ""
    facts: Callable[[int, str], data.Facts] | None = None
    gaps: bool = False
    answers: Callable[[int, Mapping[str, Any]], data.Facts | None] | None = None
    effect: bool = False


def _told(name: str, answers: Callable[..., data.Facts | None], *fields: str, effect: bool = False) -> Service:
    """A service that is told its inputs in a body."""
    return Service(prefix=f"/v3/{name}", method="POST", place="json", fields=fields, answers=answers, effect=effect)


COMPANIES = Service(prefix="/v2/companies", place="path", facts=data.company, gaps=True)
COMPANY_BATCH = Service(prefix="/v2/companies/batch", method="POST", place="json", fields=("domains",))
EMAILS = Service(prefix="/v2/emails", place="path", suffix="/reputation", facts=data.reputation)
SOCIAL = Service(prefix="/v2/social", facts=data.social)
TECH = Service(prefix="/v2/tech", place="path", facts=data.tech)
NEWS = Service(prefix="/v2/news", facts=data.news)
CONTACTS = Service(prefix="/v2/contacts", facts=data.contacts)
PEOPLE = Service(prefix="/v2/people", fields=("email",), facts=data.person)
PHONES = Service(prefix="/v2/phones/check", method="POST", place="json", fields=("phone",), facts=data.phone)
TOKENS = Service(prefix="/oauth/token", method="POST", place="form", fields=("client_id",))
GRAPH = Service(prefix="/graphql", method="POST", place="json", fields=("query",), answers=graph.answer)
CHAT = Service(prefix="/v1/chat/completions", method="POST", place="json", fields=("messages",))
LEADS = (
    _told("email-validator", leads.validator, "email"),
    _told("email-reputation-checker", leads.reputation, "email"),
    _told("social-profile-finder", leads.profiles, "email"),
    _told("linkedin-enrichment", leads.profile, "email"),
    _told("company-researcher", leads.company, "company", "email"),
    _told("tech-stack-analyzer", leads.tech_stack, "domain"),
    _told("news-aggregator", leads.news, "company", "person"),
    _told("contact-finder", leads.contacts, "email"),
)
CONTENT = (
    _told("topic-researcher", content.findings, "topic"),
    _told("competitor-analyzer", content.insights, "topic"),
    _told("trend-analyzer", content.trends, "topic"),
    _told("keyword-researcher", content.keywords, "keywords"),
    _told("content-generator", content.text, "topic", "format"),
    _told("seo-optimizer", content.optimized, "text"),
    _told("image-generator", content.images, "topic", "style"),
    _told("hashtag-generator", content.hashtags, "text"),
    _told("metadata-generator", content.metadata, "text"),
    _told("optimal-time-finder", content.best_time, "channel", "audience"),
    _told("content-scheduler", content.scheduled, "channel", "text", effect=True),
)
SERVICES = (
    *LEADS,
    *CONTENT,
    COMPANIES,
    COMPANY_BATCH,
    EMAILS,
    SOCIAL,
    TECH,
    NEWS,
    CONTACTS,
    PEOPLE,
    PHONES,
    GRAPH,
    CHAT,
    TOKENS,
)
OTHER = "other"
"""The name under which calls of paths that lead nowhere are counted."""

_EXACT = {service.prefix: service for service in SERVICES if service.place != "path"}
_KEYED = {service.prefix: service for service in SERVICES if service.place == "path"}


def find(path: str) -> Service | None:
    """The service that a path asks, or None."""
    if service := _EXACT.get(path):
        return service
    end = path.find("/", 4)
    service = _KEYED.get(path[:end]) if end > 0 else None
    if service is None or not path.endswith(service.suffix) or len(path) <= end + 1 + len(service.suffix):
        return None
    return service


def key_in_path(service: Service, path: str) -> str:
    """The key that the path names."""
    return path[len(service.prefix) + 1 : len(path) - len(service.suffix)]


def key_in_fields(service: Service, fields: Mapping[str, Any]) -> str | None:
    """The key among the fields of a query or body; a list of domains is joined by commas.

    Where a service is told its inputs, several of them make the key; long texts are cut.
    """
    if service is CHAT:
        return chat.asked(fields)
    if service.answers is not None:
        given = [str(fields[name])[:60] for name in service.fields if fields.get(name)]
        return " | ".join(given) or None
    for name in service.fields:
        value = fields.get(name)
        if service is COMPANY_BATCH and isinstance(value, list) and all(isinstance(one, str) for one in value):
            return ",".join(value) if value else None
        if isinstance(value, str) and value:
            return value
    return None


def query_fields(query: bytes) -> dict[str, str]:
    """The parameters of a query or a form; of several with one name the last."""
    return {name: values[-1] for name, values in parse_qs(query.decode("latin-1")).items()}


def body_fields(body: bytes) -> dict[str, Any]:
    """The fields of a JSON body; none where it is no JSON object."""
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
