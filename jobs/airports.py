r"""The airports of OpenFlights: a real file without a header, with `\N` for null and names that have changed.

    dataflow run jobs/airports.py --source airports.dat

The columns are those that the OpenFlights project documents beside the file.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import cache
from typing import TypedDict
from zoneinfo import ZoneInfo, available_timezones

import pycountry

import dataflow as flow

COLUMNS = (
    *("airport_id", "name", "city", "country", "iata", "icao", "latitude", "longitude"),
    *("altitude", "timezone", "dst", "tz", "type", "source"),
)
SUMMER_TIMES = {
    "E": "European",
    "A": "US/Canada",
    "S": "South American",
    "O": "Australian",
    "Z": "New Zealand",
    "N": "none",
}
FORMER_NAMES = {
    "Brunei": "BN",
    "Burma": "MM",
    "Cape Verde": "CV",
    "Congo (Brazzaville)": "CG",
    "Congo (Kinshasa)": "CD",
    "Cote d'Ivoire": "CI",
    "East Timor": "TL",
    "Falkland Islands": "FK",
    "Macau": "MO",
    "Macedonia": "MK",
    "Micronesia": "FM",
    "Midway Islands": "UM",
    "Palestine": "PS",
    "Reunion": "RE",
    "Russia": "RU",
    "Saint Helena": "SH",
    "Svalbard": "SJ",
    "Swaziland": "SZ",
    "Turkey": "TR",
    "Virgin Islands": "VI",
    "Johnston Atoll": "UM",
    "Wake Island": "UM",
    "West Bank": "PS",
}


@flow.transformation
def city(city: str) -> str | None:
    """The city, null where the file has an empty text for it."""
    return city.strip() or None


@flow.transformation
def label(name: str, city: str | None, iata: str | None) -> str:
    """What a list shows: `Goroka Airport (GKA), Goroka`, without repeating the city."""
    code = f" ({iata})" if iata else ""
    return f"{name}{code}" if city is None or city in name else f"{name}{code}, {city}"


@flow.transformation
def elevation(altitude: int) -> float:
    """Metres above the sea; the file has feet."""
    return round(altitude * 0.3048, 1)


@flow.transformation
def summer_time(dst: str) -> str | None:
    """Whose rules for summer time hold, in words; null where it is not known."""
    return SUMMER_TIMES.get(dst)


@flow.transformation
def hemisphere(latitude: float, longitude: float) -> str:
    """The quarter of the globe: NE, NW, SE or SW."""
    return ("N" if latitude >= 0 else "S") + ("E" if longitude >= 0 else "W")


@flow.validation(required=True)
def coordinates(latitude: float, longitude: float) -> list[str]:
    """A place on the globe, and not the one in the Gulf of Guinea that stands for "unknown"."""
    errors = []
    if not -90 <= latitude <= 90:
        errors.append("latitude beyond a pole")
    if not -180 <= longitude <= 180:
        errors.append("longitude beyond the date line")
    if latitude == longitude == 0:
        errors.append("0, 0 is no airport")
    return errors


@flow.validation
def iata_code(iata: str) -> bool:
    """Three capital letters."""
    return re.fullmatch(r"[A-Z]{3}", iata) is not None


@flow.validation
def icao_code(icao: str) -> bool:
    """Four capital letters; codes with digits are local ones."""
    return re.fullmatch(r"[A-Z]{4}", icao) is not None


@flow.validation
def plausible_elevation(elevation: float) -> bool:
    """Between the shore of the Dead Sea and the highest airport of Tibet."""
    return -430 <= elevation <= 4_500


@flow.validation
def known_zone(tz: str) -> bool:
    """A time zone of the IANA database."""
    return tz in zones()


@flow.validation
def same_offset(timezone: float, tz: str) -> str | None:
    """The offset that the file gives against the one that the zone has, summer time apart."""
    if tz not in zones():
        return None
    expected = standard_offset(tz)
    return None if timezone == expected else f"the zone is at {expected:+g} h"


class Country(TypedDict):
    """The ISO 3166 codes of a country."""

    alpha_2: str
    alpha_3: str
    country_name: str


@flow.enrichment
def country_codes(country: str) -> Country:
    """The codes of the country and the name that it bears today."""
    try:
        found = pycountry.countries.lookup(FORMER_NAMES.get(country, country))
    except LookupError:
        raise flow.NotFound from None
    return Country(alpha_2=found.alpha_2, alpha_3=found.alpha_3, country_name=found.name)


@flow.enrichment(priority="optional")
def standard_time(tz: str) -> float:
    """Hours ahead of UTC in the months without summer time."""
    if tz not in zones():
        raise flow.NotFound
    return standard_offset(tz)


@cache
def zones() -> frozenset[str]:
    """The names of all time zones."""
    return frozenset(available_timezones())


@cache
def standard_offset(tz: str) -> float:
    """Hours ahead of UTC without summer time: the lesser offset of January and July."""
    days = (datetime(2025, month, 1, tzinfo=UTC).astimezone(ZoneInfo(tz)) for month in (1, 7))
    return min(day.utcoffset().total_seconds() for day in days) / 3600


pipeline = flow.Pipeline(
    "airports",
    [
        *(city, label, elevation, summer_time, hemisphere),
        *(coordinates, iata_code, icao_code, plausible_elevation, known_zone, same_offset),
        *(country_codes, standard_time),
    ],
)


def job(source: str = "airports.dat") -> flow.Job:
    """The job over a copy of the file; its path is the one thing that differs from place to place."""
    airports = flow.csv(source, header=False, names=COLUMNS, null_values=("\\N",))
    return flow.Job(pipeline, source=airports, output="airports", key="airport_id")
