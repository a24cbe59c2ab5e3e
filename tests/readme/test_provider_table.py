"""The README's table "what your provider does, what you write" is run row by row, as it stands there."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import dataflow as flow

sys.path.insert(0, str(Path(__file__).parents[2] / "jobs"))
sys.path.insert(0, str(Path(__file__).parent))

from provider.serve import Running, serve
from provider_play import play
from provider_rows import ROWS

README = Path(__file__).parents[2] / "README.md"
HEADER = "| what your provider does | what you write |"
_CODE = re.compile(r"`([^`]+)`")


def table() -> list[tuple[str, str]]:
    """The rows of the table, in their order."""
    lines = iter(README.read_text(encoding="utf-8").splitlines())
    for line in lines:
        if line == HEADER:
            break
    assert set(next(lines)) == set("|-"), "the table stands in the README under its header"
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        does, write = (cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1])
        rows.append((does, write.replace("\\|", "|")))
    return rows


def written(write: str) -> list[str]:
    """Every code of the second column; an empty one for what needs nothing, which is tried too."""
    return [""] * write.startswith("nothing") + _CODE.findall(write)


EACH = [(does, code) for does, write in table() for code in written(write)]
NEEDED = [does for does, write in table() if "" not in written(write)]


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with serve(unknown=0, secret="key-of-acme") as server:
        yield server


@pytest.fixture
def server(running: Running, monkeypatch: pytest.MonkeyPatch) -> Running:
    monkeypatch.setenv("ACME_USER", "demo")
    monkeypatch.setenv("ACME_KEY", "key-of-acme")
    running.control(restore=True, keys=dict.fromkeys(running.control().get("keys", {})))
    return running


def test_every_row_has_a_scenario_and_code_or_says_that_nothing_is_needed_and_every_scenario_has_a_row() -> None:
    rows = table()
    assert sorted(does for does, _ in rows) == sorted(ROWS)
    assert [does for does, write in rows if not written(write)] == []


@pytest.mark.parametrize(("does", "code"), EACH, ids=[f"{does}: {code or 'nothing'}" for does, code in EACH])
def test_what_is_written_for_a_provider_copes_with_it(does: str, code: str, server: Running, tmp_path: Path) -> None:
    play(ROWS[does], code, server=server, home=tmp_path)


@pytest.mark.parametrize("does", NEEDED)
def test_without_what_is_written_something_else_comes_of_it(does: str, server: Running, tmp_path: Path) -> None:
    with pytest.raises((AssertionError, flow.DataflowError)):
        play(ROWS[does], "", server=server, home=tmp_path)
