"""Makes the example data: `leads.csv`, as messy as real leads, and `industries.csv`, to join with them.

    python datasets/make_leads.py

The same seed gives the same bytes on every machine. Every person and company is invented, all domains end in
`.example`, and phone numbers come from ranges kept free for fiction where a country has one. Nothing about
the processing of leads belongs here.
"""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from random import Random

SEED = 8
LEADS = 10_000
LEAD_COLUMNS = ("lead_id", "name", "email", "phone", "country", "company", "amount", "created_at", "note")
INDUSTRY_COLUMNS = ("domain", "industry", "company_size")

SHARES = {"US": 26, "DE": 14, "GB": 12, "FR": 9, "ES": 7, "IT": 6, "NL": 6, "SE": 4, "PL": 5, "BR": 5, "IN": 4, "JP": 2}
SPELLINGS = {
    "US": ("United States", "US", "USA", "U.S.A.", "usa", "United States of America", "Untied States"),
    "DE": ("Germany", "DE", "DEU", "Deutschland", "germany ", "Germnay"),
    "GB": ("United Kingdom", "GB", "GBR", "UK", "U.K.", "England", "Great Britain"),
    "FR": ("France", "FR", "FRA", "france", "Farnce"),
    "ES": ("Spain", "ES", "ESP", "España", "spain", "Sapin"),
    "IT": ("Italy", "IT", "ITA", "Italia", "ITALY"),
    "NL": ("Netherlands", "NL", "NLD", "The Netherlands", "Holland", "Netherland"),
    "SE": ("Sweden", "SE", "SWE", "Sverige", "sweden"),
    "PL": ("Poland", "PL", "POL", "Polska", "poland"),
    "BR": ("Brazil", "BR", "BRA", "Brasil", "brazil", "Brazl"),
    "IN": ("India", "IN", "IND", "Bharat", "india"),
    "JP": ("Japan", "JP", "JPN", "日本", "japan"),
}
TRUNKS = {  # the prefix from abroad, and the zero that it replaces
    "US": ("1", ""), "DE": ("49", "0"), "GB": ("44", "0"), "FR": ("33", "0"), "ES": ("34", ""), "IT": ("39", ""),
    "NL": ("31", "0"), "SE": ("46", "0"), "PL": ("48", ""), "BR": ("55", ""), "IN": ("91", "0"), "JP": ("81", "0"),
}  # fmt: skip
PHONES = {  # as written at home; `#` is any digit
    "US": ("(212) 555-01##", "415.555.01##", "312-555-01##", "646 555 01##"),
    "DE": ("030 23125###", "089/99998###", "(0171) 3920###", "069-90009###"),
    "GB": ("020 7946 0###", "0161 496 0###", "(0114) 496 0###"),
    "FR": ("01 99 00 ## ##", "02.61.91.##.##", "04 65 71 ## ##"),
    "ES": ("612 34# ###", "912 345 ###", "93-345-67-##"),
    "IT": ("02 1234 5###", "347 123 4###", "06-1234-5###"),
    "NL": ("020 123 4###", "06-12345###", "(010) 123 4###"),
    "SE": ("08-465 004 ##", "070-174 06 ##", "031-390 06 ##"),
    "PL": ("512 34# ###", "22 123 4# ##", "512-34#-###"),
    "BR": ("(11) 91234-5###", "21 3123-4###"),
    "IN": ("98123 45###", "098123-45###", "022 2345 6###"),
    "JP": ("03-1234-5###", "090-1234-5###"),
}
FIRST_NAMES = {
    "US": ("Grace", "Walter", "LaToya", "Zoë", "William"),
    "DE": ("Jürgen", "Anneliese", "Karl-Heinz", "Käthe", "Sören"),
    "GB": ("Nigel", "Siobhan", "Priya", "Alastair", "Gwendolyn"),
    "FR": ("Éloïse", "Jean-Luc", "Françoise", "Anaïs", "Loïc"),
    "ES": ("Íñigo", "María José", "Begoña", "Ramón", "Nuria"),
    "IT": ("Niccolò", "Giulia", "Pier Paolo", "Chiara", "Ettore"),
    "NL": ("Joost", "Annelies", "Daniël", "Fenna", "Maaike"),
    "SE": ("Åsa", "Björn", "Örjan", "Linnéa", "Göran"),
    "PL": ("Łukasz", "Żaneta", "Małgorzata", "Wojciech", "Zofia"),
    "BR": ("João", "Conceição", "Thaís", "Antônio", "Bruna"),
    "IN": ("Aarav", "Lakshmi", "Mohammed", "Sri Devi", "Vikram"),
    "JP": ("Haruka", "Kenji", "Yūko", "Sōta", "Naoko"),
}
LAST_NAMES = {
    "US": ("O'Neil", "McDonald", "Nguyen", "Smith", "de la Cruz"),
    "DE": ("Müller", "Strauß", "von Bülow", "Schmidt", "Großmann"),
    "GB": ("Fitz-Gerald", "Smythe", "Patel", "Llewellyn", "Jones"),
    "FR": ("Lefèvre", "d'Artagnan", "Dupont", "Hélène-Roux", "Garçon"),
    "ES": ("Muñoz", "García Pérez", "Ibáñez", "Núñez", "Ortega"),
    "IT": ("D'Angelo", "Rossi", "Dell'Orto", "Ferrari", "Conti"),
    "NL": ("van der Berg", "'t Hooft", "de Vries", "Bakker", "IJsselstein"),
    "SE": ("Sjöström", "Åkerlund", "Nilsson", "af Klint", "Ek"),
    "PL": ("Wiśniewski", "Dąbrowska", "Zięba", "Kowalski", "Błaszczyk"),
    "BR": ("da Silva", "Gonçalves", "dos Santos", "Assunção", "Souza"),
    "IN": ("Rao", "Krishnamurthy", "Singh", "Iyer", "D'Souza"),
    "JP": ("Satō", "Itō", "Yamamoto", "Ōno", "Tanaka"),
}
BRANDS = (
    "Northwind", "Bluebird", "Ironbridge", "Silverlake", "Falcon", "Juniper", "Harbour", "Meridian", "Copper",
    "Aurora", "Granite", "Willow", "Summit", "Lantern", "Orchard", "Cobalt", "Pinnacle", "Driftwood",
)  # fmt: skip
TRADES = {
    "Logistics": "Logistics", "Freight": "Logistics", "Foods": "Food & Beverage", "Coffee": "Food & Beverage",
    "Systems": "Software", "Labs": "Software", "Tools": "Machinery", "Robotics": "Machinery", "Steel": "Machinery",
    "Energy": "Energy", "Solar": "Energy", "Clinics": "Health Care", "Optics": "Health Care", "Books": "Retail",
    "Fashion": "Retail", "Paper": "Retail", "Textiles": "Retail", "Travel": "Travel",
}  # fmt: skip
SIZES = ("1-10", "11-50", "51-200", "201-1000", "1001+")
LEGAL_FORMS = ("", "", " Ltd", " GmbH", ", Inc.", " S.A.", " B.V.", " AB", " & Co. KG")
FREE_MAIL = ("freemail.example", "webpost.example", "mailbox.example")
NULLS = ("",) * 8 + ("NULL", "N/A", "n/a", "-")
JUNK_COUNTRIES = ("Earth", "??", "EU", "Northern Europe", "XX")
JUNK_PHONES = ("call me", "12345", "0000000000", "4.93023E+11", "n/a (see e-mail)", "555-CALL-NOW")
JUNK_DAYS = ("0000-00-00", "2025-02-30", "yesterday", "2062-01-01", "1900-01-01")
TYPOS = (("@", ""), ("@", "@@"), ("@", " at "), (".example", ""), (".example", ",example"), ("@", "@."), (".", ".."))
NOTES = (
    "Met at the fair, wants a demo",
    'Said "call me in March",\nthen hung up',
    "Preis zu hoch, später nachfassen",
    "très intéressé; budget à valider",
    "Line one\nline two\n\nline four",
    "VIP 🚀, referred by Ana",
    "要再联系",
    'She wrote: ""urgent""',
)
TEST_LEAD = ("Test Test", "test@mailbox.example", "", "US", "TEST", "1", "2025-01-01", "please ignore")


