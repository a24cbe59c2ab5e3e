"""Cleans, checks and enriches ten thousand leads; the job to read first.

    dataflow run jobs/data_processing.py
    dataflow run jobs/data_processing.py --set transformations=email,domain --set validations=email_syntax

A service is a function: its parameters are the columns it reads, its name is the column it writes. A parameter
that is a `str` is never null: a record without it is passed over. `str | None` says "I can do without".
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import date, datetime
from decimal import Decimal
from difflib import get_close_matches
from functools import cache
from gettext import translation
from pathlib import Path
from typing import TypedDict

import email_validator
import phonenumbers
import pycountry
from phonenumbers import carrier, timezone

import dataflow as flow

DATASETS = Path(__file__).parents[1] / "datasets"
FREE_MAIL = {"freemail.example", "webpost.example", "mailbox.example"}
LANGUAGES = ("de", "es", "fr", "it", "ja", "nl", "pl", "pt_BR", "sv")
NICKNAMES = {"england": "GB", "great britain": "GB", "uk": "GB", "holland": "NL", "bharat": "IN"}
DATE_FORMATS = ("%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ", "%d.%m.%Y", "%d %B %Y", "%b %d, %Y", "%Y%m%d")


@flow.transformation
def name(name: str) -> str:
    """First name first, one space between words, and no shouting."""
    last, comma, first = name.partition(",")
    words = " ".join((f"{first} {last}" if comma else last).split())
    return words.title() if words.isupper() or words.islower() else words


@flow.transformation
def email(email: str) -> str:
    """Lower case, without the spaces and slips of the keyboard whose meaning is clear."""
    return email.strip().lower().replace(" at ", "@").replace(",", ".")


@flow.transformation
def domain(email: str) -> str | None:
    """The company's own domain; a free mailbox says nothing about the company."""
    domain = email.rpartition("@")[2] if "@" in email else None
    return None if domain in FREE_MAIL else domain


@flow.transformation
@cache
def country_code(country: str) -> str | None:
    """ISO 3166 alpha-2, from a code or a name in one of ten languages, also one that is slightly misspelt."""
    text = country.strip().replace(".", "").casefold()
    known = country_names()
    likely = get_close_matches(text, known, n=1, cutoff=0.8) if len(text) > 3 else []
    return known.get(likely[0] if likely else text)


class Phone(TypedDict):
    """A phone number, and the extension that people write behind it."""

    phone: str
    extension: str | None


@flow.transformation
def phone(phone: str, country_code: str | None) -> Phone:
    """International form (E.164); what is no number stays as it was typed, for the validation to name."""
    number = read_phone(phone, country_code)
    if number is None:
        return Phone(phone=phone, extension=None)
    plain = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return Phone(phone=plain, extension=number.extension)


@flow.transformation
def amount(amount: str) -> Decimal | None:
    """The number, without currency signs and thousands separators; null where there is none."""
    number = re.search(r"-?\d[\d,]*(\.\d+)?", amount)
    return Decimal(number[0].replace(",", "")) if number else None


@flow.transformation
def created_at(created_at: str) -> date | None:
    """The day in any of the forms that our three sign-up pages have used; null for a day that never was."""
    for form in DATE_FORMATS:
        with suppress(ValueError):
            return datetime.strptime(created_at, form).date()
    return None


@flow.validation
def full_name(name: str) -> bool:
    """A first and a last name, or more."""
    return len(name.split()) > 1


@flow.validation(required=True)
def email_syntax(email: str) -> str | None:
    """What is wrong with the address; a lead without one is invalid."""
    try:
        email_validator.validate_email(email, check_deliverability=False)
    except email_validator.EmailNotValidError as error:
        return str(error)
    return None


@flow.validation
def phone_exists(phone: str) -> str | None:
    """Whether the country has such a number."""
    number = read_phone(phone)
    if number is None:
        return "not a phone number, or one of an unknown country"
    return None if phonenumbers.is_valid_number(number) else "no such number in its country"


@flow.validation
def known_country(country: str, country_code: str | None) -> bool:
    """Whether what was typed is a country at all."""
    return country_code is not None


