"""Services are bound to columns in listed order; wrong wiring is refused with the likely question."""

from __future__ import annotations

from typing import Any, TypedDict

import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.errors import DeclarationError
from dataflow.plan.binding import bind
from dataflow.plan.graph import Graph

LEADS = pa.schema({"email": pa.string(), "phone": pa.string(), "size": pa.int64(), "vip": pa.bool_()})
TABLE = pa.schema({"domain": pa.string(), "industry": pa.string()})


@flow.transformation
def domain(email: str) -> str: ...


@flow.transformation
def email(email: str) -> str: ...


@flow.validation
def email_ok(email: str) -> bool: ...


@flow.enrichment
def company(domain: str) -> str: ...


def graph(*services: flow.Service, schema: pa.Schema = LEADS, **options: Any) -> Graph:
    return bind(services, schema, name="leads", **options)


def refused(*services: flow.Service, schema: pa.Schema = LEADS, **options: Any) -> str:
    with pytest.raises(DeclarationError) as caught:
        graph(*services, schema=schema, **options)
    return str(caught.value)


def copy(**options: Any) -> flow.Service:
    def copied(x: str) -> str: ...

    return flow.transformation(**{"columns": {"x": "email"}, **options})(copied)


def test_a_column_that_is_listed_after_its_reader_is_named() -> None:
    assert refused(company, domain) == (
        "`company` reads `domain`, which nothing before it provides; `domain` is listed after it"
    )
    other = domain.with_(name="split", into="domain")
    assert refused(company, other).endswith("`domain` is written by `split`, which is listed after it")
    reference = flow.lookup("found", table="t", on="email", select=["domain"])
    message = refused(company, reference, tables={"found": TABLE})
    assert message.endswith("`domain` is written by `found`, which is listed after it")
    assert "listed after it" in refused(company, flow.lookup("domain", table="t", on="email"))


def test_a_name_that_is_nearly_right_is_suggested() -> None:
    assert "did you mean `email`?" in refused(copy(columns={"x": "emial"}))
    assert "did you mean `domain`?" in refused(domain, copy(columns={"x": "domains"}))


def test_a_name_like_no_other_lists_what_there_is() -> None:
    assert refused(copy(columns={"x": "zzz"})).endswith("there are `email`, `phone`, `size`, `vip`")


def test_a_type_that_does_not_fit_says_who_gives_it() -> None:
    assert "`copied` reads `size` as str, but the source gives it as int64" in refused(copy(columns={"x": "size"}))
    to_int = copy(name="count", returns=int)
    message = refused(to_int, copy(columns={"x": "count"}))
    assert "`copied` reads `count` as str, but an earlier service gives it as int64" in message


class Contact(TypedDict):
    email: str
    size: str


def test_the_fields_of_a_record_are_checked_one_by_one() -> None:
    def contact(contact: Contact) -> str: ...

    assert "reads `size` as str, but the source gives it as int64" in refused(flow.transformation(contact))
    bound = graph(flow.transformation(columns={"size": "phone"})(contact))
    assert [str(column) for column in bound.steps[0].inputs] == ["email@0", "phone@0"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"when": "valid"}, 'has when="valid", but no validation is listed before it'),
        ({"when": "gone"}, 'has when="gone", but nothing before it provides `gone`'),
        ({"when": "gone is null"}, 'has when="gone is null", but nothing before it provides `gone`'),
        ({"when": "phone"}, 'has when="phone", but `phone` is string, not bool; write "phone is not null"'),
        ({"into": "is_valid"}, "`copied` writes `is_valid`, which every run writes"),
        ({"into": "size", "when": "vip"}, "rewrites `size`, which is int64, as string for some records only"),
        ({"into": "size", "overwrite": "nulls"}, "fills the nulls of `size`, which is int64, with string"),
    ],
)
def test_a_condition_or_an_output_that_does_not_fit_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        graph(copy(**options))
    assert message in str(caught.value)


def test_an_enrichment_that_meets_an_existing_column_is_refused_unless_it_says_so() -> None:
    phone = flow.enrichment(name="phone", returns=str)(lambda email: email)
    assert "`phone` writes `phone`, which exists already; write elsewhere with into= or columns=" in refused(phone)
    assert "which exists already" in refused(domain, company, company.with_(name="again", into="company"))
    for overwrite in ("always", "nulls"):
        assert graph(phone.with_(overwrite=overwrite)).output.names == [
            *LEADS.names,
            "is_valid",
            "completeness",
            "degraded",
        ]
    assert graph(copy(into="phone")).output.field("phone").type == pa.string()


