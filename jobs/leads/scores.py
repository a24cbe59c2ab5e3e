"""What is concluded about a lead: its domain, how much is known, and what speaks for calling now. Pure."""

from __future__ import annotations

from typing import Any

from .shapes import Article, Firm, Profile, Profiles, Reach, Stack

NEWS = {
    "recent-funding": ("funding", "raised"),
    "rapid-growth": ("hiring", "expansion"),
    "new-product": ("launch", "release"),
}


def domain_of(company: str, *, email: str) -> str | None:
    """The domain that a company's name suggests; without one what follows the @ of the e-mail, if anything does."""
    name = "".join(company.lower().split())
    _, _, host = email.strip().partition("@")
    return f"{name}.com" if name else host or None


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
