"""The services about a lead: each gets some fields of it and answers with what it knows. Pure.

All are asked by `POST /v3/<name>` with a JSON object of their inputs; a field may be null or missing. None stands for
nothing known. Facts follow from the seed, the service and the inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import data
from .data import Draws, Facts

UNKNOWN = 0.12
"""The share of people without a professional profile."""


def validator(seed: int, fields: Mapping[str, Any]) -> Facts:
    """Whether an address takes mail."""
    return {"is_valid": bool(data.reputation(seed, _email(fields))["deliverable"])}


def reputation(seed: int, fields: Mapping[str, Any]) -> Facts:
    """What an address is worth, from 0 to 1; 0 where nothing speaks for it."""
    return {"score": data.reputation(seed, _email(fields))["score"]}


def profiles(seed: int, fields: Mapping[str, Any]) -> Facts:
    """The social profiles of a person; a network without one is null."""
    return {"profiles": data.social(seed, _email(fields))["profiles"]}


def profile(seed: int, fields: Mapping[str, Any]) -> Facts | None:
    """The professional profile of a person."""
    email = _email(fields)
    if Draws(seed, "profile", email.lower()).share() < UNKNOWN:
        return None
    found = data.person(seed, email)
    return {"profile": {**{key: found[key] for key in PROFILE}, "name": fields.get("name") or found["name"]}}


def company(seed: int, fields: Mapping[str, Any]) -> Facts | None:
    """The company of that name, or else of that address."""
    name, email = fields.get("company"), _email(fields)
    domain = email.rpartition("@")[2]
    key = domain if name in (None, "", "unknown") else str(name)
    if not data.known(seed, key, unknown=UNKNOWN):
        return None
    found = data.company(seed, key)
    metrics = found["data"]["metrics"]
    return {
        "name": data.company_name(domain) if key == domain else key,
        "domain": domain,
        "industry": found["industry"],
        "employee_count": metrics["employeeCount"],
        "last_year_employee_count": metrics["lastYearEmployeeCount"],
        "revenue": found["revenue"],
        "founded": found["founded"],
        "headquarters": found["headquarters"],
        "description": found["description"],
        "growth_rate": found["growthRate"],
    }


def tech_stack(seed: int, fields: Mapping[str, Any]) -> Facts:
    """The technologies behind a domain, and of which categories they are."""
    found = data.tech(seed, str(fields.get("domain") or ""))
    return {"technologies": found["technologies"], "categories": found["categories"]}


def news(seed: int, fields: Mapping[str, Any]) -> Facts:
    """Articles about a company or a person, at most `limit`."""
    about = str(fields.get("company") or fields.get("person") or "")
    return {"articles": data.news(seed, about)["articles"][: int(fields.get("limit") or 5)]}


def contacts(seed: int, fields: Mapping[str, Any]) -> Facts:
    """A phone number and further addresses of a person."""
    found = data.contacts(seed, _email(fields))
    return {"phone": found["phone"], "additional_emails": found["additional_emails"]}


PROFILE = ("name", "title", "company", "experience", "education", "skills")


def _email(fields: Mapping[str, Any]) -> str:
    return str(fields.get("email") or "")