def test_a_column_form_needs_a_type_for_a_new_column_only() -> None:
    def phone(phone: pa.Array) -> pa.Array: ...

    assert graph(flow.transformation(phone)).output.field("phone").type == pa.string()
    message = refused(flow.transformation(name="digits")(phone))
    assert "`digits` writes the new column `digits`, by column; give its type with returns=..." in message
    assert "default= that it could not return: expected str" in refused(flow.transformation(default=5)(phone))


def test_the_source_may_not_have_the_columns_of_a_run_or_one_name_twice() -> None:
    clash = LEADS.append(pa.field("is_valid", pa.bool_()))
    assert "the source has columns that every run writes: is_valid; rename them before" in refused(email, schema=clash)
    twice = pa.schema([*LEADS, pa.field("size", pa.string())])
    assert "the source has two columns called `size`" in refused(email, schema=twice)


def test_a_source_that_dataflow_published_gets_its_run_columns_anew() -> None:
    published = graph(email, email_ok).output
    again = graph(email, schema=published)
    assert again.source.names == LEADS.names
    assert again.output.names == [*LEADS.names, "is_valid"]


def test_an_optional_column_is_used_where_it_exists_and_explained_where_not() -> None:
    def greeting(email: str, title: str = "Dr") -> str: ...

    service = flow.transformation(greeting)
    bound = graph(service)
    assert [str(column) for column in bound.steps[0].inputs] == ["email@0"]
    assert bound.notes == ("`greeting` uses the default of `title`: the source has no such column",)
    full = graph(service, schema=LEADS.append(pa.field("title", pa.string())))
    assert [str(column) for column in full.steps[0].inputs] == ["email@0", "title@0"]
    assert full.notes == ()


def test_everything_means_the_columns_as_the_services_before_left_them() -> None:
    def all_of(frame: pa.Table) -> pa.Array: ...

    bound = graph(email, domain, flow.transformation(reads=flow.ALL, returns=str)(all_of), copy(into="late"))
    assert [str(column) for column in bound.steps[2].inputs] == ["email@1", "phone@0", "size@0", "vip@0", "domain@1"]


def test_a_validation_whose_column_is_rewritten_after_it_is_warned_of() -> None:
    (note,) = graph(email_ok, email).notes
    assert note.startswith("`email_ok` judges `email` before `email` rewrites it")
    assert graph(email, email_ok).notes == ()
    assert graph(email_ok, copy(into="phone")).notes == ()


def test_a_lookup_is_bound_to_the_schema_of_its_table() -> None:
    reference = flow.lookup("found", table="t", on="domain")
    bound = graph(domain, reference, tables={"found": TABLE})
    assert bound.output.field("industry").type == pa.string()
    assert "`found`: the table of the lookup has not been read" in refused(domain, reference)
    reserved = pa.schema({"domain": pa.string(), "degraded": pa.bool_()})
    assert "`found` writes `degraded`, which every run writes" in refused(domain, reference, tables={"found": reserved})
    keys = pa.schema({"domain": pa.string()})
    assert "the table has no column to add: only keys" in refused(domain, reference, tables={"found": keys})


def test_a_message_holds_no_value_of_a_constant_or_a_default() -> None:
    secret = copy(constants={}, default="s3cret", columns={"x": "nope"})
    assert "s3cret" not in refused(secret)


def test_what_is_not_published_is_there_for_later_services_only() -> None:
    found = graph(domain.with_(publish=False), company)
    assert found.output.names == [*LEADS.names, "company", "is_valid", "completeness", "degraded"]
    assert [str(column) for column in found.steps[1].inputs] == ["domain@1"]


def test_a_column_that_is_rewritten_is_published_as_its_last_writer_says() -> None:
    hidden, shown = email.with_(publish=False), email.with_(name="again", into="email")
    assert "email" not in graph(hidden).output.names
    assert "email" in graph(hidden, shown).output.names


def test_publish_takes_a_bool() -> None:
    with pytest.raises(DeclarationError, match="publish takes True or False"):
        domain.with_(publish="no")  # type: ignore[typeddict-item]
