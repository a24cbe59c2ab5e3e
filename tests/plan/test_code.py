"""Which edits are seen, and which are none."""

from __future__ import annotations

import os
import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest

from dataflow.plan.code import code_digest, look
from tests.plan.edits import INVENTED, NAMED, PACKAGES

ALL = NAMED | INVENTED


def loaded(name: str, text: str, *, package: str = "") -> ModuleType:
    """A module of this text, as an import would leave it."""
    made = ModuleType(name)
    made.__package__ = package
    sys.modules[name] = made
    exec(compile(text, f"{name}.py", "exec", dont_inherit=True), vars(made))
    return made


def service_of(text: str, *, edited: bool = False) -> Any:
    """What a module of this text calls `service`, with the modules that it imports."""

    def edit(one: str) -> str:
        return one.replace("'A'", "'B'", 1) if edited else one

    for name, one in PACKAGES.items():
        module = loaded(name, one.replace("'A'", "'B'") if edited else one)
        above, _, own = name.rpartition(".")
        if above:
            setattr(sys.modules[above], own, module)
    sys.modules["edited_package"].__path__ = []  # type: ignore[attr-defined]
    return vars(loaded("edited_job", edit(text)))["service"]


@pytest.fixture(autouse=True)
def nothing_stays() -> Any:
    before = set(sys.modules)
    yield
    for name in [one for one in sys.modules if one.startswith("edited_") and one not in before]:
        del sys.modules[name]


@pytest.mark.parametrize("text", ALL.values(), ids=ALL)
def test_an_edit_is_seen_and_the_same_text_is_no_edit(text: str) -> None:
    before = code_digest(service_of(text))
    assert code_digest(service_of(text)) == before
    assert code_digest(service_of(text, edited=True)) != before


@pytest.mark.parametrize("text", ALL.values(), ids=ALL)
def test_nothing_of_these_is_unseen(text: str) -> None:
    assert look(service_of(text)).unseen == ()


def everything() -> str:
    return "\n".join(
        f"{name}: {look(service_of(text)).shared} {code_digest(service_of(text))}" for name, text in ALL.items()
    )


@pytest.mark.slow
@pytest.mark.parametrize("seed", ["1", "2"])
def test_another_process_sees_the_same(seed: str) -> None:
    text = "from tests.plan.test_code import everything; print(everything())"
    done = subprocess.run(
        [sys.executable, "-c", text],
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip().splitlines() == everything().splitlines()
