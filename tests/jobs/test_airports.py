"""The airports job: each of its functions by itself, and the whole over the real file where it is at hand."""

from __future__ import annotations

import os
from pathlib import Path

import airports
import pyarrow.compute as pc
import pytest

import dataflow as flow
from dataflow.wiring.run import Run

ROOT = Path(__file__).parents[2]
OPENFLIGHTS = Path(os.environ.get("OPENFLIGHTS", ROOT.parent / "shared" / "data" / "openflights"))


def test_an_empty_city_is_null() -> None:
    assert airports.city("") is None
    assert airports.city("Goroka") == "Goroka"


@pytest.mark.parametrize(
    ("name", "city", "iata", "label"),
    [
        ("Goroka Airport", "Goroka", "GKA", "Goroka Airport (GKA)"),
        ("Nadzab Airport", "Lae", "LAE", "Nadzab Airport (LAE), Lae"),
        ("Nadzab Airport", "Lae", None, "Nadzab Airport, Lae"),
        ("Nadzab Airport", None, None, "Nadzab Airport"),
    ],
)
def test_a_label_does_not_repeat_the_city(name: str, city: str | None, iata: str | None, label: str) -> None:
    assert airports.label(name, city, iata) == label


def test_elevation_is_in_metres() -> None:
    assert airports.elevation(5282) == 1610.0


def test_summer_time_is_in_words() -> None:
    assert airports.summer_time("E") == "European"
    assert airports.summer_time("U") is None


def test_a_hemisphere_is_a_quarter_of_the_globe() -> None:
    assert airports.hemisphere(52.5, 13.4) == "NE"
    assert airports.hemisphere(-34.6, -58.4) == "SW"


def test_coordinates_beyond_the_globe_are_named_one_by_one() -> None:
    assert airports.coordinates(52.5, 13.4) == []
    assert airports.coordinates(91.0, -181.0) == ["latitude beyond a pole", "longitude beyond the date line"]
    assert airports.coordinates(0.0, 0.0) == ["0, 0 is no airport"]


def test_codes_have_their_form() -> None:
    assert airports.iata_code("GKA")
    assert not airports.iata_code("DU9")
    assert airports.icao_code("AYGA")
    assert not airports.icao_code("2XS8")


def test_an_elevation_lies_between_the_dead_sea_and_tibet() -> None:
    assert airports.plausible_elevation(-380.0)
    assert not airports.plausible_elevation(8_848.0)


def test_a_zone_is_one_of_the_iana_database() -> None:
    assert airports.known_zone("Europe/Berlin")
    assert not airports.known_zone("Europe/Bonn")


def test_an_offset_is_compared_with_the_winter_of_its_zone() -> None:
    assert airports.same_offset(1.0, "Europe/Berlin") is None
    assert airports.same_offset(2.0, "Europe/Berlin") == "the zone is at +1 h"
    assert airports.same_offset(2.0, "Europe/Bonn") is None


def test_a_renamed_country_has_the_codes_of_today() -> None:
    assert airports.country_codes("Burma") == {"alpha_2": "MM", "alpha_3": "MMR", "country_name": "Myanmar"}


def test_a_country_that_is_no_more_is_not_found() -> None:
    with pytest.raises(flow.NotFound):
        airports.country_codes("Netherlands Antilles")


def test_standard_time_is_that_of_the_winter_on_either_side_of_the_equator() -> None:
    assert airports.standard_time("Europe/Berlin") == 1.0
    assert airports.standard_time("Australia/Sydney") == 10.0
    assert airports.standard_time("Asia/Kolkata") == 5.5


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Run:
    source = OPENFLIGHTS / "airports.dat"
    if not source.exists():
        pytest.skip(f"no {source}; the environment variable OPENFLIGHTS names the folder of the file")
    return airports.job(str(source)).run(catalog=tmp_path_factory.mktemp("catalog"))


def test_every_airport_of_the_file_is_published(published: Run) -> None:
    assert published.statistics["total_records"] == published.to_arrow().num_rows == 7_698
    assert published.rejects().num_rows == 0


def test_a_backslash_n_is_null_in_text_and_in_numbers(published: Run) -> None:
    output = published.to_arrow()
    assert output["iata"].null_count == 1_626
    assert output["timezone"].null_count == 353
    assert output["tz"].null_count == 1_021


def test_the_columns_have_the_types_that_their_readers_declare(published: Run) -> None:
    schema = published.to_arrow().schema
    assert [str(schema.field(name).type) for name in ("altitude", "latitude", "icao")] == ["int64", "double", "string"]


def test_only_the_airports_of_a_country_that_is_no_more_lack_its_codes(published: Run) -> None:
    output = published.to_arrow()
    assert set(output.filter(pc.is_null(output["alpha_2"]))["country"].to_pylist()) == {"Netherlands Antilles"}


def test_the_airport_in_the_gulf_of_guinea_is_invalid(published: Run) -> None:
    output = published.to_arrow()
    lost = output.filter(pc.and_(pc.equal(output["latitude"], 0.0), pc.equal(output["longitude"], 0.0)))
    assert lost["is_valid"].to_pylist() == [False]
