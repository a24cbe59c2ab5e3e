"""The provider: each fault as a plain client sees it, counts that are exact, and a process that ends."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from provider import data
from provider.faults import GZIP_BOMB, HUGE_BODY, Kind, parse_fault
from provider.limits import RetryAfter, parse_rate
from provider.sayings import FORMS
from provider.serve import Running, serve

ROOT = Path(__file__).parents[2]
KNOWN = "/v2/companies/falcon-solar.example"


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with serve(unknown=0) as provider:
        yield provider


@pytest.fixture
def provider(running: Running) -> Running:
    running.control(restore=True)
    running.reset()
    return running


def connect(provider: Running, timeout: float = 20) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(provider.url).netloc, timeout=timeout)


def ask(provider: Running, path: str, *, method: str = "GET", body=None, headers=None, timeout: float = 20):
    connection = connect(provider, timeout)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers
    finally:
        connection.close()


def statuses(provider: Running) -> dict[str, int]:
    deadline = time.monotonic() + 10
    while (counts := provider.counts())["in_flight"] and time.monotonic() < deadline:
        time.sleep(0.01)
    return counts["by_status"]


def test_facts_follow_from_the_key_alone_and_about_one_domain_in_eight_is_unknown() -> None:
    assert data.company(8, "falcon-solar.example") == data.company(8, "falcon-solar.example")
    assert data.company(8, "falcon-solar.example") != data.company(9, "falcon-solar.example")
    known = sum(data.known(8, f"d{number}.example", unknown=0.12) for number in range(5000))
    assert 0.86 < known / 5000 < 0.90


@pytest.mark.parametrize(
    ("path", "field"),
    [
        (KNOWN, "industry"),
        ("/v2/emails/a%40b.example/reputation", "deliverable"),
        ("/v2/social?domain=a.example", "profiles"),
        ("/v2/tech/a.example", "technologies"),
        ("/v2/news?domain=a.example", "headlines"),
        ("/v2/contacts?domain=a.example", "contacts"),
        ("/v2/people?email=a%40b.example", "skills"),
    ],
)
def test_every_service_answers(provider: Running, path: str, field: str) -> None:
    status, body, _ = ask(provider, path)
    assert (status, field in json.loads(body)) == (200, True)


def test_posts_answer_and_a_batch_comes_shuffled_without_the_unknown(provider: Running) -> None:
    provider.control(unknown=0.5)
    domains = [f"d{number}.example" for number in range(20)]
    _, body, _ = ask(provider, "/v2/companies/batch", method="POST", body=json.dumps({"domains": domains}))
    found = [one["domain"] for one in json.loads(body)]
    assert 0 < len(found) < 20
    assert found != sorted(found, key=domains.index)
    _, body, _ = ask(provider, "/v2/phones/check", method="POST", body='{"phone": "+12125550100"}')
    assert json.loads(body)["phone"] == "+12125550100"
    assert provider.counts()["services"]["/v2/companies/batch"]["by_key"] == dict.fromkeys(domains, 1)


@pytest.mark.parametrize(
    ("auth", "headers"),
    [
        ("bearer", {"Authorization": "Bearer secret"}),
        ("basic", {"Authorization": "Basic " + b64encode(b"demo:secret").decode()}),
        ("api-key", {"X-API-Key": "secret"}),
    ],
)
def test_without_credentials_there_is_a_401(provider: Running, auth: str, headers: dict[str, str]) -> None:
    provider.control(auth=auth)
    assert [ask(provider, KNOWN)[0], ask(provider, KNOWN, headers=headers)[0]] == [401, 200]
    assert provider.log()[1][4] == {name.lower(): value for name, value in headers.items()}


def test_oauth2_tokens_end(provider: Running) -> None:
    provider.control(auth="oauth2", token_lifetime=60)
    form = "grant_type=client_credentials&client_id=demo&client_secret="
    assert ask(provider, "/oauth/token", method="POST", body=form + "wrong")[0] == 401
    _, body, _ = ask(provider, "/oauth/token", method="POST", body=form + "secret")
    headers = {"Authorization": f"Bearer {json.loads(body)['access_token']}"}
    assert ask(provider, KNOWN, headers=headers)[0] == 200
    provider.control(token_lifetime=0)
    _, body, _ = ask(provider, "/oauth/token", method="POST", body=form + "secret")
    assert ask(provider, KNOWN, headers={"Authorization": f"Bearer {json.loads(body)['access_token']}"})[0] == 401


def test_the_first_attempts_of_each_key_fail(provider: Running) -> None:
    assert [ask(provider, f"{KNOWN}?fault=503_then_ok:2")[0] for _ in range(4)] == [503, 503, 200, 200]
    provider.control(keys={"a.example": {"fault": "status:500", "times": 1}}, paths={"/v2/tech": "always_500"})
    assert [ask(provider, "/v2/companies/a.example")[0] for _ in range(2)] == [500, 200]
    assert [ask(provider, f"/v2/{path}")[0] for path in ("tech/b.example", "companies/b.example")] == [500, 200]
    assert ask(provider, KNOWN, headers={"X-Fault": "status:418"})[0] == 418


def test_an_outage_is_switched_and_ends_at_its_time(provider: Running) -> None:
    provider.control(outage=True)
    assert ask(provider, KNOWN)[0] == 503
    provider.control(outage=False)
    assert ask(provider, KNOWN)[0] == 200
    past = f"{KNOWN}?fault=outage:@{time.monotonic() - 1}"
    assert [ask(provider, path)[0] for path in (past, f"{KNOWN}?fault=outage:60")] == [200, 503]


@pytest.mark.parametrize("fault", ["truncated_json", "invalid_json", "html_200"])
def test_a_body_is_no_json(provider: Running, fault: str) -> None:
    status, body, _ = ask(provider, f"{KNOWN}?fault={fault}")
    assert status == 200
    with pytest.raises(ValueError):  # noqa: PT011
        json.loads(body)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("wrong_types", lambda value: value["data"]["metrics"]["employeeCount"].isdecimal()),
        ("missing_fields", lambda value: value == {"data": {"metrics": {}}}),
        ("missing_fields:name", lambda value: "name" not in value and "industry" in value),
        ("null_fields", lambda value: value["name"] is value["revenue"] is None),
        ("extra_fields", lambda value: value["unexpected"] and value["industry"]),
        ("nan", lambda value: value["revenue"] != value["revenue"]),
        ("error_200", lambda value: list(value) == ["error"]),
    ],
)
def test_a_body_has_other_fields_than_promised(provider: Running, fault: str, expected) -> None:
    status, body, _ = ask(provider, f"{KNOWN}?fault={fault}")
    assert status == 200
    assert expected(json.loads(body))


def test_bodies_are_too_large_too_deep_or_elsewhere(provider: Running) -> None:
    assert len(ask(provider, f"{KNOWN}?fault=huge_body")[1]) > HUGE_BODY
    _, bomb, headers = ask(provider, f"{KNOWN}?fault=gzip_bomb")
    assert (headers["content-encoding"], len(bomb) < 100_000) == ("gzip", True)
    assert len(gzip.decompress(bomb)) == GZIP_BOMB + 2
    assert ask(provider, f"{KNOWN}?fault=deep_nesting")[1].count(b"[") == 20_000
    status, _, headers = ask(provider, f"{KNOWN}?fault=redirect:http%3A//other.example/x")
    assert (status, headers["location"]) == (302, "http://other.example/x")
    assert statuses(provider) == {"200": 3, "302": 1}


def test_resets_are_seen_as_resets_and_counted(provider: Running) -> None:
    for _ in range(3):
        with pytest.raises(ConnectionResetError):
            ask(provider, f"{KNOWN}?fault=reset_before_headers")
    connection = connect(provider)
    connection.request("GET", f"{KNOWN}?fault=reset_in_body")
    answer = connection.getresponse()
    with pytest.raises((ConnectionResetError, http.client.IncompleteRead)):
        answer.read()
    connection.close()
    assert statuses(provider) == {"reset": 4}


@pytest.mark.parametrize("fault", ["no_answer", "trickle", "slow:60"])
def test_who_waits_too_long_leaves_and_the_call_ends(provider: Running, fault: str) -> None:
    with pytest.raises(TimeoutError):
        ask(provider, f"{KNOWN}?fault={fault}", timeout=0.2)
    assert statuses(provider) == {"left": 1}
    assert provider.log()[0][1:4] == [KNOWN, "falcon-solar.example", "left"]


def test_a_trickle_ends_and_a_kept_connection_is_closed(provider: Running) -> None:
    assert json.loads(ask(provider, f"{KNOWN}?fault=trickle:0")[1])["name"] == "Falcon Solar"
    connection = connect(provider)
    connection.request("GET", f"{KNOWN}?fault=close_keepalive")
    answer = connection.getresponse()
    assert (json.loads(answer.read())["name"], answer.headers["connection"]) == ("Falcon Solar", None)
    assert isinstance(connection.sock, socket.socket)
    assert connection.sock.recv(1) == b""
    connection.close()


@pytest.mark.parametrize(("finishes", "least", "most"), [(False, 0.1, 0.6), (True, 0.8, 1.5)])
def test_what_a_client_leaves_behind_runs_on_where_the_provider_finishes_it(
    provider: Running, finishes: bool, least: float, most: float
) -> None:
    provider.control(latency=0.8, finishes=finishes)
    with pytest.raises(TimeoutError):
        ask(provider, KNOWN, timeout=0.2)
    assert statuses(provider) == {"left": 1}
    began, ended = provider.log()[0][0], provider.log()[0][5]
    assert least < ended - began < most


@pytest.mark.parametrize(
    ("form", "pattern"), [("seconds", "60"), ("negative", "-5"), ("1000000000", "1000000000"), ("text", "soon")]
)
def test_beyond_the_rate_there_is_a_429(provider: Running, form: str, pattern: str) -> None:
    provider.control(rate="2/min", retry_after=form)
    answers = [ask(provider, KNOWN) for _ in range(3)]
    assert [status for status, _, _ in answers] == [200, 200, 429]
    assert answers[2][2]["retry-after"] == pattern


def test_calls_at_a_time_are_limited_and_counted(provider: Running) -> None:
    provider.control(latency=0.5, concurrency=4)
    with ThreadPoolExecutor(8) as threads:
        found = [one[0] for one in threads.map(lambda number: ask(provider, f"/v2/tech/d{number}.example"), range(8))]
    assert sorted(found) == [200] * 4 + [429] * 4
    assert 4 < provider.counts()["services"]["/v2/tech"]["max_in_flight"] <= 8


def test_counts_and_log_agree_with_what_was_sent(provider: Running) -> None:
    before = time.monotonic()
    for number in range(30):
        ask(provider, f"/v2/tech/d{number % 3}.example", headers={"Idempotency-Key": str(number)})
    ask(provider, "/nowhere")
    counts, log = provider.counts(), provider.log()
    assert counts["services"]["/v2/tech"]["by_key"] == {f"d{number}.example": 10 for number in range(3)}
    assert (counts["calls"], counts["by_status"], counts["max_in_flight"]) == (31, {"200": 30, "404": 1}, 1)
    assert [entry[4]["idempotency-key"] for entry in log[:30]] == [str(number) for number in range(30)]
    assert before <= log[0][0] <= log[-1][0] <= time.monotonic()
    provider.reset()
    assert (provider.counts()["calls"], provider.log()) == (0, [])


def test_settings_that_do_not_exist_are_refused(provider: Running) -> None:
    with pytest.raises(ValueError, match="no setting 'latencies'"):
        provider.control(latencies=3)
    assert ask(provider, f"{KNOWN}?fault=lightning")[0] == 400


@pytest.mark.parametrize("text", ["lightning", "status", "status:900", "slow", "slow:x", "redirect", "outage:soon"])
def test_a_fault_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="fault"):
        parse_fault(text)


def test_names_and_rates_are_read() -> None:
    argued = {"status", "says", "slow", "redirect", "encoding", "charset", "refuses", "dressed"}
    assert {str(parse_fault(kind)) for kind in Kind if kind not in argued} < set(Kind)
    assert parse_rate("5/0.5s").seconds == 0.5
    assert {"seconds", "date", "ms", "reset_at", "none"} < set(RetryAfter)


@pytest.mark.parametrize("form", FORMS)
def test_an_error_is_said_in_every_form(provider: Running, form: str) -> None:
    status, body, headers = ask(provider, KNOWN, headers={"X-Fault": f"says:409:{form}:no such plan"})
    assert status == 409
    assert b"no such plan" in body
    told = {"html": "text/html; charset=utf-8", "text": "text/plain; charset=utf-8"}
    assert headers["content-type"] == told.get(form, "application/json")


@pytest.mark.parametrize("fault", ["says:", "says:200", "says:400:song:x", "says:999"])
def test_a_saying_without_a_status_or_of_no_form_is_refused(provider: Running, fault: str) -> None:
    with pytest.raises(ValueError, match=r"says|form"):
        parse_fault(fault)
    assert ask(provider, KNOWN, headers={"X-Fault": fault})[0] == 400


def alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def test_it_ends_with_the_block_and_with_the_process_that_started_it() -> None:
    with serve() as provider:
        pid = provider.pid
        assert pid is not None
        assert alive(pid)
    assert not alive(pid)
    code = "import os; from jobs.provider import serve as s; s.ensure_provider(); print(s._kept[0].pid); os._exit(1)"
    environment = {name: value for name, value in os.environ.items() if name != "PROVIDER_URL"}
    command = [sys.executable, "-c", f"import sys; sys.stdout.reconfigure(line_buffering=True); {code}"]
    ended = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    deadline = time.monotonic() + 10
    while alive(int(ended.stdout)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(int(ended.stdout))
