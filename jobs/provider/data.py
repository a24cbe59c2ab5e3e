"""What the invented APIs know: every fact is drawn from a hash of the seed, the service and the key. Pure.

No files, no chance, no clock: the same key has the same answer in every process. How answers travel, and how
they go wrong, is not known here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, TypeVar

T = TypeVar("T")
Facts = dict[str, Any]

INDUSTRIES = ("Logistics", "Food & Beverage", "Software", "Machinery", "Energy", "Health Care", "Retail", "Travel")
COUNTRIES = {
    "US": ("Boston", "Denver"), "DE": ("Bremen", "Leipzig"), "GB": ("Leeds", "Bristol"), "FR": ("Nantes", "Lille"),
    "ES": ("Bilbao", "Sevilla"), "IT": ("Torino", "Bari"), "NL": ("Utrecht", "Delft"), "SE": ("Malmö", "Umeå"),
    "PL": ("Gdańsk", "Łódź"), "BR": ("Recife", "Curitiba"), "IN": ("Pune", "Chennai"), "JP": ("Ōsaka", "Kōbe"),
}  # fmt: skip
NETWORKS = {"linkedin": "company/", "twitter": "", "github": "", "facebook": ""}
TECHNOLOGIES = {
    "Django": "Web framework", "Rails": "Web framework", "React": "JavaScript library", "Vue": "JavaScript library",
    "PostgreSQL": "Database", "MySQL": "Database", "Redis": "Cache", "Kafka": "Message queue", "nginx": "Web server",
    "Salesforce": "CRM", "HubSpot": "CRM", "Stripe": "Payments", "Shopify": "Shop", "Snowflake": "Data warehouse",
}  # fmt: skip
HEADLINES = (
    "{name} raised {number} million in a new round of funding",
    "{name} is hiring {number} people in {city}",
    "{name} announces expansion to {city}",
    "{name} to launch its next product in {city}",
    "{name} publishes release {number} of its platform",
    "{name} names a new head of finance",
    "Court in {city} dismisses a case against {name}",
    "{name} saves {number} % of its energy",
)
PAPERS = ("The Daily Ledger", "Trade Winds", "Market Post")
FIRST_NAMES = (
    "Grace",
    "Sören",
    "Priya",
    "Éloïse",
    "Nuria",
    "Ettore",
    "Fenna",
    "Åsa",
    "Zofia",
    "Bruna",
    "Vikram",
    "Yūko",
)
LAST_NAMES = (
    "O'Neil",
    "Müller",
    "Patel",
    "Lefèvre",
    "Ortega",
    "Rossi",
    "de Vries",
    "Ek",
    "Zięba",
    "Souza",
    "Rao",
    "Itō",
)
TITLES = ("Head of Operations", "Purchasing Manager", "CTO", "Data Engineer", "Managing Director", "Sales Lead")
SKILLS = (
    "Negotiation", "Python", "SQL", "Procurement", "Forecasting", "Leadership", "Excel", "Spanish", "Logistics",
    "Public speaking", "Budgeting", "Statistics", "Kubernetes", "Marketing", "Recruiting", "Law",
)  # fmt: skip
CARRIERS = ("Telenord", "Mobilia", "Linea Uno", "Crosswire")


class Draws:
    """Numbers that follow from a text, one after the other; about 200 bits of them.

    Args:
        parts: What the numbers follow from; the same parts give the same numbers.
    """

    __slots__ = ("_number",)

    def __init__(self, *parts: object) -> None:
        text = "\0".join(map(str, parts)).encode("utf-8", "surrogatepass")
        self._number = int.from_bytes(blake2b(text, digest_size=32).digest(), "big")

    def below(self, limit: int) -> int:
        """A whole number from 0 to limit - 1."""
        self._number, drawn = divmod(self._number, limit)
        return drawn

    def share(self) -> float:
        """A number in [0, 1)."""
        return self.below(1 << 24) / (1 << 24)

    def pick(self, choices: Sequence[T]) -> T:
        """One of the choices."""
        return choices[self.below(len(choices))]

    def sample(self, choices: Sequence[T], most: int) -> list[T]:
        """Up to `most` different neighbours among the choices, perhaps none."""
        start, number = self.below(len(choices)), self.below(most + 1)
        return [choices[(start + step) % len(choices)] for step in range(number)]


def known(seed: int, domain: str, *, unknown: float) -> bool:
    """Whether the company is known; `unknown` is the share of domains that are not."""
    return Draws(seed, "known", domain.lower()).share() >= unknown


def company(seed: int, domain: str) -> Facts:
    """The company behind a domain, also behind one that `known` calls unknown."""
    draws = Draws(seed, "company", domain.lower())
    country = draws.pick(tuple(COUNTRIES))
    city, industry = draws.pick(COUNTRIES[country]), draws.pick(INDUSTRIES)
    name, employees = company_name(domain), 3 + draws.below(10 ** (1 + draws.below(4)))
    growth = draws.below(80) - 25
    return {
        "name": name,
        "domain": domain,
        "industry": industry,
        "founded": 1900 + draws.below(124),
        "country": country,
        "headquarters": f"{city}, {country}",
        "revenue": employees * (40_000 + draws.below(200_000)),
        "growthRate": growth / 100,
        "description": f"{name} of {city} is in {industry.lower()}.",
        "data": {
            "metrics": {
                "employeeCount": employees,
                "lastYearEmployeeCount": max(1, round(employees * 100 / (100 + growth))),
            }
        },
    }


def reputation(seed: int, email: str) -> Facts:
    """What is said of an e-mail address."""
    draws = Draws(seed, "email", email.lower())
    plausible = "@" in email and "." in email.rpartition("@")[2]
    disposable = Draws(seed, "disposable", email.lower().rpartition("@")[2]).share() < 0.05
    return {
        "email": email,
        "deliverable": plausible and draws.share() < 0.85,
        "score": draws.below(101) / 100 if plausible else 0.0,
        "disposable": disposable,
    }


def social(seed: int, domain: str) -> Facts:
    """The profiles of a company or person; a network without one is null."""
    draws = Draws(seed, "social", domain.lower())
    name = _slug(domain)
    profiles = {
        network: f"https://{network}.example/{path}{name}" if draws.share() < 0.6 else None
        for network, path in NETWORKS.items()
    }
    return {"domain": domain, "profiles": profiles}


def tech(seed: int, domain: str) -> Facts:
    """The technologies that a company uses, and of which categories they are."""
    technologies = Draws(seed, "tech", domain.lower()).sample(tuple(TECHNOLOGIES), 6)
    categories = sorted({TECHNOLOGIES[one] for one in technologies})
    return {"domain": domain, "technologies": technologies, "categories": categories}


def news(seed: int, domain: str) -> Facts:
    """Up to five headlines about a company, and the articles below them."""
    draws = Draws(seed, "news", domain.lower())
    city = draws.pick(COUNTRIES[draws.pick(tuple(COUNTRIES))])
    name, number = company_name(domain), 2 + draws.below(60)
    titles = [text.format(name=name, city=city, number=number) for text in draws.sample(HEADLINES, 5)]
    articles = [
        {"title": title, "source": draws.pick(PAPERS), "publishedAt": f"2025-{1 + draws.below(12):02}-01"}
        for title in titles
    ]
    return {"domain": domain, "headlines": titles, "articles": articles}


def contacts(seed: int, domain: str) -> Facts:
    """People to talk to at a company, its phone number, and further addresses."""
    draws = Draws(seed, "contacts", domain.lower())
    host = domain.rpartition("@")[2]
    people = [
        {"name": f"{first} {last}", "title": draws.pick(TITLES), "email": f"{_plain(first[0] + last)}@{host}"}
        for first, last in zip(draws.sample(FIRST_NAMES, 3), LAST_NAMES[draws.below(9) :], strict=False)
    ]
    return {
        "domain": domain,
        "phone": f"+1212555{100 + draws.below(100):04}" if draws.share() < 0.7 else None,
        "additional_emails": [f"{box}@{host}" for box in draws.sample(("info", "sales", "office", "hello"), 2)],
        "contacts": people,
    }


def person(seed: int, email: str) -> Facts:
    """The professional profile behind an e-mail address."""
    draws = Draws(seed, "person", email.lower())
    employer = company_name(email.rpartition("@")[2])
    title = draws.pick(TITLES)
    return {
        "email": email,
        "name": f"{draws.pick(FIRST_NAMES)} {draws.pick(LAST_NAMES)}",
        "title": title,
        "company": employer,
        "experience": [{"title": title, "company": employer, "years": 1 + draws.below(20)}],
        "education": [f"University of {draws.pick(COUNTRIES[draws.pick(tuple(COUNTRIES))])}"],
        "skills": draws.sample(SKILLS, 14),
    }


def phone(seed: int, number: str) -> Facts:
    """What is known about a phone number."""
    draws = Draws(seed, "phone", number)
    digits = sum(map(str.isdigit, number))
    valid = 7 <= digits <= 15 and draws.share() < 0.9
    return {
        "phone": number,
        "valid": valid,
        "line_type": draws.pick(("mobile", "landline", "voip")) if valid else None,
        "carrier": draws.pick(CARRIERS) if valid else None,
        "country": draws.pick(tuple(COUNTRIES)) if valid else None,
    }


def batch(seed: int, domains: Sequence[str], *, unknown: float) -> list[Facts]:
    """The known ones of the companies, in another order than asked; each carries its domain."""
    found = [one for one in dict.fromkeys(domains) if known(seed, one, unknown=unknown)]
    return [company(seed, one) for one in sorted(found, key=lambda one: Draws(seed, "order", one).share())]


def company_name(domain: str) -> str:
    """The name that a domain suggests: `silverlake-solar.example` is Silverlake Solar."""
    return _slug(domain).replace("-", " ").replace("_", " ").title() or "Nameless"


def _slug(domain: str) -> str:
    return domain.rpartition("@")[2].partition(".")[0].lower()


def _plain(name: str) -> str:
    letters: Mapping[str, str] = {"ü": "u", "è": "e", "ę": "e", "ō": "o", "é": "e", "å": "a"}
    return "".join(letters.get(mark, mark) for mark in name.lower() if mark.isalpha())
