"""Photographs what a browser shows, for the README: the live page of a run, and the graph in a notebook.

python .readme/photograph.py           # page.png and notebook.png beside this file

It needs chromium and chromedriver, as Debian packs them, and selenium. The board is one that the tests make.
"""

import base64
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FLAGS = ("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking")
FLAGS += ("disable-component-update", "disable-sync", "hide-scrollbars")


@contextmanager
def browser(profile: str) -> Iterator[Any]:
    """A browser without a window."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    for flag in (*FLAGS, f"user-data-dir={profile}"):
        options.add_argument(f"--{flag}")
    options.binary_location = str(shutil.which("chromium"))
    driver = webdriver.Chrome(options=options, service=Service(executable_path=str(shutil.which("chromedriver"))))
    try:
        yield driver
    finally:
        driver.quit()


def photograph(driver: Any, page: Path, picture: Path, *, width: int, height: int) -> None:
    """Write what a browser shows of a page, cut to a size."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    driver.get(page.as_uri())
    taken = driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
    picture.write_bytes(base64.b64decode(taken["data"]))


def write_page(folder: Path) -> Path:
    """The live page of a run of the lead job, as a file."""
    import msgspec

    sys.path.insert(0, str(HERE.parent / "tests" / "faces"))
    from boards import board

    from dataflow.faces.page import page
    from dataflow.faces.picture import live_svg
    from dataflow.wiring.jobs import find_job

    explanation = find_job(str(HERE.parent / "jobs" / "lead_intelligence.py")).job.pipeline.explain()
    names = [one.name for line in explanation.lines for one in (line, *line.inside)]
    told = board(names, graph=live_svg(explanation), pipeline="lead intelligence")
    path = folder / "page.html"
    path.write_text(page({told["run"]: (msgspec.json.encode(told), 0.3)}, nonce="none"))
    return path


def main() -> None:
    """Write both pictures."""
    sys.path.insert(0, str(HERE))
    from draw import write_output

    with tempfile.TemporaryDirectory() as folder, browser(folder) as driver:
        photograph(driver, write_page(Path(folder)), HERE / "page.png", width=1280, height=1080)
        photograph(driver, write_output(Path(folder)), HERE / "notebook.png", width=1000, height=500)


if __name__ == "__main__":
    main()