@dataclass(frozen=True, slots=True, kw_only=True)
class Company:
    """An invented company and what the industries file says about it."""

    name: str
    domain: str
    industry: str
    size: str


def companies(rng: Random) -> list[Company]:
    """All the companies there are, in a fixed order."""
    return [
        Company(
            name=f"{brand} {trade}{rng.choice(LEGAL_FORMS)}",
            domain=f"{brand}-{trade}.example".lower(),
            industry=industry,
            size=rng.choice(SIZES),
        )
        for brand in BRANDS
        for trade, industry in TRADES.items()
    ]


def industries(known: Sequence[Company]) -> Iterator[tuple[str, ...]]:
    """The rows of `industries.csv`: nine companies in ten, since reference data has gaps too."""
    return ((one.domain, one.industry, one.size) for place, one in enumerate(known) if place % 10)


def leads(rng: Random, known: Sequence[Company]) -> Iterator[tuple[str, ...]]:
    """The rows of `leads.csv`; one in forty is an earlier lead that filled in the form again."""
    earlier: list[tuple[str, ...]] = []
    for number in range(1, LEADS + 1):
        again = earlier and rng.random() < 0.025
        answers = _retyped(rng, rng.choice(earlier)) if again else _answers(rng, rng.choice(known))
        earlier.append(answers)
        yield f"L-{number:05}", *answers


