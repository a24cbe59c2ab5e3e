"""The example data is what its script makes, and is as messy as it promises."""

from __future__ import annotations

import csv
import io
import runpy
from pathlib import Path

import pytest

DATASETS = Path(__file__).parents[2] / "datasets"
MAKE_LEADS = runpy.run_path(str(DATASETS / "make_leads.py"))


@pytest.fixture(scope="module")
def leads() -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((DATASETS / "leads.csv").read_text(encoding="utf-8"), newline="")))


@pytest.mark.parametrize("name", ["industries.csv", "leads.csv"])
def test_the_script_makes_the_committed_bytes(name: str) -> None:
    assert MAKE_LEADS["files"]()[name] == (DATASETS / name).read_bytes()


def test_another_seed_makes_other_leads() -> None:
    assert MAKE_LEADS["files"](seed=1)["leads.csv"] != (DATASETS / "leads.csv").read_bytes()


def test_there_are_ten_thousand_leads_with_a_key_each(leads: list[dict[str, str]]) -> None:
    assert len({lead["lead_id"] for lead in leads}) == len(leads) == 10_000


def test_the_file_stays_small_enough_to_be_committed() -> None:
    assert (DATASETS / "leads.csv").stat().st_size < 1_500_000


@pytest.mark.parametrize(
    ("column", "mess"),
    [
        ("name", ", "),
        ("name", "  "),
        ("email", "@@"),
        ("email", ".EXAMPLE"),
        ("email", "\u00a0"),
        ("phone", "+49 (0)"),
        ("phone", "ext."),
        ("phone", "E+11"),
        ("country", "Germnay"),
        ("country", "Deutschland"),
        ("amount", "€ "),
        ("amount", ","),
        ("amount", "-1"),
        ("created_at", "T"),
        ("created_at", "yesterday"),
        ("note", "\n"),
        ("note", "要"),
        ("note", "NULL"),
    ],
)
def test_the_mess_of_real_leads_is_there(leads: list[dict[str, str]], column: str, mess: str) -> None:
    assert any(mess in lead[column] for lead in leads)


def test_some_leads_came_twice(leads: list[dict[str, str]]) -> None:
    mailboxes = [lead["email"].strip().lower() for lead in leads if "@" in lead["email"]]
    assert len(set(mailboxes)) < len(mailboxes)
