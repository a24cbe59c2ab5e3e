"""A used-up quota ends a run as a limit does, told with what the provider says, and the run goes on afterwards."""

from __future__ import annotations

import logging
from collections.abc import Callable

import httpx
import pytest
from conftest import Bench
from provider.sayings import QUOTAS

import dataflow as flow
from dataflow.errors import LimitReached
from dataflow.store.catalog import Catalog

KEYS = [f"{at}.example" for at in range(6)]
SAID = {
    "openai": "please check your plan and billing details",
    "anthropic": "Your credit balance is too low",
    "payment": "This account has no funds left",
    "google": "The quota was exceeded",
    "problem": "1000 of 1000 used",
    "text": "Your monthly quota has been exceeded",
}


def endpoint(bench: Bench, api: flow.API) -> flow.Service:
    return bench.company(api)


def function(bench: Bench, api: flow.API) -> flow.Service:
    @flow.enrichment(api=api)
    async def company(key: str, http: httpx.AsyncClient) -> str:
        answer = await http.get(f"/v2/companies/{key}")
        answer.raise_for_status()
        return str(answer.json()["name"])

    return company


def with_its_own_client(bench: Bench, api: flow.API) -> flow.Service:
    url = bench.server.url

    @flow.enrichment(api=api)
    def company(key: str) -> str:
        answer = httpx.get(f"{url}/v2/companies/{key}")
        answer.raise_for_status()
        return str(answer.json()["name"])

    return company


@pytest.mark.parametrize("make", [endpoint, function, with_its_own_client])
@pytest.mark.parametrize("form", QUOTAS)
def test_a_used_up_quota_ends_the_run_as_a_limit_with_the_text_of_the_provider(
    bench: Bench, make: Callable[..., flow.Service], form: str
) -> None:
    bench.server.control(keys={KEYS[3]: f"quota:{form}"})
    service = make(bench, bench.api(concurrency=1))
    with pytest.raises(LimitReached, match=r"the quota of api.* is used up") as caught:
        bench.run(service, KEYS)
    assert caught.value.exit_code == 4
    assert SAID[form] in caught.value.said
    assert SAID[form] not in caught.value.plain
    (stopped,) = Catalog(bench.catalog).runs("out")
    assert (stopped.state, stopped.reason) == ("stopped", caught.value.plain)
    assert set(bench.seen()["by_key"].values()) == {1}
    bench.server.control(keys={KEYS[3]: None})
    assert bench.run(service, KEYS).statistics["services"]["company"]["failed"] == 0
    # What was answered and paid for is not asked again.
    assert bench.seen()["calls"] == len(KEYS) + 1


@pytest.mark.parametrize("make", [endpoint, function, with_its_own_client])
def test_without_texts_the_provider_is_not_quoted(
    bench: Bench, make: Callable[..., flow.Service], caplog: pytest.LogCaptureFixture
) -> None:
    bench.server.control(fault="quota:openai")
    with caplog.at_level(logging.DEBUG), pytest.raises(LimitReached, match="is used up") as caught:
        bench.run(make(bench, bench.api(concurrency=1)), KEYS, error_texts=False)
    assert "billing" not in str(caught.value)
    assert "billing" not in caplog.text
    assert b"billing" not in b"".join(one.read_bytes() for one in bench.catalog.rglob("*") if one.is_file())


def test_a_quota_that_is_whole_again_in_a_minute_is_waited_for(bench: Bench) -> None:
    bench.server.control(fault="says:429:message:quota exceeded", times=1, retry_after="seconds")
    assert bench.run(bench.company(), KEYS[:2]).statistics["services"]["company"]["succeeded"] == 2


def test_one_record_that_meets_a_used_up_quota_fails_with_that_reason(bench: Bench) -> None:
    bench.server.control(fault="quota:openai")
    service = bench.company(priority="optional")
    result = flow.Pipeline("one", [service]).call({"key": KEYS[0]})
    (failure,) = result.metadata.failures
    assert failure.reason == "quota used up"
    assert bench.seen()["calls"] == 1


def test_a_model_whose_account_is_empty_ends_the_run(bench: Bench) -> None:
    bench.server.control(fault="quota:openai")
    api = bench.api(f"{bench.server.url}/v1", concurrency=1)
    model = flow.llm("size", api=api, model="demo-small", prompt="How large is {key}?", returns={"size": int})
    with pytest.raises(LimitReached, match=r"`size`: the quota of .* is used up") as caught:
        bench.run(model, KEYS)
    assert SAID["openai"] in caught.value.said
    assert bench.seen("/v1/chat/completions")["calls"] == 1
