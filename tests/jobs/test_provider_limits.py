"""How the provider says that it is to be called later, or that an account has no more to spend."""

from __future__ import annotations

import http.client
import sys
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "jobs"))

from provider.faults import parse_fault
from provider.limits import RetryAfter, retry_after_headers
from provider.sayings import QUOTAS
from provider.serve import Running, serve

PATH = "/v2/companies/falcon-solar.example"


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with serve(unknown=0) as provider:
        yield provider


@pytest.fixture
def provider(running: Running) -> Running:
    running.control(restore=True)
    running.reset()
    return running


def ask(provider: Running, fault: str = "") -> tuple[int, bytes, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection(urlsplit(provider.url).netloc, timeout=20)
    try:
        connection.request("GET", PATH, headers={"X-Fault": fault} if fault else {})
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("none", {}),
        ("seconds", {"retry-after": "2"}),
        ("ms", {"retry-after-ms": "1500"}),
        ("reset", {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "2"}),
        ("reset_at", {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1700000002"}),
        ("ratelimit", {"RateLimit": "limit=100, remaining=0, reset=2"}),
        ("ratelimit_list", {"RateLimit": '"burst";r=0;t=2, "daily";r=900;t=3600'}),
        ("ratelimit_reset", {"RateLimit-Remaining": "0", "RateLimit-Reset": "2"}),
        (
            "resets",
            {
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-requests": "1.5s",
                "x-ratelimit-remaining-tokens": "90000",
                "x-ratelimit-reset-tokens": "6m0s",
            },
        ),
    ],
)
def test_when_to_come_again_is_said_in_every_form(form: str, expected: dict[str, str]) -> None:
    assert retry_after_headers(RetryAfter(form), 1.5, unix_time=1_700_000_000) == expected


def test_a_date_is_never_before_its_time() -> None:
    told = retry_after_headers(RetryAfter.DATE, 1.5, unix_time=1_700_000_000.2)["retry-after"]
    assert parsedate_to_datetime(told).timestamp() == 1_700_000_002


@pytest.mark.parametrize("status", [403, 420, 429, 503])
def test_any_fault_that_is_an_error_says_when_where_that_is_asked_for(provider: Running, status: int) -> None:
    provider.control(fault=f"status:{status}")
    assert "retry-after" not in ask(provider)[2]
    provider.control(retry_after="ms")
    assert ask(provider)[2]["retry-after-ms"] == "1000"
    assert "retry-after-ms" not in ask(provider, "status:200")[2]


def test_a_fault_hits_one_call_in_so_many_seconds(provider: Running) -> None:
    provider.control(fault="status:429", every=1)
    began = time.monotonic()
    found = []
    while time.monotonic() < began + 1.5:
        found.append(ask(provider)[0])
        time.sleep(0.05)
    assert found[:2] == [429, 200]
    assert found.count(429) == 2


@pytest.mark.parametrize("form", QUOTAS)
def test_a_quota_is_said_to_be_used_up_in_every_form(provider: Running, form: str) -> None:
    status, body, headers = ask(provider, f"quota:{form}")
    assert status in (400, 402, 403, 429)
    assert body
    assert ("json" in headers["content-type"]) == body.startswith(b"{")


def test_a_quota_of_no_form_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no form 'gold'.*there are openai"):
        parse_fault("quota:gold")
