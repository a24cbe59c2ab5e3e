"""Which services are asked for distinct keys, in which stages, and when it pays."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dataflow as flow
from dataflow.plan.binding import bind
from dataflow.plan.graph import Graph
from dataflow.plan.partitions import PartitionSpec
from dataflow.plan.resolve import (
    BucketTask,
    KeyCounts,
    KeyTask,
    LookTask,
    MainTask,
    Resolved,
    bucket_count,
    read_task,
    stages,
    told,
)

acme = flow.API("acme", "https://api.acme.example")
company = acme.get("company", "/companies/{domain}", returns={"company_name": str | None})
news = acme.get("news", "/news/{domain}", returns=list[str])
people = acme.get("people", "/people/{slug}", returns=int)
order = acme.post("order", "/orders", json={"domain": "{domain}"}, returns={"ordered": int}, idempotent=False)


@flow.transformation
def slug(company_name: str | None) -> str | None:
    return company_name


@flow.transformation(threads=4)
def page(domain: str) -> str:
    return domain


@flow.validation
def fine(domain: str) -> bool:
    return True


@flow.enrichment(api=acme)
def after_all(domain: str, before: flow.Outcomes) -> int:
    return 1


def bound(*services: Any) -> Graph:
    return bind(services, pa.schema([("domain", pa.string())]), name="test")


def named(graph: Graph, **options: Any) -> list[tuple[list[str], list[str]]]:
    """The services of each stage, and those that it needs."""
    names = [step.service.name for step in graph.steps]
    return [([names[at] for at in one.called], [names[at] for at in one.before]) for one in stages(graph, **options)]


def test_services_whose_inputs_are_known_at_the_same_time_share_a_stage() -> None:
    assert named(bound(company, news)) == [(["company", "news"], [])]


def test_what_depends_on_answers_comes_a_stage_later() -> None:
    found = named(bound(fine, company, news, slug, people))
    assert found == [(["company", "news"], ["fine"]), (["people"], ["fine", "company", "slug"])]


def test_nothing_is_resolved_behind_a_service_that_only_the_main_pass_calls() -> None:
    graph = bound(page, acme.get("seen", "/seen/{page}", returns=int), company, slug, people)
    assert named(graph) == [(["company"], []), (["people"], ["company", "slug"])]
    assert named(graph, without={"company"}) == []


def test_each_record_is_asked_for_where_records_are_not_alike_or_a_call_has_an_effect() -> None:
    assert named(bound(order, after_all)) == []


def test_a_stage_waits_for_the_verdicts_that_its_services_are_asked_under() -> None:
    graph = bound(fine, company.with_(when="valid"))
    assert named(graph) == [(["company"], ["fine"])]


@pytest.mark.parametrize(
    "task",
    [
        PartitionSpec(index=3, path="a.csv", fingerprint="f", start=0, stop=9),
        KeyTask(
            spec=PartitionSpec(index=3, path="a.csv", fingerprint="f", start=0, stop=9),
            folder="1-ab",
            services=("people",),
            answered={"company": Resolved(folder="0", buckets=7)},
            ahead="needed",
        ),
        LookTask(spec=PartitionSpec(index=3, path="a.csv", fingerprint="f", start=0, stop=9)),
        BucketTask(index=2, buckets=7, folder="0", services=("company", "news"), again=True),
        MainTask(
            spec=PartitionSpec(index=3, path="a.csv", fingerprint="f", start=0, stop=9),
            answered={"company": Resolved(folder="0", buckets=7)},
        ),
    ],
    ids=lambda task: type(task).__name__,
)
def test_a_task_travels_as_plain_values(task: Any) -> None:
    assert read_task(json.loads(json.dumps(task.to_dict()))) == task


def test_tasks_of_one_partition_have_different_identities() -> None:
    spec = PartitionSpec(index=0, path="a.csv", fingerprint="f", start=0, stop=9)
    keys = [KeyTask(spec=spec, folder=name, services=("company",), answered={}) for name in ("0", "1-ab")]
    assert len({spec.identity, *(one.identity for one in keys)}) == 3


@pytest.mark.parametrize(
    ("own", "distinct", "shared"), [(100, 100, False), (100, 98, False), (100, 96, True), (100, 1, True), (0, 0, False)]
)
def test_keys_are_shared_where_a_sketch_can_tell(own: int, distinct: int, shared: bool) -> None:
    assert KeyCounts(records=1000, own=own, distinct=distinct).is_shared is shared


@pytest.mark.parametrize(
    ("distinct", "threads", "buckets"),
    [(0, 8, 1), (100, 8, 1), (1_000, 8, 5), (5_000, 8, 16), (5_000, 2, 4), (1_800_000, 2, 90), (30_000_000, 4, 1500)],
)
def test_there_is_a_bucket_for_each_thread_and_none_is_too_large(distinct: int, threads: int, buckets: int) -> None:
    counts = [KeyCounts(records=distinct, own=distinct, distinct=distinct), KeyCounts(records=0, own=0, distinct=0)]
    assert bucket_count(counts, threads=threads) == buckets


@given(st.integers(0, 10**9), st.integers(0, 1000))
def test_there_is_always_a_bucket(distinct: int, threads: int) -> None:
    assert bucket_count([KeyCounts(records=0, own=0, distinct=distinct)], threads=threads) >= 1


def test_a_decision_is_told_with_its_numbers() -> None:
    shared, own = KeyCounts(records=100, own=40, distinct=4), KeyCounts(records=90, own=90, distinct=90)
    first, second = told({"company": shared, "news": own, "people": KeyCounts(records=0, own=0, distinct=0)})
    assert first.endswith("`company` about 4 for 100 records")
    assert second == "`news`: partitions hardly share an input, so each one calls its own"