@flow.validation
def plausible_amount(amount: Decimal) -> bool:
    """More than nothing, less than a typing error."""
    return 0 < amount <= 100_000


@flow.validation(required=True)
def plausible_day(created_at: date) -> list[str]:
    """Every lead has a day: not before the first form was online, not after the data were exported."""
    early = ["before the first form was online"] if created_at < date(2024, 1, 1) else []
    return early + (["after the export"] if created_at > date(2025, 12, 31) else [])


@flow.validation
def real_lead(company: str) -> bool:
    """Our own tests of the form must not reach the output, not even as invalid leads."""
    if company == "TEST":
        raise flow.Reject("a test of the form")
    return True


class Country(TypedDict):
    """Facts about a country."""

    country_name: str
    flag: str
    calling_code: int


@flow.enrichment
def country_facts(country_code: str) -> Country:
    """What the ISO tables and the phone tables know about the country."""
    found = pycountry.countries.get(alpha_2=country_code)
    calling_code = phonenumbers.country_code_for_region(country_code)
    return Country(country_name=found.name, flag=found.flag, calling_code=calling_code)


class Line(TypedDict):
    """Facts about a phone line."""

    carrier: str | None
    mobile: bool
    time_zone: str


@flow.enrichment(when="valid", priority="optional")
def line(phone: str) -> Line:
    """Who runs the line and when it is day there; only for leads that somebody will call."""
    number = phonenumbers.parse(phone)
    zones = timezone.time_zones_for_number(number)
    if zones == (timezone.UNKNOWN_TIMEZONE,):
        raise flow.NotFound
    mobile = phonenumbers.number_type(number) == phonenumbers.PhoneNumberType.MOBILE
    return Line(carrier=carrier.name_for_number(number, "en") or None, mobile=mobile, time_zone=zones[0])


industry = flow.lookup("industry", table=DATASETS / "industries.csv", on="domain")


def read_phone(text: str, region: str | None = None) -> phonenumbers.PhoneNumber | None:
    """The number, or None for a text that is none; without a region only an international one is understood."""
    with suppress(phonenumbers.NumberParseException):
        return phonenumbers.parse(f"+{text[2:]}" if text.startswith("00") else text, region)
    return None


@cache
def country_names() -> dict[str, str]:
    """Every code and name of every country, in lower case, to its alpha-2 code."""
    names = dict(NICKNAMES)
    tongues = [translation("iso3166-1", pycountry.LOCALES_DIR, languages=[one]) for one in LANGUAGES]
    for country in pycountry.countries:
        spellings = [text for field, text in country if field != "flag"]
        spellings += [tongue.gettext(country.name) for tongue in tongues]
        names |= {spelling.casefold(): country.alpha_2 for spelling in spellings}
    return names


TRANSFORMATIONS = flow.ServiceRegistry([name, email, domain, country_code, phone, amount, created_at])
VALIDATIONS = flow.ServiceRegistry(
    [full_name, email_syntax, phone_exists, known_country, plausible_amount, plausible_day, real_lead]
)
ENRICHMENTS = flow.ServiceRegistry([industry, country_facts, line])

leads = flow.csv(DATASETS / "leads.csv", null_values=("", "NULL", "N/A", "n/a", "-"))


def job(transformations: str = "all", validations: str = "all", enrichments: str = "all") -> flow.Job:
    """The job; `--set transformations=email,domain` takes these and no others, in this order, and so for the rest."""
    chosen = [
        *chosen_from(TRANSFORMATIONS, transformations),
        *chosen_from(VALIDATIONS, validations),
        *chosen_from(ENRICHMENTS, enrichments),
    ]
    return flow.Job(flow.Pipeline("leads", chosen), source=leads, output="leads-processed", key="lead_id")


def chosen_from(registry: flow.ServiceRegistry, names: str) -> tuple[flow.Service, ...]:
    """The services that a text names, such as `email, domain`; `all` of them, or none for an empty one."""
    if names == "all":
        return registry.services
    return registry.named(one.strip() for one in names.split(",") if one.strip())
