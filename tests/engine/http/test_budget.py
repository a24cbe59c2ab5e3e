"""A budget in one process against a real server: never a cent more, all of it where there is enough to do, and on."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dataflow as flow
from dataflow.errors import DeclarationError, LimitReached

KEYS = [f"k{at}.example" for at in range(200)]


def stopped(bench: Any, service: Any, keys: list[str] = KEYS, **settings: Any) -> LimitReached:
    with pytest.raises(LimitReached) as caught:
        bench.run(service, keys, **settings)
    return caught.value


def test_a_run_spends_its_budget_and_not_a_cent_more(bench: Any) -> None:
    error = stopped(bench, bench.company(bench.api(concurrency=64), price=0.01), budget=1)
    assert bench.seen()["calls"] == 100
    assert "budget of USD 1.00 is used up: USD 1.00 spent, 0 of 1 partitions done, 1 left" in str(error)
    assert error.exit_code == 4


def test_with_a_larger_budget_it_goes_on_and_pays_nothing_twice(bench: Any) -> None:
    service = bench.company(bench.api(concurrency=64), price=0.01)
    stopped(bench, service, budget=1)
    stopped(bench, service, budget=1.5)
    assert bench.seen()["calls"] == 150
    run = bench.run(service, KEYS, budget=3)
    assert bench.seen()["calls"] == 200
    counted = run.statistics["services"]["company"]
    assert (counted["calls"], counted["succeeded"], counted["cached"]) == (200, 200, 0)


def test_the_same_budget_again_pays_nothing_more(bench: Any) -> None:
    service = bench.company(price=0.01)
    stopped(bench, service, budget=0.5)
    stopped(bench, service, budget=0.5)
    assert bench.seen()["calls"] == 50


def test_retries_are_paid_from_the_budget_and_what_failed_to_connect_is_not(bench: Any) -> None:
    bench.server.control(keys=dict.fromkeys(KEYS, "503_then_ok"))
    stopped(bench, bench.company(bench.api(breaker=False), price=0.01), budget=0.2)
    assert bench.seen()["calls"] == 20


def test_a_service_has_a_budget_of_its_own(bench: Any) -> None:
    api = bench.api()
    paid = bench.company(api, price=0.01, budget=0.3)
    error = stopped(bench, paid)
    assert bench.seen()["calls"] == 30
    assert "budget of `company` of USD 0.30 is used up" in str(error)


def test_what_comes_with_the_answer_is_reserved_at_its_most_and_settled_after(bench: Any) -> None:
    service = bench.company(bench.api(concurrency=8), price=lambda answer: 0.005, max_price=0.01)
    error = stopped(bench, service, budget=0.5)
    assert bench.seen()["calls"] == 99
    assert "USD 0.495 spent" in str(error)


def test_batches_reserve_for_their_records(bench: Any) -> None:
    service = bench.listed(bench.api(), 10).with_(price=flow.PerRecord(0.01))
    stopped(bench, service, budget=1)
    assert len(bench.log("/v2/companies/batch")) == 10


def test_an_answer_is_free_when_it_is_known(bench: Any) -> None:
    service = bench.company(price=0.01)
    stopped(bench, service, KEYS[:60], budget=0.5)
    assert bench.seen()["calls"] == 50
    run = bench.run(service, KEYS[:60], budget=0.6)
    assert bench.seen()["calls"] == 60
    counted = run.statistics["services"]["company"]
    assert (counted["calls"], counted["cost"], counted["cached"]) == (60, 0.6, 0), "the bill is that of both"


def test_what_is_stopped_may_be_published_as_it_is(bench: Any) -> None:
    error = stopped(bench, bench.company(price=0.01), budget=1)
    error.run.publish()  # type: ignore[attr-defined]
    said = error.run.statistics["services"]["company"]  # type: ignore[attr-defined]
    assert (said["calls"], said["succeeded"], said["cached"], said["not_attempted"]) == (100, 100, 0, 100)
    assert bench.seen()["calls"] == 100


@pytest.mark.parametrize(
    ("options", "budget", "message"),
    [
        ({"price": 1}, 0.5, "budget of USD 0.50 is less than a call may cost, USD 1.00"),
        ({"price": lambda answer: 1}, 5, "without max_price="),
        ({}, 5, "no service with a price="),
        ({"price": 1, "budget": 0.5}, None, "budget of `company` of USD 0.50 is less"),
        ({"price": 1}, -1, "budget takes a number from 0"),
    ],
)
def test_a_budget_that_cannot_hold_is_refused_at_the_start(
    bench: Any, options: dict[str, Any], budget: float | None, message: str
) -> None:
    with pytest.raises(DeclarationError, match=message):
        bench.run(bench.company(**options), KEYS, budget=budget)


def test_a_table_costs_no_more_than_its_budget_and_loses_no_row(bench: Any) -> None:
    pipeline = flow.Pipeline("test", [bench.company(bench.api(), price=0.01)])
    table = pipeline.apply(pa.table({"key": KEYS}), catalog=bench.catalog, budget=0.5)
    assert (table.num_rows, len(table) - table["title"].null_count, sum(table["degraded"].to_pylist())) == (
        200,
        50,
        150,
    )
    assert bench.seen()["calls"] == 50
    frame = pipeline.apply(table.select(["key"]).to_pandas(), catalog=bench.catalog, budget=1)
    assert frame["title"].notna().sum() == 150
    assert bench.seen()["calls"] == 150


def test_a_dask_collection_cannot_hold_a_budget(bench: Any) -> None:
    import dask.bag

    pipeline = flow.Pipeline("test", [bench.company(price=0.01)])
    with pytest.raises(DeclarationError, match="over a Dask collection"):
        pipeline.apply(dask.bag.from_sequence([{"key": "a"}]), budget=1)


def three(bench: Any, **third: Any) -> list[flow.Service]:
    """Three paid services, of which the first reads nothing of some records."""
    api = bench.api()

    @flow.transformation
    def known(key: str) -> str | None:
        return None if key.startswith("k1") else key

    first = api.get("tech", "/v2/tech/{known}", returns=list[str] | None, select="technologies", price=0.02)
    second = bench.company(api, price=0.02)
    last = api.get(
        "news", "/v2/companies/{key}", returns={"again": str}, select={"again": "name"}, **{"price": 0.01, **third}
    )
    return [known, first, second, last]


def test_a_record_costs_no_more_than_its_own_budget_whatever_comes_first(bench: Any) -> None:
    keys = KEYS[:20]
    run = bench.run(three(bench), keys, record_budget=0.03)
    table = run.to_arrow().to_pylist()
    # What costs 0.02 comes second and is too dear where the first was asked; the last one still fits.
    assert [one["title"] is not None for one in table] == [one["key"].startswith("k1") for one in table]
    assert all(one["again"] is not None for one in table)
    skipped = run.statistics["services"]["company"]["skipped"]
    assert (skipped, run.statistics["services"]["news"]["skipped"]) == (9, 0)
    assert run.statistics["cost"] == pytest.approx(9 * 0.03 + 11 * 0.03)


def test_the_budget_of_a_record_is_part_of_the_plan(bench: Any) -> None:
    services = three(bench)
    bench.run(services, KEYS[:4], record_budget=0.03)
    run = bench.run(services, KEYS[:4], record_budget=0.05)
    assert run.statistics["services"]["company"]["skipped"] == 0


def test_a_record_budget_needs_to_know_the_prices(bench: Any) -> None:
    with pytest.raises(DeclarationError, match="record_budget= cannot hold without max_price="):
        bench.run(three(bench, price=lambda answer: 1), KEYS, record_budget=1)
    with pytest.raises(DeclarationError, match="no service with a price="):
        bench.run(bench.company(), KEYS, record_budget=1)


def test_keys_that_partitions_share_are_paid_once_also_when_the_budget_ends_in_between(
    bench: Any, tmp_path: Any
) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    for part in range(6):
        pq.write_table(pa.table({"key": KEYS, "part": [part] * len(KEYS)}), folder / f"{part}.parquet")
    pipeline = flow.Pipeline("test", [bench.company(bench.api(), price=0.01)])
    for budget, calls in ((1, 100), (1.5, 150)):
        with pytest.raises(LimitReached):
            pipeline.run(folder, output="out", key=["part", "key"], catalog=bench.catalog, budget=budget)
        assert bench.seen()["calls"] == calls
    run = pipeline.run(folder, output="out", key=["part", "key"], catalog=bench.catalog, budget=5)
    assert bench.seen()["calls"] == 200
    assert run.to_arrow()["title"].null_count == 0
