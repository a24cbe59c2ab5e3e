"""A real run on a real cluster, as a real Prometheus scrapes it and a real browser shows it."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from distributed import Client

import dataflow as flow

sys.path.insert(0, str(Path(__file__).parents[2] / "jobs"))

from provider.serve import serve

pytestmark = pytest.mark.slow

CALLS = 40


@pytest.fixture
def served(cluster: Any, tmp_path: Path) -> Iterator[tuple[flow.Run, list[str]]]:
    """A run that has ended, and the addresses of the HTTP servers of scheduler and workers."""
    address, _ = cluster()
    with serve(latency=0.01) as server, Client(address, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
        api = flow.API("scraped", server.url, rate="200/s", concurrency=8)
        title = api.get("title", "/v2/companies/{key}", returns=str, select="name")
        source = pa.table({"key": [f"k{at}.example" for at in range(CALLS)]})
        run = flow.Pipeline("scraped", [title]).run(source, output="out", catalog=str(tmp_path), client=client)
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        ports = [one["services"]["dashboard"] for one in workers]
        assert run.page is not None
        yield run, [run.page.removesuffix("/dataflow"), *(f"http://127.0.0.1:{port}" for port in ports)]


def scraped(address: str) -> str:
    with urllib.request.urlopen(f"{address}/metrics") as answer:
        text: str = answer.read().decode()
    return "".join(f"{line}\n" for line in text.splitlines() if "dataflow_" in line)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool, of Debian's prometheus, is not installed")
def test_the_metrics_of_scheduler_and_workers_are_clean(served: Any) -> None:
    _, addresses = served
    texts = [scraped(address) for address in addresses]
    assert f'dataflow_calls_total{{dataset="out",service="title"}} {CALLS}.0' in texts[0]
    assert any("dataflow_worker_call_duration_seconds_bucket" in text for text in texts[1:])
    for text in texts:
        command = ["promtool", "check", "metrics"]
        checked = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


@contextmanager
def prometheus(folder: Path, addresses: list[str]) -> Iterator[str]:
    """A Prometheus that scrapes these addresses once a second; its own address."""
    targets = [address.removeprefix("http://") for address in addresses]
    (folder / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s}\n"
        f"scrape_configs: [{{job_name: dask, static_configs: [{{targets: {json.dumps(targets)}}}]}}]\n"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--config.file", str(folder / "prometheus.yml"), "--storage.tsdb.path", str(folder / "tsdb")]
    process = subprocess.Popen(
        ["prometheus", *options, f"--web.listen-address=127.0.0.1:{port}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def asked(address: str, query: str) -> float | None:
    """The value of a query, None where Prometheus is not there yet or has scraped nothing."""
    try:
        with urllib.request.urlopen(f"{address}/api/v1/query?query={urllib.parse.quote(query)}") as answer:
            found = json.load(answer)["data"]["result"]
    except OSError:
        return None
    return float(found[0]["value"][1]) if found else None


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="Debian's prometheus is not installed")
def test_a_prometheus_that_scrapes_a_cluster_knows_what_was_called(served: Any, tmp_path: Path) -> None:
    _, addresses = served
    with prometheus(tmp_path, addresses) as address:
        deadline = time.monotonic() + 60
        wanted = {"sum(dataflow_calls_total)", "sum(dataflow_worker_calls_total)", "sum(dataflow_records_total)"}
        while {query for query in wanted if asked(address, query) == CALLS} != wanted:
            assert time.monotonic() < deadline, {query: asked(address, query) for query in wanted}
            time.sleep(0.5)


@pytest.mark.skipif(
    not (shutil.which("chromium") and shutil.which("chromedriver")),
    reason="chromium and chromedriver are not installed",
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_a_browser_shows_a_run_that_has_ended_with_its_graph_and_its_counts(served: Any, tmp_path: Path) -> None:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    run, _ = served
    options = webdriver.ChromeOptions()
    for flag in ("headless", "no-sandbox", "disable-gpu", "no-first-run", "disable-background-networking"):
        options.add_argument(f"--{flag}")
    options.add_argument(f"--user-data-dir={tmp_path / 'profile'}")
    options.binary_location = str(shutil.which("chromium"))
    driver = webdriver.Chrome(options=options, service=Service(executable_path=str(shutil.which("chromedriver"))))
    try:
        driver.get(run.page)
        shown = driver.execute_script("return document.body.innerText")
        boxes = driver.execute_script("return document.querySelectorAll('[data-panel=graph] svg text').length")
        logged = driver.get_log("browser")
    finally:
        driver.quit()
    assert "published" in shown
    assert f"{run.statistics['services']['title']['succeeded']} succeeded" in shown
    assert "title" in shown
    assert boxes >= 2
    assert [entry for entry in logged if entry["level"] == "SEVERE"] == []
