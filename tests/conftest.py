"""What holds for all tests: Ctrl-C reaches them also in the background, and no answer of another test serves them."""

from __future__ import annotations

import signal

import pytest


def pytest_configure() -> None:
    """A shell starts what runs in its background without SIGINT, and children inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def own_index(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test begins with an index of answers of its own, also in the processes that it starts."""
    monkeypatch.setenv("DATAFLOW_JOURNAL", str(tmp_path_factory.mktemp("index")))
