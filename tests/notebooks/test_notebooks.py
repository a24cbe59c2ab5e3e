"""The notebooks run from their first cell to the last, show what they promise, and are committed without outputs."""

from __future__ import annotations

import asyncio
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

nbclient = pytest.importorskip("nbclient", reason="nothing that executes notebooks is installed")
nbformat = pytest.importorskip("nbformat", reason="nothing that reads notebooks is installed")
pytest.importorskip("ipykernel", reason="no notebook kernel is installed")

HOME = Path(__file__).parents[2]
NOTEBOOKS = sorted((HOME / "notebooks").glob("*.ipynb"))

SECONDS = 240
"""For one cell, on a machine that others use too; a notebook takes less than 30 where nobody does."""

TOLD = {
    "01_quick_tour": [
        ("email_syntax", "record form"),
        ("pipeline", "level 1</text>"),
        ("pipeline.call", "Ada Lovelace"),
        ("pipeline.sample", "changed by a service"),
        ("job = flow.Job", "published by run"),
        ("job = flow.Job", "valid 9,"),
        ("leads = flow.open", "the first records:"),
        ("leads.rejects", "a test of the form"),
        ("flow.why", "in the output"),
    ],
    "02_calling_apis": [
        ("acme = flow.API", "200/s"),
        ("company = acme.get", "employees int | None"),
        ("async def headlines", "level 1</text>"),
        ("run = job.run", "published by run"),
        ("times = sorted", "in the busiest three seconds"),
        ("told = run.statistics", "'HTTP 500'"),
        ("failures = run.failures", "falcon-energy.example"),
        ("flow.why", "failed, HTTP 500, 3 attempts"),
        ("again = job.run", " new calls for 5,000 records"),
    ],
    "03_quotes_budgets_repair": [
        ("job = flow.Job", "level 1</text>"),
        ("job.quote(catalog", "the budget of 8.00 ends after about"),
        ("job.quote(sample", "all of them for the sample"),
        ("except flow.errors.LimitReached", "the budget of USD 8.00 is used up"),
        ("stopped.publish", "not attempted"),
        ("budget=20", "leads-enriched@v2"),
        ("whole.repair", "calls have mended them"),
        ("for version in", "leads-enriched@v3"),
    ],
    "04_cluster_and_dashboard": [
        ("cluster = LocalCluster", "workers=2"),
        ("run.dashboard()", 'data-panel="services"'),
        ("run.dashboard()", "tcp://127.0.0.1"),
        ("run.page", "/dataflow"),
        ("for api in told", "of 40/s"),
        ("run.stop()", "run the same command again to go on"),
        ("whole = job.run", "published by run"),
        ("busiest", "120 are allowed"),
        ("whole.dashboard()", "Published after"),
    ],
}
"""For each notebook: what a cell holds, and what its output has to hold."""


def named(path: Path) -> str:
    return path.stem


@pytest.fixture
def kernels_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a kernel and its cells leave behind is left in the test's own folder."""
    for variable in ("TMPDIR", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR"):
        folder = tmp_path / variable.lower()
        folder.mkdir()
        monkeypatch.setenv(variable, str(folder))


def executed(path: Path, *, folder: Path) -> Any:
    """A notebook after all its cells, run in a folder.

    Raises:
        CellExecutionError: A cell has raised.
    """
    notebook = nbformat.read(path, nbformat.NO_CONVERT)
    client = nbclient.NotebookClient(
        notebook, timeout=SECONDS, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    asyncio.run(client.async_execute())
    return notebook


def shown(cell: Any) -> str:
    """All that a cell has shown, as markup and as text."""
    texts = [output.get("text", "") for output in cell.outputs]
    return "\n".join([*texts, *(str(one) for output in cell.outputs for one in output.get("data", {}).values())])


@pytest.mark.slow
@pytest.mark.usefixtures("kernels_home")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=named)
def test_a_notebook_shows_what_it_promises(path: Path) -> None:
    cells = [cell for cell in executed(path, folder=path.parent).cells if cell.cell_type == "code"]
    for source, told in TOLD[path.stem]:
        found = [shown(cell) for cell in cells if source in cell.source]
        assert any(told in one for one in found), f"{source!r} does not show {told!r}: {found}"


@pytest.mark.slow
@pytest.mark.usefixtures("kernels_home")
def test_a_notebook_runs_from_the_root_of_the_repository_too() -> None:
    executed(NOTEBOOKS[0], folder=HOME)


@pytest.mark.slow
@pytest.mark.usefixtures("kernels_home")
def test_what_a_notebook_shows_can_be_photographed(tmp_path: Path) -> None:
    drawing = runpy.run_path(str(HOME / ".readme" / "draw.py"))
    page = drawing["write_output"](tmp_path).read_text()
    assert "pipeline = flow.Pipeline(" in page
    assert page.count("<svg") == 1


def test_every_notebook_is_looked_at() -> None:
    assert {path.stem for path in NOTEBOOKS} == set(TOLD)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=named)
def test_a_notebook_is_committed_without_outputs(path: Path) -> None:
    for cell in nbformat.read(path, nbformat.NO_CONVERT).cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
        assert not cell.metadata


@pytest.mark.parametrize("path", NOTEBOOKS, ids=named)
def test_a_notebook_knows_no_machine(path: Path) -> None:
    notebook = nbformat.read(path, nbformat.NO_CONVERT)
    assert set(notebook.metadata) <= {"kernelspec", "language_info"}
    assert notebook.metadata.kernelspec.name == "python3"
    assert not re.search(r"(/home|/root|/Users|/tmp|/work|[A-Z]:\\\\)", path.read_text())
