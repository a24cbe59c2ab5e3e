"""The live page of a real scheduler in a real browser."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed import Client

sys.path.insert(0, str(Path(__file__).parent))

from boards import board, status

from dataflow.engine.live.scheduler import install, start_telling

CHROMIUM, DRIVER, PROMTOOL = map(shutil.which, ("chromium", "chromedriver", "promtool"))
FLAGS = ["headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking"]
FLAGS += ["disable-component-update", "disable-sync", "hide-scrollbars"]
EVIL = "<img src=x onerror=window.hit=1><script>window.hit=1</script>"
NAMES = [f"service_{at:02d}_{'abcdefghijklmnop' * 4}"[:60] for at in range(30)]
WIDER = "return [...document.querySelectorAll('.dataflow *')].filter(e=>!e.closest('.scroll')&&"
WIDER += "e.getBoundingClientRect().right>innerWidth+1).map(e=>e.outerHTML.slice(0,99))"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="chromium and chromedriver are not installed"),
    pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:selenium"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    for flag in (*FLAGS, f"user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(f"--{flag}")
    options.binary_location = str(CHROMIUM)
    driver = webdriver.Chrome(options=options, service=Service(executable_path=str(DRIVER)))
    yield driver
    driver.quit()


class Page:
    """A scheduler in a process of its own, and a client that tells it boards."""

    def __init__(self, folder: Path) -> None:
        file = folder / "scheduler.json"
        command = [sys.executable, "-m", "dask", "scheduler", "--host", "127.0.0.1", "--port", "0"]
        command += ["--dashboard-address", "127.0.0.1:0", "--scheduler-file", str(file)]
        path = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]))
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
        self.process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, **quiet)
        wait_until(lambda: file.exists() and file.read_text())
        self.client = Client(json.loads(file.read_text())["address"], set_as_default=False)
        self.address = str(install(self.client))

    def tell(self, run: str = "r", **given: Any) -> None:
        values = {**board(given.pop("names", ["tidy", "valid", "company"]), **given), "run": run}
        start_telling(self.client, run, board=json.dumps(values).encode()).result(timeout=10)

    def end(self) -> None:
        self.client.close()
        self.process.kill()
        self.process.wait()


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    made = Page(tmp_path)
    yield made
    made.end()


def wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def look(browser: Any, address: str, *, width: int = 1280, scheme: str = "light") -> str:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 800}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get(address)
    return words(browser)


def words(browser: Any) -> str:
    return str(browser.execute_script("return document.querySelector('.dataflow').textContent"))


def test_nothing_is_wider_than_the_window(page: Page, browser: Any) -> None:
    page.tell(names=NAMES, apis={"acme" + "x" * 56: status()}, warnings=("w" * 500,))
    for width in (1280, 390):
        for scheme in ("light", "dark"):
            assert NAMES[-1] in look(browser, page.address, width=width, scheme=scheme)
            assert browser.execute_script("return document.documentElement.scrollWidth") <= width
            assert browser.execute_script(WIDER) == []


def test_the_page_changes_by_itself_and_says_when_nobody_answers(page: Page, browser: Any) -> None:
    assert "No run yet" in look(browser, page.address)
    page.tell(done=12)
    wait_until(lambda: "12 of 40" in words(browser))
    page.tell(done=13)
    wait_until(lambda: "13 of 40" in words(browser))
    page.process.kill()
    wait_until(lambda: "Disconnected" in words(browser))


def test_a_run_is_chosen_in_the_address(page: Page, browser: Any) -> None:
    page.tell("a", pipeline="older")
    page.tell("b", pipeline="newer")
    assert "older" in look(browser, f"{page.address}?run=a")
    assert "newer" in look(browser, page.address)


def test_hostile_texts_are_shown_and_run_nothing(page: Page, browser: Any) -> None:
    page.tell(names=[EVIL[:50], EVIL], pipeline=EVIL, warnings=(EVIL,), done=12)
    assert EVIL in look(browser, page.address)
    page.tell(names=[EVIL[:50], EVIL], pipeline=EVIL, warnings=(EVIL,), done=13)
    wait_until(lambda: "13 of 40" in words(browser))
    assert browser.execute_script("return window.hit") is None
    assert browser.execute_script("return document.querySelectorAll('.dataflow img').length") == 0


def test_the_page_is_painted_soon(page: Page, browser: Any) -> None:
    page.tell(names=NAMES)
    script, painted = "return performance.getEntriesByName('first-contentful-paint')[0]?.startTime", []
    for _ in range(3):
        look(browser, page.address)
        wait_until(lambda: browser.execute_script(script))
        painted.append(browser.execute_script(script))
    assert statistics.median(painted) < 1500


def test_the_pages_of_dask_lead_to_it(page: Page, browser: Any) -> None:
    pytest.importorskip("bokeh")
    browser.get(page.address.replace("/dataflow", "/status"))
    assert browser.execute_script("return !!document.querySelector('a[href$=\"dataflow\"]')")


@pytest.mark.skipif(not PROMTOOL, reason="promtool is not installed")
def test_its_metrics_are_clean(page: Page) -> None:
    page.tell(names=NAMES, apis={"acme": status()})
    with urllib.request.urlopen(page.address.replace("/dataflow", "/metrics")) as answer:
        lines = [line for line in answer.read().decode().splitlines() if "dataflow_" in line]
    assert any(line.startswith("dataflow_records_total") for line in lines)
    told = "\n".join([*lines, ""])
    command = [str(PROMTOOL), "check", "metrics"]
    checked = subprocess.run(command, input=told, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
