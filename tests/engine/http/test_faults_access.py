"""Credentials against a real server: every form lets us in, a refusal ends the run, no secret is written down."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.errors import DataflowError, GuardrailReached, ServiceError

Checked = Callable[..., dict[str, Any]]

CANARY = "canary-5eb63bbbe01e"


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEADS_USER", "demo")
    monkeypatch.setenv("LEADS_KEY", CANARY)
    monkeypatch.setenv("WRONG_KEY", f"{CANARY}-wrong")


def oauth(bench: Any, secret: str = "LEADS_KEY") -> Any:
    return flow.oauth2_client("LEADS_USER", secret, token_url=f"{bench.server.url}/oauth/token")


FORMS: dict[str, tuple[str, Callable[..., Any]]] = {
    "bearer": ("bearer", lambda bench, secret: flow.bearer(secret)),
    "basic": ("basic", lambda bench, secret: flow.basic("LEADS_USER", secret)),
    "header": ("api-key", lambda bench, secret: flow.api_key(secret, header="X-API-Key")),
    "oauth2": ("oauth2", oauth),
}


def assert_nowhere(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert CANARY.encode() not in path.read_bytes(), f"a secret in {path.name}"


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_credentials_lets_us_in(bench: Any, checked: Checked, form: str) -> None:
    auth, make = FORMS[form]
    bench.server.control(auth=auth, secret=CANARY)
    run = bench.run(
        bench.company(bench.api(auth=make(bench, "LEADS_KEY"))),
        [f"k{at}.example" for at in range(20)],
        max_failures="100%",
    )
    assert checked(bench, run) == {}
    assert run.statistics["services"]["company"]["succeeded"] == 20
    assert bench.seen("/oauth/token")["calls"] == (form == "oauth2")


@pytest.mark.parametrize("form", FORMS)
def test_a_refusal_at_the_first_call_ends_the_run_and_names_secrets_never_values(
    bench: Any, form: str, tmp_path: Path
) -> None:
    auth, make = FORMS[form]
    bench.server.control(auth=auth, secret=CANARY)
    service = bench.company(bench.api(auth=make(bench, "WRONG_KEY")))
    with pytest.raises(GuardrailReached) as caught:
        bench.run(service, [f"k{at}.example" for at in range(2000)])
    assert caught.value.exit_code == 3
    message = str(caught.value)
    assert service.api.name in message
    assert "WRONG_KEY" in message
    assert CANARY not in "".join(traceback.format_exception(caught.value))
    assert bench.seen()["calls"] <= 16
    assert_nowhere(tmp_path)


def test_a_function_that_is_refused_ends_the_run_too(bench: Any) -> None:
    bench.server.control(auth="bearer", secret=CANARY)

    @flow.enrichment(api=bench.api(auth=flow.bearer("WRONG_KEY")))
    async def company(key: str, http: httpx.AsyncClient) -> str:
        answer = await http.get(f"/v2/companies/{key}")
        answer.raise_for_status()
        return str(answer.json()["name"])

    with pytest.raises(GuardrailReached, match="WRONG_KEY"):
        bench.run(company, [f"k{at}.example" for at in range(500)])
    assert bench.seen()["calls"] <= 16


@pytest.mark.parametrize("form", FORMS)
def test_a_secret_that_is_not_set_ends_the_run_before_any_call(
    bench: Any, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.delenv("LEADS_KEY")
    service = bench.company(bench.api(auth=FORMS[form][1](bench, "LEADS_KEY")))
    with pytest.raises(DataflowError, match="LEADS_KEY") as caught:
        bench.run(service, ["a.example"])
    assert caught.value.exit_code in (2, 3)
    assert bench.server.counts()["calls"] == 0


@pytest.mark.parametrize("first", ["status:404", "error_200"])
def test_who_was_answered_once_is_not_shut_out_by_one_forbidden_record(bench: Any, first: str) -> None:
    bench.server.control(keys={"first.example": first, "second.example": "status:403"})
    run = bench.run(
        bench.company(bench.api(concurrency=1)),
        ["first.example", "second.example", "third.example"],
        max_failures="100%",
    )
    failures = {one["key"]: one["http_status"] for one in run.failures().to_pylist()}
    assert failures["second.example"] == 403
    assert run.statistics["services"]["company"]["succeeded"] == 1


@pytest.mark.parametrize("ends_early", [False, True])
def test_tokens_that_end_are_renewed_and_no_record_is_lost(bench: Any, ends_early: bool) -> None:
    bench.server.control(auth="oauth2", secret=CANARY, latency=0.01, expires_in=0.3)
    if ends_early:
        bench.server.control(expires_in=3600, token_lifetime=0.15)
    api = bench.api(auth=oauth(bench), concurrency=8, rate="150/s")
    run = bench.run(bench.company(api), [f"k{at}.example" for at in range(90)], max_failures="100%")
    said = run.statistics["services"]["company"]
    assert (said["succeeded"], said["failed"], said["retries"]) == (90, 0, 0)
    assert 2 <= bench.seen("/oauth/token")["calls"] <= 12
    # A call with a token that has ended is sent again within its attempt.
    assert bench.seen()["calls"] - said["calls"] == bench.seen()["by_status"].get("401", 0)
    assert bench.seen()["by_status"]["200"] == 90


def test_a_token_endpoint_that_stumbles_is_asked_again(bench: Any) -> None:
    bench.server.control(auth="oauth2", secret=CANARY, paths={"/oauth/token": {"fault": "503_then_ok:1"}})
    service = bench.api(auth=oauth(bench)).post(
        "phone", "/v2/phones/check", json={"phone": "{key}"}, returns={"valid": bool}, idempotent=False
    )
    run = bench.run(service, ["+4930123"])
    assert run.statistics["services"]["phone"]["succeeded"] == 1
    assert bench.seen("/v2/phones/check")["calls"] == 1
    assert bench.seen("/oauth/token")["calls"] == 2


CANARY_FAULTS = ["always_500", "reset_in_body", "reset_before_headers", "no_answer", "invalid_json", "status:403",
                 "wrong_types", "gzip_bomb", "redirect:http://127.0.0.1:9/"]  # fmt: skip


@pytest.mark.parametrize("place", ["bearer", "query"])
def test_no_secret_is_ever_written_down(
    bench: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], place: str
) -> None:
    caplog.set_level(logging.DEBUG)
    auths = {
        "bearer": flow.bearer("LEADS_KEY"),
        "query": flow.api_key("LEADS_KEY", query="secret"),
    }
    bench.server.control(keys={f"bad{at}.example": fault for at, fault in enumerate(CANARY_FAULTS)})
    api = bench.api(auth=auths[place], timeout=0.2, breaker=False)
    keys = ["good.example", *(f"bad{at}.example" for at in range(len(CANARY_FAULTS)))]
    service = bench.company(api, priority="critical")
    run = bench.run(service, keys, max_failures="100%")
    assert run.rejects().num_rows == len(CANARY_FAULTS)
    pipeline = flow.Pipeline("one", [service])
    for key in keys[1:]:
        with pytest.raises(ServiceError) as caught:
            pipeline.call({"key": key})
        assert CANARY not in "".join(traceback.format_exception(caught.value))
    told = [repr(run), str(run.statistics), str(run.rejects().to_pylist()), str(run.failures().to_pylist())]
    written = capfd.readouterr()
    for text in (*told, *run.notes, *run.warnings, caplog.text, written.out, written.err, repr(api), repr(service)):
        assert CANARY not in text
    assert_nowhere(tmp_path)


def test_a_host_from_a_record_gets_the_secrets_only_if_the_api_allows_it_and_else_nothing_is_sent(bench: Any) -> None:
    bench.server.control(auth="bearer", secret=CANARY)
    api = bench.api(auth=flow.bearer("LEADS_KEY"), allow_hosts=("localhost",))
    port = bench.server.url.rpartition(":")[2]
    company = api.get(
        "company", f"http://{{host}}:{port}/v2/companies/{{key}}", returns={"title": str}, select={"title": "name"}
    )
    hosts = ["localhost", "evil.example", "localhost.evil.example", "127.0.0.1"]
    table = pa.table({"key": [f"k{at}.example" for at in range(4)], "host": hosts})
    run = flow.Pipeline("test", [company]).run(table, output="out", catalog=bench.catalog, max_failures="100%")
    titles = run.to_arrow()["title"].to_pylist()
    assert None not in (titles[0], titles[3])
    assert titles == [titles[0], None, None, titles[3]]
    assert sorted(key for _, _, key, *_ in bench.log()) == ["k0.example", "k3.example"]
    failures = run.failures().to_pylist()
    assert [(one["source_row"], one["status"], one["attempts"]) for one in failures] == [
        (2, "failed", 0),
        (3, "failed", 0),
    ]
    assert {one["reason"] for one in failures} == {"bad input"}
