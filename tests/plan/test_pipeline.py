"""Pipelines and jobs refuse what cannot run, whatever the source is."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

import dataflow as flow
from dataflow.errors import DeclarationError
from dataflow.plan.checks import check_dataset_name


@flow.transformation
def email(email: str) -> str: ...


@flow.transformation
def domain(email: str) -> str: ...


@flow.enrichment
def company(domain: str) -> str: ...


def plain(x: str) -> str: ...


def test_a_pipeline_is_a_value_that_names_its_services() -> None:
    pipeline = flow.Pipeline("leads", iter([email, domain, company]))
    assert pipeline.services == (email, domain, company)
    assert pipeline.invalid == "keep"
    assert repr(pipeline) == "<Pipeline leads: email, domain, company>"
    with pytest.raises(dataclasses.FrozenInstanceError):
        pipeline.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "services", "options", "message"),
    [
        ("leads", [], {}, "pipeline `leads` lists no service"),
        ("", [email], {}, "a pipeline needs a name"),
        (
            "leads",
            [plain],
            {},
            "pipeline `leads` lists plain, which is no service; declare it with @flow.transformation",
        ),
        ("leads", [email, "domain"], {}, "which is no service"),
        ("leads", [email, email], {}, "lists two services called `email`; use with_(name=...)"),
        ("leads", [email], {"invalid": "drop"}, 'pipeline `leads`: invalid takes "keep" or "reject"'),
        ("leads", [company, domain], {}, "`domain` is listed after it"),
        (
            "leads",
            [company, domain.with_(name="split", into="domain")],
            {},
            "`domain` is written by `split`, which is listed after it",
        ),
    ],
)
def test_what_cannot_run_is_refused_while_declaring(
    name: Any, services: list[Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DeclarationError) as caught:
        flow.Pipeline(name, services, **options)
    assert message in str(caught.value)


def test_a_column_that_is_read_first_and_rewritten_by_its_own_service_is_fine() -> None:
    assert flow.Pipeline("leads", [domain, email]).services == (domain, email)
    filled = company.with_(columns={"domain": "email"}, into="domain", overwrite="nulls")
    assert flow.Pipeline("leads", [company, filled.with_(name="fill")])


def test_a_job_checks_its_parts() -> None:
    pipeline = flow.Pipeline("leads", [email])
    job = flow.Job(pipeline, source="leads.csv", output="leads-processed", key=["id", "country"])
    assert (job.keys, job.max_failures) == (("id", "country"), None)
    assert flow.Job(pipeline, source="x", output="y", key="id").keys == ("id",)
    assert flow.Job(pipeline, source="x", output="y").keys == ()
    with pytest.raises(DeclarationError, match="a job takes a Pipeline, not list"):
        flow.Job([email], source="x", output="y")  # type: ignore[arg-type]
    with pytest.raises(DeclarationError, match='max_failures takes a share such as "1%"'):
        flow.Job(pipeline, source="x", output="y", max_failures="lots")


@pytest.mark.parametrize("name", ["leads", "leads-processed", "a.b_c-1", "2024"])
def test_a_dataset_name_can_be_a_folder(name: str) -> None:
    check_dataset_name(name)


@pytest.mark.parametrize("name", ["", "_meta", ".hidden", "../up", "a/b", "a b", "a@v1", "-a", None, 5])
def test_a_dataset_name_that_could_leave_its_folder_is_refused(name: Any) -> None:
    with pytest.raises(DeclarationError, match="is no name for a dataset"):
        check_dataset_name(name)


def test_a_column_that_is_rewritten_from_what_was_made_of_it_is_no_wrong_order() -> None:
    @flow.transformation
    def digits(phone: str) -> str:
        return phone

    @flow.transformation(into="phone")
    def e164(digits: str) -> str:
        return digits

    assert len(flow.Pipeline("phones", [digits, e164]).services) == 2


def test_a_parameter_with_a_default_may_be_listed_before_its_column() -> None:
    @flow.transformation
    def label(city: str = "somewhere") -> str:
        return city

    @flow.transformation
    def city(place: str) -> str:
        return place

    assert len(flow.Pipeline("places", [label, city]).services) == 2
