"""Connections that break, hang or never come to be, and hosts that are not who they should be."""

from __future__ import annotations

import asyncio
import http.server
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import dataflow as flow
from dataflow.engine.http.attempts import AttemptError, Request
from dataflow.engine.http.transport import Transport, within

Checked = Callable[..., dict[str, Any]]

FAULTS = [
    ("no_answer", "timed_out", "timeout", 3),
    ("trickle:0.1", "timed_out", "timeout", 3),
    ("reset_before_headers", "failed", "connection lost", 3),
    ("reset_in_body", "failed", "answer cut off", 3),
]


@pytest.mark.parametrize(("fault", "status", "reason", "attempts"), FAULTS, ids=[one[0] for one in FAULTS])
def test_a_broken_connection_costs_its_own_record_only(
    bench: Any, checked: Checked, fault: str, status: str, reason: str, attempts: int
) -> None:
    bench.server.control(keys={"bad.example": fault})
    run = bench.run(bench.company(bench.api(timeout=0.4)), ["good.example", "bad.example", "fine.example"])
    failure = checked(bench, run)
    assert (failure["status"], failure["reason"]) == (status, reason)
    assert failure["http_status"] is None
    made = bench.seen()["by_key"]["bad.example"]
    # A reset of a connection that another record has used is excused once.
    assert failure["attempts"] == made
    assert attempts <= made <= attempts + (fault == "reset_before_headers")
    said = run.statistics["services"]["company"]
    assert (said["succeeded"], said["failed"] + said["timed_out"]) == (2, 1)


@pytest.mark.parametrize("fault", ["reset_before_headers", "reset_in_body"])
def test_a_reset_on_a_used_connection_is_counted_as_the_call_it_was(bench: Any, checked: Checked, fault: str) -> None:
    keys = [f"k{at}.example" for at in range(6)]
    bench.server.control(keys={key: {"fault": fault, "times": 1} for key in keys[2:]})
    run = bench.run(bench.company(bench.api(concurrency=1, breaker=False)), keys)
    assert checked(bench, run) == {}
    said = run.statistics["services"]["company"]
    assert (said["calls"], said["retries"], said["succeeded"]) == (10, 4, 6)


def test_the_total_timeout_holds_whatever_trickles_in(bench: Any, checked: Checked) -> None:
    bench.server.control(keys={"bad.example": "trickle:0.05"})
    began = time.monotonic()
    run = bench.run(bench.company(bench.api(timeout=0.3, retry=1)), ["bad.example"])
    assert time.monotonic() - began < 3
    assert checked(bench, run)["reason"] == "timeout"


def test_a_server_that_closes_between_calls_loses_no_record_and_sees_no_call_twice(bench: Any) -> None:
    bench.server.control(paths={"/v2/companies": "close_keepalive"})
    run = bench.run(bench.company(bench.api(concurrency=1)), [f"k{at}.example" for at in range(30)])
    said = run.statistics["services"]["company"]
    assert (said["succeeded"], said["failed"]) == (30, 0)
    assert bench.seen()["calls"] == 30
    # Only a request that came while its connection was being closed may look like a call: the others are none.
    assert said["calls"] == 30 + said["retries"] <= 31


def unused_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_a_refused_connection_is_tried_again_and_then_a_failure(bench: Any) -> None:
    api = bench.api(f"http://127.0.0.1:{unused_port()}")
    run = bench.run(bench.company(api), ["a.example"])
    (failure,) = run.failures().to_pylist()
    assert (failure["reason"], failure["http_status"], failure["attempts"]) == ("cannot connect", None, 3)


