"""What quote, sample and explain say of records that a run would reject: of what they have looked at, and no more."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dataflow as flow
from dataflow.engine.foreseeing import Foreseen
from dataflow.outcomes import Kind, Priority
from dataflow.plan.binding import bind
from dataflow.plan.guardrails import Guardrails
from dataflow.plan.partitions import SourcePlan
from dataflow.policies.guardrail import MaxFailures
from dataflow.store.catalog import Catalog
from dataflow.telemetry.statistics import ServiceStatistics, Statistics
from dataflow.wiring.explaining import planned_source
from dataflow.wiring.prospects import look_at_first, told_ahead

_numbers = itertools.count()


@flow.transformation
def amount(price: str) -> float:
    return float(price)


@flow.enrichment
def region(price: str) -> str:
    return str(float(price))


def company() -> flow.Service:
    """A paid service at an address where nobody listens."""
    api = flow.API(f"prospects{next(_numbers)}", "http://127.0.0.1:9", retry=flow.Retry(attempts=1))
    return api.get("company", "/{domain}", returns={"title": str}, price=0.01)


GRAPH = bind([amount, region], pa.schema({"price": pa.string()}), name="leads")
AMOUNT = {"kind": Kind.TRANSFORMATION, "priority": Priority.CRITICAL}
REGION = {"kind": Kind.ENRICHMENT, "priority": Priority.IMPORTANT}


def seen(looked: int, *, amount: int = 0, region: int = 0, unreadable: int = 0) -> Foreseen:
    readable = looked - unreadable
    services = {
        "amount": ServiceStatistics(**AMOUNT, records=readable, succeeded=readable - amount, failed=amount),
        "region": ServiceStatistics(**REGION, records=readable, succeeded=readable - region, failed=region),
    }
    counts = Statistics(total_records=looked, failed_records=amount + unreadable, services=services)
    return Foreseen(counts=counts, rejected={"amount": amount} if amount else {})


@pytest.mark.parametrize(
    ("foreseen", "records", "told"),
    [
        (seen(6_000), 6_000, None),
        (seen(0), 0, None),
        (seen(6_000, amount=600), 6_000, "600 of 6,000 records would be rejected by `amount`; a run would stop"),
        (seen(6_000, amount=100), 6_000, "100 of 6,000 records would be rejected by `amount`; a run would go on"),
        (seen(1_000, amount=200), 10_000, "200 of 1,000 records would be rejected by `amount`; a run would stop"),
        (
            seen(20, amount=2),
            6_000,
            "2 of 20 records would be rejected by `amount`; a run would stop if the others are like these",
        ),
        (seen(20, amount=2), 20, "2 of 20 records would be rejected by `amount`; a run would go on"),
        (
            seen(20, amount=5),
            None,
            "5 of 20 records would be rejected by `amount`; a run would stop if the others are like these",
        ),
        (
            seen(6_000, amount=600, unreadable=30),
            6_000,
            "630 of 6,000 records would be rejected by `amount` (600) or since they cannot be read (30); "
            "a run would stop",
        ),
        (
            seen(50, unreadable=11),
            50,
            "11 of 50 records would be rejected since they cannot be read; a run would stop",
        ),
        (seen(6_000, region=90), 6_000, None),
        (seen(6_000, region=600), 6_000, "of 6,000 records, `region` for 600 would fail; a run would stop"),
    ],
)
def test_it_is_said_what_a_run_would_make_of_what_was_looked_at(
    foreseen: Foreseen, records: int | None, told: str | None
) -> None:
    assert told_ahead(Guardrails(), GRAPH, foreseen, records=records) == ([] if told is None else [told])


def test_what_the_author_accepts_ends_nothing() -> None:
    guardrails = Guardrails(max_failures=MaxFailures(share=1.0, given=True))
    (told,) = told_ahead(guardrails, GRAPH, seen(60, amount=60), records=60)
    assert told == "60 of 60 records would be rejected by `amount`; a run would go on"


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DATAFLOW_JOURNAL", str(tmp_path / "journal"))
    monkeypatch.chdir(tmp_path)
    prices = ["n/a" if at * 7_919 % 6_000 < 600 else f"{at}" for at in range(6_000)]
    pq.write_table(pa.table({"domain": [f"{at}.example" for at in range(6_000)], "price": prices}), "leads.parquet")
    return tmp_path / "leads.parquet"


CERTAIN = "600 of 6,000 records would be rejected by `amount`; a run would stop"


def test_quote_and_explain_say_what_is_certain_of_the_whole_source_and_call_nothing(source: Path) -> None:
    pipeline = flow.Pipeline("leads", [amount, company()])
    quote, explanation = pipeline.quote(source), pipeline.explain(source)
    assert quote.notes == (CERTAIN,)
    assert quote.to_dict()["notes"] == [CERTAIN]
    assert f"note:    {CERTAIN}" in str(quote)
    assert f"note: {CERTAIN}" in str(explanation)
    for page in (quote._repr_html_(), explanation._repr_html_()):
        assert "600 of 6,000 records would be rejected by" in page
    job = flow.Job(pipeline, source=source, output="leads", max_failures=600)
    assert [note for note in job.explain().notes if "rejected" in note] == [CERTAIN.replace("stop", "go on")]
    assert job.quote().notes == (CERTAIN.replace("stop", "go on"),)


def test_a_quote_of_what_calls_nothing_says_it_too(source: Path) -> None:
    assert flow.Pipeline("leads", [amount]).quote(source).notes == (CERTAIN,)


def test_a_sample_says_what_a_run_would_make_of_more_like_it(source: Path) -> None:
    done = flow.Pipeline("leads", [amount]).sample(source, 60)
    assert done.to_dict()["notes"] == list(done.notes)
    (note,) = done.notes
    assert " of 60 records would be rejected by `amount`; a run would stop if the others are like these" in note
    assert note in str(done)
    assert "of 60 records would be rejected by" in done._repr_html_()


def test_explain_sets_nothing_up_and_calls_nothing_that_needs_it(source: Path) -> None:
    @flow.transformation(into="scaled")
    class Scaled:
        def __init__(self) -> None:
            raise AssertionError("nobody asked for it")

        def __call__(self, price: str) -> float:
            return float(price)

    @flow.transformation(into="twice")
    def twice(scaled: float) -> float:
        return 2 * scaled

    told = flow.Pipeline("leads", [Scaled, twice, amount]).explain(source)
    assert CERTAIN in told.notes


def look(plan: SourcePlan, service: flow.Service, *, seconds: Mapping[int, float]) -> int:
    """How many records are looked at where so many take so long."""
    asked: list[int] = []

    @flow.transformation(into="out", returns=str)
    def noted(price: pa.ChunkedArray) -> Any:
        asked.append(len(price))
        return price

    times = itertools.chain.from_iterable((0.0, seconds.get(size, 0.0)) for size in (1, 10, 100, 1_000, 10_000))
    found = look_at_first(plan, bind([noted], plan.schema, name="leads"), {}, clock=lambda: next(times)).foreseen
    assert found.counts.total_records == asked[-1]
    return asked[-1]


@pytest.mark.parametrize(
    ("seconds", "looked"),
    [
        ({}, 6_000),
        ({1: 0.9}, 6_000),
        ({1: 5.0}, 1),
        ({1: 0.4, 10: 0.5}, 10),
        ({10: 0.01, 100: 0.09, 1_000: 0.9}, 1_000),
    ],
)
def test_explain_looks_at_more_records_as_long_as_that_takes_no_time(
    source: Path, seconds: dict[int, float], looked: int
) -> None:
    plan = planned_source(source, Catalog("catalog"), {})
    assert look(plan, amount, seconds=seconds) == looked


@pytest.mark.slow
def test_the_commands_say_it_as_text_and_as_json(source: Path) -> None:
    (source.parent / "job.py").write_text(
        "import dataflow as flow\n\n@flow.transformation\ndef amount(price: str) -> float:\n    return float(price)\n\n"
        'job = flow.Job(flow.Pipeline("leads", [amount]), source="leads.parquet", output="leads")\n'
    )
    for name in ("explain", "quote", "sample"):
        command = [sys.executable, "-m", "dataflow", name, "job.py"]
        text = subprocess.run(command, capture_output=True, check=True, timeout=60, text=True).stdout
        told = subprocess.run([*command, "--json"], capture_output=True, check=True, timeout=60, text=True).stdout
        (note,) = (note for note in json.loads(told)["notes"] if "would be rejected by `amount`; a run would" in note)
        assert note in text
