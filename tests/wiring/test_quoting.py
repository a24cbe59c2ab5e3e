"""A quote counts keys without a call, and what a run then pays lies between its bounds."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.engine.keys import key_of, keys_of
from dataflow.faces.cli import run_command
from dataflow.outcomes import Status
from dataflow.plan.quote import Quote
from dataflow.wiring.memory import shared_memory
from dataflow.wiring.preparation import prepare_once

API = flow.API("acme", "https://acme.example", retry=flow.Retry(attempts=3, initial=0))
COMPANY = API.get(
    "company", "/companies/{domain}", returns={"company_id": str}, select={"company_id": "id"}, price=0.01
)
PEOPLE = API.get("people", "/people/{company_id}", returns={"people": int}, price=0.02)
OTHER = API.get("other", "/other/{domain}", returns={"other_name": str}, price=0.03, when="company_id is null")


@flow.transformation
def domain(email: str) -> str | None:
    return email.partition("@")[2] or None


class Provider:
    """Finds some keys and not others, and fails some requests once."""

    def __init__(self, *, found: float, failing: float, seed: int) -> None:
        self._found, self._failing, self._seed = found, failing, seed
        self._failed: set[str] = set()

    def __call__(self, request: flow.testing.Request) -> Any:
        path = request.path
        if path not in self._failed and self._chance("fails", path) < self._failing:
            self._failed.add(path)
            return 503
        kind, _, key = path.strip("/").partition("/")
        if kind == "people":
            return {"people": 3}
        if self._chance("finds", path) >= self._found:
            return 404
        return {"id": f"id-{key}", "other_name": key}

    def _chance(self, what: str, path: str) -> float:
        return random.Random(f"{self._seed} {what} {path}").random()


def leads(size: int, *, keys: int, seed: int = 0) -> pa.Table:
    """Records whose domains follow a Zipf law; some lack one."""
    chance = random.Random(seed)
    weights = [1 / (rank + 1) for rank in range(keys)]
    found = chance.choices(range(keys), weights, k=size)
    return pa.table({"email": ["nobody" if at % 20 == 7 else f"a@d{key}.example" for at, key in enumerate(found)]})


def quoted(services: list[Any], table: pa.Table, **settings: Any) -> Quote:
    pipeline = flow.Pipeline("leads", [domain, *services])
    return pipeline.quote(table, catalog=flow.testing.memory_catalog(), **settings)


def test_keys_are_counted_exactly_and_nothing_is_called() -> None:
    table = leads(500, keys=50)
    domains = {email.partition("@")[2] for email in table["email"].to_pylist()} - {""}
    with flow.testing.offline(acme=lambda request: 500) as calls:
        company = quoted([COMPANY], table).services[0]
    assert calls.total == 0
    assert company.keys.low == company.keys.high == len(domains)
    assert company.records.high == 475
    assert company.cost.low == pytest.approx(len(domains) * 0.01)


def test_a_chained_service_has_at_most_a_key_for_each_of_the_first() -> None:
    company, people = quoted([COMPANY, PEOPLE], leads(500, keys=50)).services
    assert people.after == ("company",)
    assert people.keys.low == 0
    assert people.keys.high == company.keys.high


def test_a_waterfall_has_at_most_the_keys_that_the_first_one_has() -> None:
    company, other = quoted([COMPANY, OTHER], leads(500, keys=50)).services
    assert (other.keys.low, other.keys.high) == (0, company.keys.high)


def test_without_a_service_that_calls_nothing_is_called() -> None:
    quote = quoted([], leads(20, keys=5))
    assert (quote.records, quote.services) == (20, ())


def test_a_sample_is_paid_for_and_tells_how_services_answer() -> None:
    with flow.testing.offline(acme=Provider(found=0.5, failing=0, seed=1)) as calls:
        quote = quoted([COMPANY, PEOPLE], leads(2000, keys=500), sample=200)
    assert calls.total > 0
    assert f"{calls.total} calls for a sample of 200" in quote.notes[0]
    assert quote.services[0].rates.origin == "sample of 200"
    assert 0.3 < quote.services[0].rates.found.likely < 0.7


def test_a_sample_shows_its_bill_and_the_quote_for_the_whole_source() -> None:
    pipeline = flow.Pipeline("leads", [domain, COMPANY])
    with flow.testing.offline(acme=Provider(found=0.5, failing=0, seed=1)) as calls:
        sample = pipeline.sample(leads(500, keys=50), 40, catalog=flow.testing.memory_catalog())
    assert sample.bill is not None
    assert sample.quote is not None
    assert (sample.bill.calls, sample.bill.cost) == (calls.total, pytest.approx(calls.total * 0.01))
    assert f"bill: {calls.total} calls for a sample of 40" in str(sample)
    assert sample.quote.records == 500
    assert "leads: 500 records" in str(sample)
    assert sample.to_dict()["quote"]["records"] == 500


def test_what_the_cache_answers_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAFLOW_JOURNAL", str(tmp_path / "journal"))
    table = leads(100, keys=10)

    pipeline = flow.Pipeline("leads", [domain, COMPANY, PEOPLE])
    catalog = str(tmp_path / "catalog")
    graph = prepare_once(pipeline, table.schema, catalog=catalog).graph
    memory = shared_memory(graph, catalog, warn=print)
    assert memory is not None
    step = graph.steps[1]
    for at in range(10):
        key = key_of(step, keys_of(step))([f"d{at}.example"])
        value = b'{"company_id":"same"}'
        memory.put_answer(key, status=Status.SUCCEEDED, value=value, created=time.time(), service="company", cost=0.01)
    company, people = pipeline.quote(table, catalog=catalog).services
    assert company.calls.high == 0
    assert (people.keys.low, people.keys.high, people.after) == (1, 1, ())


@pytest.mark.parametrize("seed", range(6))
def test_the_bill_of_a_run_lies_between_the_bounds(seed: int) -> None:
    chance = random.Random(seed)
    catalog = flow.testing.memory_catalog()
    services = [[COMPANY], [COMPANY, PEOPLE], [COMPANY, OTHER]][seed % 3]
    pipeline = flow.Pipeline("leads", [domain, *services])
    provider = Provider(found=chance.uniform(0.2, 0.9), failing=chance.uniform(0, 0.05), seed=seed)
    with flow.testing.offline(acme=provider):
        if seed >= 3:
            pipeline.run(leads(800, keys=300, seed=100 + seed), "leads", catalog=catalog)
        table = leads(1000, keys=400, seed=seed)
        quote = pipeline.quote(table, catalog=catalog, output="leads")
        run = pipeline.run(table, "leads", catalog=catalog, resume=False)
    assert quote.cost.contains(run.statistics["cost"])


def test_what_waits_for_a_called_verdict_is_open() -> None:
    @flow.validation(api=API)
    async def real(domain: str) -> str | None:
        return None

    first, second = quoted([real, COMPANY.with_(when="valid")], leads(200, keys=20)).services
    assert first.keys.low == first.keys.high > 0
    assert (second.keys.low, second.keys.high, second.after) == (0, first.keys.high, ("real",))


def test_a_function_without_an_api_is_called_for_every_record() -> None:
    @flow.enrichment
    async def score(domain: str) -> float:
        return 1.0

    (service,) = quoted([score], leads(200, keys=20)).services
    assert service.api is None
    assert service.calls.low == service.calls.high == 190


def test_the_command_prints_the_quote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "leads.csv").write_text("domain\na.example\nb.example\na.example\n")
    (tmp_path / "priced_job.py").write_text(
        "import dataflow as flow\n"
        "api = flow.API('acme', 'https://acme.example', retry=False)\n"
        "company = api.get('company', '/companies/{domain}', returns={'name': str}, price=0.5)\n"
        "pipeline = flow.Pipeline('priced', [company])\n"
        f"job = flow.Job(pipeline, source={str(tmp_path / 'leads.csv')!r}, output='priced', budget=0.75)\n"
    )
    command = ["quote", str(tmp_path / "priced_job.py"), "--catalog", str(tmp_path / "catalog")]
    assert run_command(command) == 0
    told = capsys.readouterr().out
    assert "priced: 3 records · 2 calls · 1.00 USD" in told
    assert "the budget of 0.75 ends after about 75 %" in told
    assert run_command([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cost"] == {"low": 1.0, "likely": 1.0, "high": 1.0}


@flow.enrichment(api=API, price=0.01)
async def several(domain: str, http: httpx.AsyncClient) -> str:
    for page in range(3):
        answer = await http.get(f"/companies/{domain}", params={"page": page})
    return str(answer.json()["id"])


@pytest.mark.parametrize("seen", ["in a sample", "in a run"])
def test_a_function_that_asks_several_times_for_a_record_is_quoted_with_all_of_its_requests(seen: str) -> None:
    pipeline, catalog = flow.Pipeline("several", [several]), flow.testing.memory_catalog()
    table = pa.table({"domain": [f"d{at}.example" for at in range(400)]})
    with flow.testing.offline(acme=Provider(found=1.0, failing=0, seed=1)):
        run = pipeline.run(table, "several", catalog=catalog)
        sample = 100 if seen == "in a sample" else None
        known = None if sample else "several"
        quote = pipeline.quote(table, catalog=catalog, output=known, sample=sample)
    assert run.statistics["services"]["several"]["calls"] == 1200
    assert quote.calls.likely == quote.row_calls.likely == pytest.approx(1200)
    assert quote.cost.likely == pytest.approx(run.statistics["cost"])
    assert quote.cost.contains(run.statistics["cost"])
