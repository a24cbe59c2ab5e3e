"""A run asks once for each distinct key of its dataset, whatever partitions the records are in."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dataflow as flow
from dataflow.errors import GuardrailReached, Interrupted
from dataflow.store.catalog import Catalog

RECORDS, FILES = 1_200, 6
NAMES = [f"c{number}" for number in range(60)]

acme = flow.API("acme", "https://api.acme.example", retry=1, concurrency=8, breaker=False)


@flow.validation
def fine(domain: str) -> bool:
    return domain != "c1.example"


@flow.transformation(priority="critical")
def known(number: int) -> int:
    if number % 7 == 3:
        raise flow.Reject("no lucky number")
    return number


company = acme.get("company", "/companies/{domain}", returns={"company_name": str, "size": int}, when="valid")


@flow.transformation
def slug(company_name: str | None) -> str | None:
    return company_name and company_name.lower()


people = acme.get("people", "/people/{slug}", returns={"boss": str | None}, priority="optional")
pipeline = flow.Pipeline("leads", [fine, known, company, slug, people])


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Records in six files; few domains, each in most of the files."""
    draw = random.Random(4)
    folder = tmp_path / "source"
    folder.mkdir()
    size = RECORDS // FILES
    for at in range(FILES):
        numbers = list(range(at * size, (at + 1) * size))
        domains = [f"{draw.choice(NAMES)}.example" for _ in numbers]
        pq.write_table(pa.table({"number": numbers, "domain": domains}), folder / f"part-{at}.parquet")
    return folder


def answering(broken: set[str] | None = None) -> Any:
    """A provider that knows every company but c2, and knows only some people."""

    def handler(request: Any) -> Any:
        name = request.path.rpartition("/")[2].partition(".")[0]
        if name in (broken or set()):
            return 500
        if request.path.startswith("/companies/"):
            return 404 if name == "c2" else {"company_name": name.upper(), "size": int(name[1:])}
        return {"boss": f"B{name}"} if int(name[1:]) % 2 else 404

    return handler


def run(source: Path, catalog: Path, **options: Any) -> Any:
    return pipeline.run(str(source), output="leads", key="number", catalog=str(catalog), **options)


def asked(calls: Any) -> Counter[str]:
    return Counter(request.path for request in calls["acme"])


def expected(source: Path) -> set[str]:
    """The domains of the records for which a company is asked."""
    rows = pq.read_table(source).to_pylist()
    return {row["domain"] for row in rows if row["domain"] != "c1.example" and row["number"] % 7 != 3}


def test_every_distinct_input_is_called_once_also_where_it_is_an_answer_itself(source: Path, tmp_path: Path) -> None:
    with flow.testing.offline(acme=answering()) as calls:
        done = run(source, tmp_path / "catalog", max_failures="100%")
    domains = expected(source)
    names = {domain.partition(".")[0] for domain in domains} - {"c2"}
    assert asked(calls) == Counter({f"/companies/{one}" for one in domains} | {f"/people/{one}" for one in names})
    services = done.statistics["services"]
    assert list(services) == [service.name for service in pipeline.services]
    assert (services["company"]["calls"], services["people"]["calls"]) == (len(domains), len(names))
    assert any("distinct inputs" in note for note in done.notes)


def test_a_resolved_run_gives_what_one_partition_gives_in_its_order(source: Path, tmp_path: Path) -> None:
    with flow.testing.offline(acme=answering()):
        several = run(source, tmp_path / "several", max_failures="100%")
        whole = tmp_path / "whole.parquet"
        pq.write_table(pq.read_table(source), whole)
        one = run(whole, tmp_path / "one", max_failures="100%", partition_size="1GB")
    assert (several.partitions, one.partitions) == (FILES, 1)
    assert several.to_arrow().equals(one.to_arrow())
    assert several.rejects()["number"].equals(one.rejects()["number"])
    for name, service in several.statistics["services"].items():
        other = one.statistics["services"][name]
        for count in ("records", "succeeded", "not_found", "failed", "skipped", "calls", "deduplicated", "errors"):
            assert service[count] == other[count], f"{name} {count}"


def test_a_failed_key_is_tried_again_when_the_run_goes_on_and_not_before(source: Path, tmp_path: Path) -> None:
    held: dict[str, Any] = {}

    def stopping(request: Any) -> Any:
        if request.path.startswith("/people/"):
            held["run"].stop()
        return answering({"c3", "c4"})(request)

    with flow.testing.offline(acme=stopping) as calls:
        held["run"] = run(source, tmp_path / "catalog", max_failures="100%", wait=False)
        with pytest.raises(Interrupted):
            held["run"].wait()
    with flow.testing.offline(acme=answering()) as again:
        done = run(source, tmp_path / "catalog", max_failures="100%")
    failed = {"/companies/c3.example", "/companies/c4.example"}
    assert failed <= set(asked(calls))
    assert {path for path in asked(again) if path.startswith("/companies/")} == failed
    assert {"/people/c3", "/people/c4"} <= set(asked(again))
    assert max((asked(calls) + asked(again)).values()) == 2
    services = done.statistics["services"]
    assert services["company"]["failed"] == 0
    assert services["company"]["calls"] == len(expected(source)) + 2


