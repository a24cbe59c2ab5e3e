"""A waterfall in runs: who is asked, what it costs, and what becomes of records that nobody knows."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.services.service import Service
from dataflow.wiring.run import Run

API = flow.API("api", "https://api.example", retry=flow.Retry(attempts=1), breaker=False)
PRICES = {"acme": 0.03, "bolt": 0.01, "cero": 0.02}
SHOWN = ("calls", "succeeded", "not_found", "failed", "skipped")


def provider(name: str, **options: Any) -> Service:
    return API.get(name, f"/{name}/{{domain}}", returns=str, price=PRICES[name], **options)


ACME, BOLT, CERO = (provider(name) for name in PRICES)


def answer(request: flow.testing.Request) -> Any:
    """`acme` knows every third, `bolt` every third and fails for some, `cero` the even ones."""
    name, _, key = request.path.strip("/").partition("/")
    number = int(key[1:])
    if name == "acme":
        return f"A{number}" if number % 3 == 0 else 404
    if name == "bolt":
        return 500 if number % 5 == 4 else f"B{number}" if number % 3 == 1 else 404
    return f"C{number}" if number % 2 == 0 else 404


def domains(size: int) -> pa.Table:
    return pa.table({"lead": range(size), "domain": [f"d{at}" for at in range(size)]})


def run(service: Service, table: pa.Table, *before: Service, **settings: Any) -> tuple[Run, int]:
    pipeline = flow.Pipeline("phones", [*before, service])
    job = flow.Job(pipeline, source=table, output="phones", key="lead", max_failures="100%", **settings)
    with flow.testing.offline(api=answer) as calls:
        return job.run(catalog=flow.testing.memory_catalog()), calls.total


def column(found: Run, name: str) -> list[Any]:
    values: list[Any] = found.to_arrow()[name].to_pylist()
    return values


def counts(found: Run, service: str) -> tuple[int, ...]:
    part = found.statistics["services"][service]
    return tuple(part[name] for name in SHOWN)


def test_the_next_is_asked_only_where_nobody_before_has_answered() -> None:
    found, calls = run(flow.waterfall("phone", [ACME, BOLT, CERO]), domains(12))
    assert column(found, "phone") == ["A0", "B1", "C2", "A3", "C4", None, "A6", "B7", "C8", "A9", "B10", None]
    assert column(found, "phone_provider")[:5] == ["acme", "bolt", "cero", "acme", "cero"]
    assert counts(found, "phone.acme") == (12, 4, 8, 0, 0)
    assert counts(found, "phone.bolt") == (8, 3, 4, 1, 4)
    assert counts(found, "phone.cero") == (5, 3, 2, 0, 7)
    assert counts(found, "phone") == (0, 10, 2, 0, 0)
    assert calls == 25


def test_the_bill_names_each_provider() -> None:
    found, _ = run(flow.waterfall("phone", [ACME, BOLT, CERO]), domains(12))
    services = found.statistics["services"]
    assert {name: services[f"phone.{name}"]["cost"] for name in PRICES} == {"acme": 0.36, "bolt": 0.08, "cero": 0.1}
    assert services["phone.acme"]["member_of"] == "phone"
    assert found.statistics["cost"] == pytest.approx(0.54)


def test_the_cheapest_is_asked_first() -> None:
    found, _ = run(flow.waterfall("phone", [ACME, BOLT, CERO], order="price"), domains(12))
    assert column(found, "phone_provider")[:5] == ["cero", "bolt", "cero", "acme", "cero"]
    assert counts(found, "phone.bolt")[0] == 12


def test_an_answer_that_is_not_good_is_as_none() -> None:
    found, _ = run(flow.waterfall("phone", [ACME, CERO], until=lambda number: number != "A6"), domains(7))
    assert column(found, "phone")[6] == "C6"


def test_what_until_raises_is_a_failure_unless_a_later_answer_is_good() -> None:
    until = lambda number: number[0] != "A" or number.missing  # noqa: E731
    found, _ = run(flow.waterfall("phone", [ACME, CERO], until=until), domains(4))
    assert column(found, "phone") == ["C0", None, "C2", None]
    assert counts(found, "phone") == (0, 2, 1, 1, 0)
    rejected, _ = run(flow.waterfall("phone", [ACME, CERO], until=until, priority="critical"), domains(4))
    (error,) = rejected.rejects()["error"].to_pylist()
    assert error.startswith("nobody has answered: `acme`: until raised AttributeError: 'str' object has no attribute")


def test_what_a_record_may_cost_holds_for_all_of_them_together() -> None:
    found, _ = run(flow.waterfall("phone", [ACME, BOLT, CERO], max_cost=0.04), domains(12))
    assert counts(found, "phone.cero") == (0, 0, 0, 0, 12)
    assert column(found, "phone")[2] is None
    assert found.statistics["services"]["phone.bolt"]["cost"] == pytest.approx(0.08)


def test_the_stricter_of_two_budgets_holds() -> None:
    one, _ = run(flow.waterfall("phone", [ACME, BOLT, CERO], max_cost=0.06), domains(12), record_budget=0.03)
    assert counts(one, "phone.bolt")[0] == 0
    other, _ = run(flow.waterfall("phone", [ACME, BOLT, CERO], max_cost=0.03), domains(12), record_budget=0.06)
    assert counts(other, "phone.bolt")[0] == 0


def test_where_some_have_failed_and_none_has_answered_the_whole_has_failed() -> None:
    found, _ = run(flow.waterfall("phone", [BOLT, ACME], priority="critical"), domains(6))
    rejects = found.rejects().select(["lead", "service", "reason", "error"]).to_pylist()
    assert rejects == [
        {"lead": 4, "service": "phone", "reason": "all failed", "error": "nobody has answered: `bolt`: answered 500"}
    ]
    assert column(found, "lead") == [0, 1, 2, 3, 5]


def test_a_provider_that_fails_is_no_gap_where_another_has_answered() -> None:
    found, _ = run(flow.waterfall("phone", [BOLT, CERO]), domains(5))
    assert column(found, "phone")[4] == "C4"
    assert column(found, "completeness") == [1.0, 1.0, 1.0, 0.0, 1.0]
    assert column(found, "degraded") == [False] * 5


def test_failing_members_do_not_end_a_run_but_the_whole_does() -> None:
    table = pa.table({"lead": range(400), "domain": ["d4"] * 400})
    each = pa.table({"lead": range(400), "domain": [f"d{5 * at + 4}" for at in range(400)]})
    for source in (table, each):
        job = flow.Job(flow.Pipeline("p", [flow.waterfall("phone", [BOLT, ACME, CERO])]), source=source, output="p")
        with flow.testing.offline(api=lambda request: 500 if "bolt" in request.path else "X") as calls:
            assert job.run(catalog=flow.testing.memory_catalog()).status == "published"
        assert calls.total <= 800
    job = flow.Job(flow.Pipeline("p", [flow.waterfall("phone", [BOLT, ACME])]), source=each, output="p")
    with flow.testing.offline(api=lambda request: 500), pytest.raises(flow.errors.GuardrailReached, match="`phone`"):
        job.run(catalog=flow.testing.memory_catalog())


def test_the_condition_of_the_whole_holds_for_its_members() -> None:
    @flow.transformation
    def wanted(lead: int) -> bool:
        return lead < 3

    found, calls = run(flow.waterfall("phone", [ACME, CERO], when="wanted"), domains(6), wanted)
    assert column(found, "phone") == ["A0", None, "C2", None, None, None]
    assert counts(found, "phone")[4] == 3
    assert calls == 3 + 2


def test_a_member_keeps_its_own_condition() -> None:
    @flow.transformation
    def wanted(lead: int) -> bool:
        return lead != 2

    found, _ = run(flow.waterfall("phone", [ACME, CERO.with_(when="wanted")]), domains(5), wanted)
    assert column(found, "phone") == ["A0", None, None, "A3", "C4"]


def test_a_default_stands_for_what_failed() -> None:
    found, _ = run(flow.waterfall("phone", [BOLT], default="none"), domains(5))
    assert column(found, "phone") == [None, "B1", None, None, "none"]


def test_a_local_table_may_be_the_first() -> None:
    table = pa.table({"domain": ["d1", "d2"], "tel": ["L1", "L2"]})
    local = flow.lookup("local", table=table, on="domain", select=["tel"])
    found, calls = run(flow.waterfall("phone", [local, ACME]), domains(4))
    assert column(found, "phone") == ["A0", "L1", "L2", "A3"]
    assert calls == 2


def test_each_provider_is_asked_once_for_each_key_over_all_partitions(tmp_path: Any) -> None:
    for part in range(4):
        rows = "".join(f"{part * 100 + at},d{at % 10}\n" for at in range(100))
        (tmp_path / f"{part}.csv").write_text(f"lead,domain\n{rows}")
    found, calls = run(flow.waterfall("phone", [ACME, CERO]), str(tmp_path / "*.csv"))  # type: ignore[arg-type]
    assert calls == 10 + 6
    assert counts(found, "phone.acme")[1:3] == (160, 240)


def test_one_record_an_applied_table_and_a_for_each_give_the_same() -> None:
    service = flow.waterfall("phone", [ACME, BOLT, CERO])
    pipeline = flow.Pipeline("phones", [service])
    items = pa.table({"items": [[f"d{at}" for at in range(12)]]})
    each = flow.Pipeline("items", [flow.for_each("items", [service], item="domain", into="found")])
    with flow.testing.offline(api=answer):
        applied = pipeline.apply(domains(12))["phone"].to_pylist()
        single = [pipeline.call({"domain": f"d{at}"}).data["phone"] for at in range(12)]
        nested = each.apply(items)["found"].to_pylist()[0]
    assert applied == single == [one["phone"] for one in nested]
    assert set(nested[0]) == {"domain", "phone", "phone_provider", "completeness", "degraded"}


def test_a_waterfall_may_be_a_provider_of_another() -> None:
    inner = flow.waterfall("free", [BOLT, CERO])
    found, _ = run(flow.waterfall("phone", [ACME, inner]), domains(5))
    assert column(found, "phone") == ["A0", "B1", "C2", "A3", "C4"]
    assert column(found, "phone_provider") == ["acme", "free", "free", "acme", "free"]
    assert counts(found, "phone.free.bolt")[0] == 3
    assert not any("." in name for name in found.to_arrow().column_names)


def test_explain_and_quote_name_the_members() -> None:
    pipeline = flow.Pipeline("phones", [flow.waterfall("phone", [ACME, CERO])])
    assert "phone.cero" in str(pipeline.explain())
    with flow.testing.offline(api=lambda request: 500) as calls:
        quote = pipeline.quote(domains(10), catalog=flow.testing.memory_catalog())
    assert calls.total == 0
    assert [(one.service, one.calls.low, one.calls.high) for one in quote.services] == [
        ("phone.acme", 10, pytest.approx(10, abs=2)),
        ("phone.cero", 0, pytest.approx(10, abs=2)),
    ]


def test_why_tells_who_was_asked(tmp_path: Any) -> None:
    job = flow.Job(
        flow.Pipeline("phones", [flow.waterfall("phone", [ACME, CERO])]),
        source=domains(6),
        output="phones",
        key="lead",
    )
    with flow.testing.offline(api=answer):
        job.run(catalog=str(tmp_path))
        story = str(flow.why("phones", 2, catalog=str(tmp_path), job=job))
    assert "phone.acme: not_found" in story
    assert "phone_provider = cero" in story


def test_a_stopped_waterfall_goes_on_without_asking_again(tmp_path: Any) -> None:
    service = flow.waterfall("phone", [ACME, BOLT, CERO])
    pipeline = flow.Pipeline("phones", [service])
    job = flow.Job(pipeline, source=domains(12), output="phones", key="lead", max_failures="100%")
    with flow.testing.offline(api=answer) as calls:
        with pytest.raises(flow.errors.LimitReached):
            job.run(catalog=str(tmp_path), budget=0.3)
        first = calls.total
        found = job.run(catalog=str(tmp_path), budget=5)
    assert 0 < first <= 11
    assert calls.total <= 26
    assert column(found, "phone_provider")[:3] == ["acme", "bolt", "cero"]