def _answers(rng: Random, company: Company) -> tuple[str, ...]:
    if rng.random() < 0.004:
        return TEST_LEAD
    country = rng.choices(list(SHARES), list(SHARES.values()))[0]
    first, last = rng.choice(FIRST_NAMES[country]), rng.choice(LAST_NAMES[country])
    return (
        _unless_null(rng, 0.02, lambda: _name(rng, first, last)),
        _unless_null(rng, 0.04, lambda: _email(rng, f"{first} {last}", company.domain)),
        _unless_null(rng, 0.15, lambda: _phone(rng, country)),
        _unless_null(rng, 0.06, lambda: _country(rng, country)),
        _unless_null(rng, 0.10, lambda: _typed(rng, company.name)),
        _unless_null(rng, 0.08, lambda: _amount(rng)),
        _unless_null(rng, 0.02, lambda: _day(rng)),
        _unless_null(rng, 0.75, lambda: rng.choice(NOTES)),
    )


def _retyped(rng: Random, answers: tuple[str, ...]) -> tuple[str, ...]:
    name, email, *others = answers
    return _typed(rng, name), _typed(rng, email), *others


def _unless_null(rng: Random, share: float, make: Callable[[], str]) -> str:
    return rng.choice(NULLS) if rng.random() < share else make()


def _typed(rng: Random, text: str) -> str:
    """The text as people type it: mostly right, else shouted, whispered, or with spaces around."""
    return rng.choices((text, text.upper(), text.lower(), f"  {text}", f"{text}\u00a0"), (70, 12, 10, 5, 3))[0]


def _name(rng: Random, first: str, last: str) -> str:
    forms = (f"{first} {last}", f"{last}, {first}", f"{first}   {last}", f"Dr. {first} {last}", first)
    return _typed(rng, rng.choices(forms, (76, 10, 6, 4, 4))[0])


def _email(rng: Random, name: str, domain: str) -> str:
    plain = unicodedata.normalize("NFKD", name.casefold().replace("ł", "l")).encode("ascii", "ignore").decode()
    local = ".".join(plain.replace("'", "").split())
    tag = rng.choices(("", f"{rng.randrange(100)}", "+news"), (70, 25, 5))[0]
    address = f"{local}{tag}@{rng.choice(FREE_MAIL) if rng.random() < 0.3 else domain}"
    if rng.random() < 0.05:
        address = address.replace(*rng.choice(TYPOS))
    return _typed(rng, address)


def _phone(rng: Random, country: str) -> str:
    if rng.random() < 0.04:
        return rng.choice(JUNK_PHONES)
    number = "".join(str(rng.randrange(10)) if mark == "#" else mark for mark in rng.choice(PHONES[country]))
    code, trunk = TRUNKS[country]
    abroad = number.replace("(", "").replace(")", "").removeprefix(trunk)
    zero = f"({trunk})" if trunk else ""
    forms = (
        number,
        f"+{code} {abroad}",
        f"00{code} {abroad}",
        f"+{code} {zero}{abroad}",
        "".join(filter(str.isdigit, number)),
        f"{number} ext. {rng.randrange(10, 999)}",
    )
    return rng.choices(forms, (52, 20, 6, 5, 12, 5))[0]


def _country(rng: Random, country: str) -> str:
    if rng.random() < 0.01:
        return rng.choice(JUNK_COUNTRIES)
    spellings = SPELLINGS[country]
    return rng.choices(spellings, (30, 20, 10, *(4 for _ in spellings[3:])))[0]


def _amount(rng: Random) -> str:
    value = rng.randrange(5_000, 2_000_000) / 100
    forms = (
        f"{value:.2f}",
        f"{value:,.2f}",
        f"€ {value:.0f}",
        f"${value:,.0f}",
        f"{value:.0f} EUR",
        f"-{value:.0f}",
        "0",
        "tbd",
    )
    return rng.choices(forms, (50, 20, 8, 8, 6, 2, 2, 1))[0]


def _day(rng: Random) -> str:
    if rng.random() < 0.01:
        return rng.choice(JUNK_DAYS)
    day = date(2024, 1, 1) + timedelta(days=rng.randrange(730))
    forms = ("%Y-%m-%d", f"%Y-%m-%dT{rng.randrange(24):02}:30:00Z", "%d.%m.%Y", "%d %B %Y", "%b %d, %Y", "%Y%m%d")
    return day.strftime(rng.choices(forms, (40, 25, 15, 8, 7, 5))[0])


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The text of a CSV file with a header; quotes only where they are needed."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()


def files(seed: int = SEED) -> dict[str, bytes]:
    """The content of every file that this script writes, by name."""
    rng = Random(seed)
    known = companies(rng)
    return {
        "industries.csv": csv_text(INDUSTRY_COLUMNS, industries(known)).encode(),
        "leads.csv": csv_text(LEAD_COLUMNS, leads(rng, known)).encode(),
    }


if __name__ == "__main__":
    for name, content in files().items():
        Path(__file__).with_name(name).write_bytes(content)
