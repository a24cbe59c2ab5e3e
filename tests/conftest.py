"""What holds for all tests: Ctrl-C reaches them, and what they start, also where they run in the background."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """A shell starts what runs in its background without SIGINT, and children inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
