"""The leads job: each of its functions by itself, and the whole over the committed leads."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import data_processing as leads
import pyarrow.compute as pc
import pytest

import dataflow as flow
from dataflow.wiring.run import Run


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("  jürgen   GROSSMANN", "jürgen GROSSMANN"),
        ("LATOYA O'NEIL", "Latoya O'Neil"),
        ("van der Berg, Joost", "Joost van der Berg"),
        ("LaToya McDonald\u00a0", "LaToya McDonald"),
        ("zoë", "Zoë"),
    ],
)
def test_a_name_is_put_in_order_and_no_longer_shouted(typed: str, name: str) -> None:
    assert leads.name(typed) == name


@pytest.mark.parametrize(
    ("typed", "email"),
    [
        (" Grace.O@Falcon-Steel.EXAMPLE ", "grace.o@falcon-steel.example"),
        ("ana at falcon.example", "ana@falcon.example"),
        ("ana@falcon,example", "ana@falcon.example"),
        ("ana@@falcon.example", "ana@@falcon.example"),
    ],
)
def test_an_email_is_mended_where_its_meaning_is_clear(typed: str, email: str) -> None:
    assert leads.email(typed) == email


def test_only_a_company_address_has_a_domain() -> None:
    assert leads.domain("ana@falcon.example") == "falcon.example"
    assert leads.domain("ana@freemail.example") is None
    assert leads.domain("ana") is None


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        ("United States of America", "US"),
        ("U.S.A.", "US"),
        ("Untied States", "US"),
        ("Deutschland", "DE"),
        ("Germnay", "DE"),
        ("deu", "DE"),
        ("Holland", "NL"),
        ("The Netherlands", "NL"),
        ("England", "GB"),
        ("日本", "JP"),
        (" españa ", "ES"),
        ("Northern Europe", None),
        ("XX", None),
    ],
)
def test_a_country_is_known_by_its_names_and_codes(typed: str, code: str | None) -> None:
    assert leads.country_code(typed) == code


@pytest.mark.parametrize(
    ("typed", "country", "phone", "extension"),
    [
        ("(212) 555-0123", "US", "+12125550123", None),
        ("020 7946 0970 ext. 12", "GB", "+442079460970", "12"),
        ("+49 (0)30 23125123", None, "+493023125123", None),
        ("0033 1 99 00 12 34", "DE", "+33199001234", None),
        ("02 1234 5678", "IT", "+390212345678", None),
        ("030 23125123", None, "030 23125123", None),
        ("call me", "US", "call me", None),
    ],
)
def test_a_phone_becomes_international_or_stays(
    typed: str, country: str | None, phone: str, extension: str | None
) -> None:
    assert leads.phone(typed, country) == {"phone": phone, "extension": extension}


@pytest.mark.parametrize(
    ("typed", "amount"),
    [
        ("1,200.50", Decimal("1200.50")),
        ("€ 900", Decimal(900)),
        ("$14,185", Decimal(14185)),
        ("900 EUR", Decimal(900)),
        ("-5", Decimal(-5)),
        ("tbd", None),
    ],
)
def test_an_amount_is_the_number_in_it(typed: str, amount: Decimal | None) -> None:
    assert leads.amount(typed) == amount


@pytest.mark.parametrize(
    "typed", ["2025-02-04", "2025-02-04T13:30:00Z", "04.02.2025", "04 February 2025", "Feb 04, 2025", "20250204"]
)
def test_a_day_is_read_in_every_form_of_the_forms(typed: str) -> None:
    assert leads.created_at(typed) == date(2025, 2, 4)


@pytest.mark.parametrize("typed", ["2025-02-30", "0000-00-00", "yesterday"])
def test_a_day_that_never_was_is_null(typed: str) -> None:
    assert leads.created_at(typed) is None


def test_a_full_name_has_two_words() -> None:
    assert leads.full_name("Zoë Smith")
    assert not leads.full_name("Zoë")


def test_an_email_without_an_at_sign_says_so() -> None:
    assert leads.email_syntax("ana@falcon.example") is None
    assert "@-sign" in leads.email_syntax("ana.falcon.example")


def test_a_phone_is_judged_by_its_country() -> None:
    assert leads.phone_exists("+12125550123") is None
    assert leads.phone_exists("+44000000000") == "no such number in its country"
    assert leads.phone_exists("call me").startswith("not a phone number")


def test_what_is_no_country_is_named() -> None:
    assert leads.known_country("Germany", "DE")
    assert not leads.known_country("Earth", None)


@pytest.mark.parametrize(("amount", "plausible"), [("0.01", True), ("100000", True), ("0", False), ("1e6", False)])
def test_an_amount_lies_between_nothing_and_a_typing_error(amount: str, plausible: bool) -> None:
    assert leads.plausible_amount(Decimal(amount)) is plausible


def test_a_day_outside_the_campaign_says_on_which_side() -> None:
    assert leads.plausible_day(date(2025, 1, 1)) == []
    assert leads.plausible_day(date(1900, 1, 1)) == ["before the first form was online"]
    assert leads.plausible_day(date(2062, 1, 1)) == ["after the export"]


def test_a_test_of_the_form_is_rejected() -> None:
    assert leads.real_lead("Falcon Steel")
    with pytest.raises(flow.Reject, match="test of the form"):
        leads.real_lead("TEST")


def test_a_country_has_its_facts() -> None:
    assert leads.country_facts("DE") == {"country_name": "Germany", "flag": "🇩🇪", "calling_code": 49}


def test_a_line_has_its_facts() -> None:
    facts = leads.line("+4915228817386")
    assert facts["mobile"]
    assert facts["time_zone"] == "Europe/Berlin"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return leads.job().run(catalog=tmp_path_factory.mktemp("catalog"))


def test_every_lead_ends_in_the_output_or_in_the_rejects(published: Run) -> None:
    output, rejects = published.to_arrow(), published.rejects()
    assert output.num_rows + rejects.num_rows == published.statistics["total_records"] == 10_000
    assert set(rejects["service"].to_pylist()) == {"real_lead"}


def test_three_leads_in_four_are_valid(published: Run) -> None:
    valid = pc.sum(published.to_arrow()["is_valid"]).as_py()
    assert valid == published.statistics["valid_records"]
    assert 7_000 < valid < 8_500


def test_every_validation_finds_something(published: Run) -> None:
    verdicts = pc.list_flatten(published.to_arrow()["validations"].combine_chunks())
    wrong = verdicts.filter(pc.invert(pc.struct_field(verdicts, "is_valid")))
    found = set(pc.struct_field(wrong, "validator").cast("string").to_pylist())
    validators = {service.name for service in leads.VALIDATIONS}
    assert found == validators - {"real_lead"}


def test_the_output_is_what_the_functions_say(published: Run) -> None:
    rows = {row["lead_id"]: row for row in published.to_arrow().to_pylist()}
    second = rows["L-00002"]
    assert second["name"] == "Bruna Assunção"
    assert second["phone"] == "+5511912345380"
    assert second["country_code"] == "BR"
    assert second["industry"] == "Energy"
    assert second["amount"] == 19797
    assert second["created_at"] == date(2024, 1, 14)
    assert second["is_valid"]


def test_an_unknown_company_is_an_answer_and_degrades_nothing(published: Run) -> None:
    industry = published.statistics["services"]["industry"]
    assert industry["not_found"] > 0
    assert industry["skipped"] > 0
    assert published.statistics["degraded_records"] == 0


def test_another_catalog_gets_the_same_leads(published: Run, tmp_path: Path) -> None:
    assert leads.job().run(catalog=tmp_path).to_arrow().equals(published.to_arrow())


def test_services_are_chosen_by_name_in_the_order_given(tmp_path: Path) -> None:
    job = leads.job(transformations="email, domain", validations="email_syntax", enrichments="industry")
    run = job.run(catalog=tmp_path, limit=50)
    assert list(run.statistics["services"]) == ["email", "domain", "email_syntax", "industry"]
    none = leads.job(transformations="email", validations="", enrichments="").run(catalog=tmp_path, limit=5)
    assert "validations" not in none.to_arrow().column_names


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"transformations": "emial"}, "did you mean `email`"),
        ({"validations": "nonsense"}, "there are full_name, email_syntax"),
        ({"enrichments": "line,line"}, "`line` is named twice"),
        ({"transformations": "email", "enrichments": "industry", "validations": ""}, "reads `domain`"),
    ],
)
def test_names_that_do_not_fit_are_refused_with_what_there_is(
    chosen: dict[str, str], said: str, tmp_path: Path
) -> None:
    with pytest.raises(flow.errors.DeclarationError, match=said):
        leads.job(**chosen).run(catalog=tmp_path, limit=5)