def test_a_host_without_a_name_is_tried_again_and_then_a_failure(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def unknown(host: str, *rest: Any, **more: Any) -> Any:
        asked.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    api = bench.api("http://nowhere.invalid")
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    run = bench.run(bench.company(api), ["a.example"])
    (failure,) = run.failures().to_pylist()
    assert (failure["reason"], failure["attempts"]) == ("no such host", 3)
    assert asked == ["nowhere.invalid"] * 3


def test_a_post_is_not_repeated_after_a_lost_answer_unless_it_may_be(bench: Any, checked: Checked) -> None:
    bench.server.control(paths={"/v2/phones/check": "reset_in_body"})
    for at, (idempotent, attempts) in enumerate([(False, 1), (None, 3)]):
        bench.server.reset()
        service = bench.api().post(
            "phone", "/v2/phones/check", json={"phone": "{key}"}, returns={"valid": bool}, idempotent=idempotent
        )
        run = bench.run(service, ["+4930123"], output=f"out{at}")
        assert checked(bench, run, "phone", "/v2/phones/check")["attempts"] == attempts
        headers = [entry[4] for entry in bench.log("/v2/phones/check")]
        sent = {one.get("idempotency-key") for one in headers}
        assert len(sent) == 1
        assert (None in sent) == (idempotent is False)


def test_two_records_and_two_runs_never_share_an_idempotency_key(bench: Any) -> None:
    given = {"json": {"phone": "{key}"}, "returns": {"valid": bool}, "cache": False}
    service = bench.api().post("phone", "/v2/phones/check", **given)
    bench.run(service, ["+4930123", "+4930124", "+4930123"], output="one")
    bench.run(service, ["+4930123"], output="two")
    sent = [entry[4]["idempotency-key"] for entry in bench.log("/v2/phones/check")]
    assert len(sent) == len(set(sent)) == 3


def test_what_never_reached_the_provider_is_repeated_even_if_it_must_not_be_sent_twice(bench: Any) -> None:
    api = bench.api(f"http://127.0.0.1:{unused_port()}")
    service = api.post("phone", "/x", json={"phone": "{key}"}, returns={"valid": bool}, idempotent=False)
    (failure,) = bench.run(service, ["+4930123"]).failures().to_pylist()
    assert (failure["reason"], failure["attempts"]) == ("cannot connect", 3)


class _Witness(http.server.BaseHTTPRequestHandler):
    """Notes what it is asked, and answers as the provider would."""

    def do_GET(self) -> None:
        self.server.asked.append((self.path, dict(self.headers)))  # type: ignore[attr-defined]
        body = b'{"name": "Witness"}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def witness(context: ssl.SSLContext | None = None) -> Iterator[Any]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Witness)
    server.asked = []  # type: ignore[attr-defined]
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_redirect_takes_neither_a_call_nor_a_secret_to_another_host(
    bench: Any, checked: Checked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDERING_KEY", "canary-wandering")
    with witness() as other:
        bench.server.control(keys={"bad.example": f"redirect:http://127.0.0.1:{other.server_port}/v2/companies/x"})
        api = bench.api(auth=flow.bearer("WANDERING_KEY"))
        failure = checked(bench, bench.run(bench.company(api), ["good.example", "bad.example"]))
        assert (failure["reason"], failure["attempts"]) == ("HTTP 302", 1)
        assert other.asked == []


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed, which makes the certificate")
    folder = tmp_path_factory.mktemp("certificate")
    pem = folder / "both.pem"
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")],
        capture_output=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    pem.write_bytes((folder / "cert.pem").read_bytes() + (folder / "key.pem").read_bytes())
    return pem


def test_a_certificate_that_nobody_vouches_for_is_refused_and_one_in_ca_file_is_taken(
    bench: Any, certificate: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with witness(context) as server:
        url = f"https://127.0.0.1:{server.server_port}"
        (failure,) = bench.run(bench.company(bench.api(url)), ["a.example"], output="no").failures().to_pylist()
        assert (failure["reason"], failure["attempts"]) == ("certificate", 1)
        assert "ca_file" in failure["error"] if "error" in failure else True
        assert server.asked == []
        trusting = bench.api(url, ca_file=str(certificate.parent / "cert.pem"))
        run = bench.run(bench.company(trusting), ["a.example"], output="yes")
        assert run.to_arrow().column("title").to_pylist() == ["Witness"]
        assert len(server.asked) == 1


def test_five_hundred_deadlines_within_connection_set_up_leave_a_healthy_transport(bench: Any) -> None:
    transport = Transport(bench.api())
    request = Request(method="GET", url=f"{bench.server.url}/v2/companies/a.example", headers={})

    async def attempt(seconds: float) -> bool:
        try:
            await within(seconds, transport.send(request))
        except AttemptError as error:
            return error.reason not in ("timeout", "cannot connect")
        return True

    async def scenario() -> tuple[int, float, int]:
        missed = 0
        for at in range(50):
            ended = await asyncio.gather(*(attempt((at * 10 + one) * 2e-6) for one in range(10)))
            missed += 10 - sum(ended)
        began = time.monotonic()
        assert await attempt(5)
        took = time.monotonic() - began
        alive = len(asyncio.all_tasks()) - 1
        await transport.close()
        return missed, took, alive

    missed, took, alive = asyncio.run(scenario())
    assert missed > 100
    assert took < 1
    assert alive == 0


def test_after_many_short_deadlines_the_next_run_is_answered_at_once(bench: Any, checked: Checked) -> None:
    api = bench.api(timeout=0.005, retry=1, breaker=False, concurrency=50)
    bench.server.control(paths={"/v2/companies": {"latency": 0.2}})
    late = bench.run(bench.company(api), [f"k{at}.example" for at in range(90)], output="short", max_failures="100%")
    assert late.statistics["services"]["company"]["timed_out"] == 90
    assert bench.seen()["in_flight"] == 0
    bench.server.control(restore=True, paths={"/v2/companies": None})
    bench.server.reset()
    began = time.monotonic()
    patient = bench.company(api, timeout=5)
    run = bench.run(patient, ["a.example"], output="healthy")
    # Up to 3 s of these are the lease of the places that the calls before it had.
    assert time.monotonic() - began < 5
    assert checked(bench, run) == {}
