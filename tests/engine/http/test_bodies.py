"""Answers as providers send them, packed, written or empty in odd ways: read as what they are, with counts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import httpx
import pytest

import dataflow as flow
from dataflow.engine.http.encodings import accepted

Checked = Callable[..., dict[str, Any]]
BAD = "bad.example"

READ = [
    "encoding:gzip",
    "encoding:x-gzip",
    "encoding:gzip/members",
    "encoding:deflate",
    "encoding:deflate/raw",
    "encoding:deflate, gzip",
    "encoding:identity",
    "encoding:utf-8/plain",
    "encoding:gzip/plain",
    "encoding:deflate/plain",
    "encoding:br/plain",
    "encoding:/gzip",
    "encoding:deflate/gzip",
    "encoding:gzip/deflate",
    "encoding:br/gzip",
    "charset:utf-8",
    "charset:utf-8-sig",
    "charset:iso-8859-1",
    "charset:latin-1",
    "charset:utf-16",
    "charset:utf-16/utf-16-be",
    "charset:utf-16/utf-16-le",
    "charset:utf-16/utf-8",
    "charset:us-ascii/utf-8",
    "charset:utf-8/utf-16",
    "charset:utf-32",
]

REFUSED = [
    ("encoding:gzip/noise", "`gzip`"),
    ("encoding:deflate/noise", "`deflate`"),
    ("encoding:snappy/noise", "`snappy`"),
    ("encoding:snappy/plain", "`snappy`"),
    ("encoding:gzip, snappy/noise", "`snappy`"),
    ("charset:klingon/latin-1", "`klingon`"),
    ("charset:us-ascii/latin-1", "`us-ascii`"),
    ("charset:utf-8/latin-1", "UTF-8"),
    ("charset:rot13/latin-1", "`rot13`"),
]


@pytest.mark.parametrize("fault", READ)
def test_a_body_is_read_as_what_it_is(bench: Any, checked: Checked, fault: str) -> None:
    bench.server.control(keys={BAD: fault})
    run = bench.run(bench.company(), [BAD, "good.example"])
    assert checked(bench, run) == {}
    assert bench.seen()["by_key"] == {BAD: 1, "good.example": 1}
    title = run.to_arrow().column("title")[0].as_py()
    assert title
    assert title.endswith(" é") is fault.startswith("charset")


@pytest.mark.parametrize(("fault", "named"), REFUSED)
def test_a_body_that_cannot_be_read_costs_its_record_and_one_call(
    bench: Any, checked: Checked, fault: str, named: str
) -> None:
    bench.server.control(keys={BAD: fault})
    run = bench.run(bench.company(priority="critical"), [BAD, "good.example"])
    failure = checked(bench, run)
    assert (failure["status"], failure["reason"], failure["attempts"]) == ("failed", "unreadable answer", 1)
    assert named in run.rejects().to_pylist()[0]["error"]


@pytest.mark.parametrize("name", ["br", "zstd"])
def test_what_needs_a_library_is_read_with_it_and_named_without(bench: Any, checked: Checked, name: str) -> None:
    bench.server.control(keys={BAD: f"encoding:{name}"})
    run = bench.run(bench.company(priority="critical"), [BAD, "good.example"])
    failure = checked(bench, run)
    if name in accepted():
        assert failure == {}
    else:
        assert (failure["reason"], failure["attempts"]) == ("unreadable answer", 1)
        assert f"`{name}`" in run.rejects().to_pylist()[0]["error"]


def test_a_packed_answer_that_ends_early_is_cut_off_and_asked_for_again(bench: Any, checked: Checked) -> None:
    bench.server.control(keys={BAD: {"fault": "encoding:gzip/cut", "times": 1}})
    run = bench.run(bench.company(), [BAD])
    assert (checked(bench, run), bench.seen()["calls"]) == ({}, 2)
    bench.server.control(keys={"worse.example": "encoding:gzip/cut"})
    failure = bench.run(bench.company(), ["worse.example"], output="worse").failures().to_pylist()[0]
    assert (failure["reason"], failure["attempts"]) == ("answer cut off", 3)


@pytest.mark.parametrize("fault", ["empty:404/gzip", "empty:404/snappy", "empty:204", "empty:204/gzip"])
def test_nothing_is_known_where_the_status_says_so_whatever_is_declared(
    bench: Any, checked: Checked, fault: str
) -> None:
    api = bench.api(breaker=flow.Breaker(threshold=2))
    keys = [f"k{at}.example" for at in range(20)]
    bench.server.control(keys=dict.fromkeys(keys, fault))
    run = bench.run(bench.company(api), keys)
    assert checked(bench, run) == {}
    said = run.statistics["services"]["company"]
    assert (said["not_found"], said["calls"], said["waited"]["breaker"]) == (20, 20, 0)


@pytest.mark.parametrize("fault", ["empty", "empty:200/gzip", "empty:200/snappy", "empty:202", "empty:205"])
def test_a_success_with_nothing_in_it_is_a_failure_that_is_not_kept(bench: Any, checked: Checked, fault: str) -> None:
    bench.server.control(keys={BAD: fault})
    company = bench.company()
    failure = checked(bench, bench.run(company, [BAD]))
    assert (failure["status"], failure["reason"], failure["attempts"]) == ("failed", "empty answer", 1)
    bench.server.control(keys={BAD: None})
    bench.server.reset()
    assert bench.run(company, [BAD], output="again").statistics["services"]["company"]["succeeded"] == 1
    assert bench.seen()["calls"] == 1


def test_a_success_that_is_listed_as_not_found_is_not_found(bench: Any, checked: Checked) -> None:
    bench.server.control(keys={BAD: "empty:202"})
    run = bench.run(bench.company(not_found=[404, 202]), [BAD])
    assert checked(bench, run) == {}
    assert run.statistics["services"]["company"]["not_found"] == 1


def test_nothing_is_a_value_where_the_type_holds_it(bench: Any, checked: Checked) -> None:
    bench.server.control(keys={BAD: "empty:200/gzip"})
    run = bench.run(bench.company(returns=str | None, select=None), [BAD])
    assert checked(bench, run) == {}
    assert run.to_arrow().column("company").to_pylist() == [None]


def test_nan_fails_by_its_name_and_place_and_is_taken_where_it_is_allowed(bench: Any, checked: Checked) -> None:
    bench.server.control(keys={BAD: "nan"})
    run = bench.run(bench.company(priority="critical"), [BAD, "good.example"])
    failure = checked(bench, run)
    assert (failure["reason"], failure["attempts"]) == ("unexpected answer", 1)
    assert "the answer holds NaN at `" in run.rejects().to_pylist()[0]["error"]
    allowed = bench.company(returns={"ratio": float}, select=None, allow_nan=True)
    bench.server.reset()
    for output, calls in (("first", 1), ("second", 1)):
        run = bench.run(allowed, [BAD], output=output)
        assert run.to_arrow().column("ratio").to_pylist() == [math.inf]
        assert bench.seen()["calls"] == calls


@pytest.mark.parametrize("status", [400, 429, 503])
def test_a_status_says_what_it_means_whatever_its_body_is(bench: Any, checked: Checked, status: int) -> None:
    bench.server.control(keys={BAD: f"empty:{status}/snappy"})
    failure = checked(bench, bench.run(bench.company(), [BAD]))
    assert (failure["reason"], failure["http_status"]) == (f"HTTP {status}", status)


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        ("encoding:gzip/members", "JSON"),
        ("encoding:gzip/plain", "JSON"),
        ("encoding:/gzip", "JSON"),
        ("charset:latin-1", "JSON é"),
        ("charset:utf-16/utf-16-be", "JSON é"),
        ("empty:204/gzip", "204"),
        ("encoding:snappy/noise", "DecodingError"),
    ],
)
def test_the_client_of_a_function_sees_the_same_bodies(bench: Any, checked: Checked, fault: str, found: str) -> None:
    bench.server.control(keys={BAD: fault})

    @flow.enrichment(api=bench.api(), into="title")
    async def company(key: str, http: httpx.AsyncClient) -> str:
        try:
            answer = await http.get(f"/v2/companies/{key}")
        except httpx.DecodingError:
            return "DecodingError"
        if not answer.content:
            return str(answer.status_code)
        name = answer.json()["name"]
        assert name in answer.text
        return "JSON é" if name.endswith(" é") else "JSON"

    run = bench.run(company, [BAD])
    assert checked(bench, run) == {}
    assert run.to_arrow().column("title").to_pylist() == [found]
    assert bench.seen()["calls"] == 1
