"""The job that calls a provider: over a part of the leads, with the server's counts as the judge."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from provider.serve import Running, serve

from dataflow.wiring.run import Run

ROOT = Path(__file__).parents[2]
CALLED = {
    "company": "/v2/companies",
    "reputation": "/v2/emails",
    "technologies": "/v2/tech",
    "social": "/v2/social",
    "headlines": "/v2/news",
}


@pytest.fixture(scope="module")
def provider() -> Iterator[Running]:
    with serve(latency=0.005) as running:
        yield running


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, provider: Running) -> Iterator[Run]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        patch.setenv("PROVIDER_URL", provider.url)
        patch.setenv("DATAFLOW_JOURNAL", str(tmp_path_factory.mktemp("journal")))
        sys.modules.pop("enrich_leads", None)
        job = importlib.import_module("enrich_leads").job()
        yield job.run(catalog=str(tmp_path_factory.mktemp("catalog")), limit=800)


def test_the_counts_of_the_run_are_those_of_the_server(published: Run, provider: Running) -> None:
    counted = provider.counts()["services"]
    for service, prefix in CALLED.items():
        assert published.statistics["services"][service]["calls"] == counted[prefix]["calls"], service


def test_every_lead_is_published_with_what_the_provider_knows(published: Run) -> None:
    assert published.dataset is not None
    leads = pq.read_table(published.dataset.path)
    assert leads.num_rows == 800
    known = [one for one in leads.to_pylist() if one["company_name"]]
    assert known
    assert all((one["industry"] and one["linkedin"] is None) or one["linkedin"].startswith("https://") for one in known)
    assert {type(one["employees"]) for one in known} <= {int, type(None)}
    assert any(one["headlines"] for one in known)


def test_nobody_is_paid_to_look_at_an_address_that_is_none(published: Run) -> None:
    assert published.dataset is not None
    leads = pq.read_table(published.dataset.path).to_pylist()
    assert all(one["deliverable"] is None for one in leads if not one["is_valid"])


def test_the_run_says_what_its_calls_waited_for(published: Run) -> None:
    waited = published.statistics["services"]["reputation"]["waited"]
    assert waited.keys() == {"rate", "concurrency", "breaker", "budget", "provider", "plane"}
    assert waited["breaker"] == 0