def test_records_that_share_a_failed_key_fail_with_it_and_it_is_called_once(source: Path, tmp_path: Path) -> None:
    with flow.testing.offline(acme=answering({"c3"})) as calls:
        done = run(source, tmp_path / "catalog", max_failures="100%")
    assert asked(calls)["/companies/c3.example"] == 1
    failed = done.failures().filter(pa.compute.equal(done.failures()["service"], "company"))
    rows = pq.read_table(source).to_pylist()
    asking = [row["number"] for row in rows if row["domain"] == "c3.example" and row["number"] % 7 != 3]
    assert sorted(failed["number"].to_pylist()) == asking
    assert set(failed["http_status"].to_pylist()) == {500}


def test_guardrails_see_calls_before_any_partition_is_run(source: Path, tmp_path: Path) -> None:
    with flow.testing.offline(acme=lambda request: 500) as calls, pytest.raises(GuardrailReached, match="company"):
        run(source, tmp_path / "catalog", max_failures=5)
    assert len(calls) < len(expected(source))
    assert Catalog(tmp_path / "catalog").runs()[0].committed == 0


def test_a_stop_while_keys_are_called_keeps_what_was_paid_for(source: Path, tmp_path: Path) -> None:
    catalog = tmp_path / "catalog"
    held: dict[str, Any] = {}

    def stopping(request: Any) -> Any:
        if len(held.setdefault("seen", [])) == 20:
            held["run"].stop()
        held["seen"].append(request.path)
        return answering()(request)

    with flow.testing.offline(acme=stopping) as calls:
        held["run"] = run(source, catalog, max_failures="100%", wait=False)
        with pytest.raises(Interrupted):
            held["run"].wait()
    with flow.testing.offline(acme=answering()) as again:
        done = run(source, catalog, max_failures="100%")
    assert not set(asked(calls)) & set(asked(again))
    assert max((asked(calls) + asked(again)).values()) == 1
    counted = [
        service["calls"] for name, service in done.statistics["services"].items() if name in ("company", "people")
    ]
    assert sum(counted) == len(calls) + len(again), "what was called before the stop counts too"


def test_a_stopped_run_is_published_with_the_answers_that_it_has(source: Path, tmp_path: Path) -> None:
    catalog = tmp_path / "catalog"
    with flow.testing.offline(acme=answering({"c3", "c4"})) as calls, pytest.raises(GuardrailReached) as stopped:
        run(source, catalog, max_failures=1)
    with flow.testing.offline(acme=answering()) as again:
        done = stopped.value.run.publish()
    assert len(calls) > 0
    assert len(again) == 0
    assert done.statistics["total_records"] == RECORDS
    assert done.statistics["services"]["company"]["not_attempted"] > 0


def test_partitions_that_share_nothing_call_for_themselves(tmp_path: Path) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    for at in range(2):
        numbers = list(range(at * 300, at * 300 + 300))
        domains = [f"c{number}.example" for number in numbers]
        pq.write_table(pa.table({"number": numbers, "domain": domains}), folder / f"part-{at}.parquet")
    with flow.testing.offline(acme=answering()) as calls:
        done = run(folder, tmp_path / "catalog", max_failures="100%")
    assert max(asked(calls).values()) == 1
    assert any("each one calls its own" in note for note in done.notes)


def test_what_resolving_has_left_goes_with_the_publication(source: Path, tmp_path: Path) -> None:
    with flow.testing.offline(acme=answering()):
        done = run(source, tmp_path / "catalog", max_failures="100%")
    folder = tmp_path / "catalog" / "leads" / "_runs" / done.id
    assert json.loads((folder / "run.json").read_text())["run"] == done.id
    assert not (folder / "resolve").exists()


def test_keys_and_answers_may_be_in_an_object_store(source: Path, tmp_path: Path) -> None:
    with flow.testing.offline(acme=answering()) as calls:
        remote = run(source, flow.testing.memory_catalog(), max_failures="100%")  # type: ignore[arg-type]
        local = run(source, tmp_path / "catalog", max_failures="100%")
    assert max(asked(calls).values()) == 2
    assert remote.to_arrow().equals(local.to_arrow())
