from __future__ import annotations

import keyword

import pytest

from dataflow.faces.naming import likely_key, likely_subject, name_fields, words_of


def named(*columns: str) -> list[str]:
    return [one.name for one in name_fields([(column, "string") for column in columns])]


def key_of(title: str, *columns: str) -> str | None:
    found = likely_key(name_fields([(column, "string") for column in columns]), title)
    return found.column if found else None


@pytest.mark.parametrize(
    ("column", "name"),
    [
        ("email", "email"),
        ("e-mail", "e_mail"),
        ("Größe (cm)", "grosse_cm"),
        ("1st", "column_1st"),
        ("class", "class_"),
        ("id", "id_"),
        ("is_valid", "is_valid_"),
        ("leadId", "lead_id"),
        ("", "column_1"),
        ("名前", "column_1"),
        ("__x__", "x"),
        ('a "quoted"\nname', "a_quoted_name"),
        ("x" * 200, "x" * 24),
    ],
)
def test_a_column_gets_a_name_that_python_takes(column, name):
    assert named(column) == [name]
    assert name.isidentifier()
    assert not keyword.iskeyword(name)


def test_names_differ_where_columns_do():
    names = named("a b", "a-b", "A B", "a_b")
    assert len(set(names)) == 4


def test_names_to_avoid_are_avoided():
    assert [one.name for one in name_fields([("job", "string")], avoid={"job"})] == ["job_"]


@pytest.mark.parametrize("column", ["email", "E-Mail", "contact_email", "emailAddress", "EMAIL", "work e-mail"])
def test_an_email_column_is_found_by_its_name(column):
    fields = name_fields([("id", "int64"), ("name", "string"), (column, "string")])
    assert likely_subject(fields).column == column


@pytest.mark.parametrize(("column", "arrow"), [("emailed_at", "string"), ("remailer", "string"), ("email", "bool")])
def test_other_columns_are_no_email(column, arrow):
    assert not name_fields([(column, arrow)])[0].is_email


def test_text_that_is_no_id_is_preferred_to_numbers_and_ids():
    fields = name_fields([("age", "int64"), ("lead_id", "string"), ("city", "string")])
    assert likely_subject(fields).column == "city"


def test_what_a_run_writes_is_never_the_subject():
    fields = name_fields([("validations", "string"), ("age", "int64")])
    assert likely_subject(fields).column == "age"


@pytest.mark.parametrize(
    ("arrow", "annotation"),
    [
        ("large_string", "str"),
        ("dictionary<values=string, indices=int32, ordered=0>", "str"),
        ("dictionary<values=int64, indices=int32, ordered=0>", "Any"),
        ("uint8", "int"),
        ("halffloat", "float"),
        ("double", "float"),
        ("timestamp[us, tz=UTC]", "datetime"),
        ("date32[day]", "date"),
        ("time64[us]", "time"),
        ("duration[ns]", "timedelta"),
        ("decimal128(38, 9)", "Decimal"),
        ("fixed_size_binary[16]", "bytes"),
        ("list<item: string>", "Any"),
        ("struct<string: int64>", "Any"),
        ("null", "Any"),
    ],
)
def test_arrow_types_have_annotations(arrow, annotation):
    assert name_fields([("x", arrow)])[0].annotation[0] == annotation


def test_the_key_is_an_id_column():
    assert key_of("leads", "name", "lead_id", "company_id") == "lead_id"
    assert key_of("orders", "customer_id", "order_id") == "order_id"
    assert key_of("orders", "customer_id", "id", "order_id") == "id"
    assert key_of("things", "name", "uuid") == "uuid"
    assert key_of("addresses", "person_id", "addressId") == "addressId"


def test_no_key_is_guessed_from_other_names():
    assert key_of("leads", "name", "paid", "width", "is_valid") is None


def test_a_key_is_text_or_a_whole_number():
    assert likely_key(name_fields([("id", "double")]), "leads") is None


def test_words_are_lower_case_ascii():
    assert words_of("Straße/Hausnummer Nr.") == "strasse_hausnummer_nr"
