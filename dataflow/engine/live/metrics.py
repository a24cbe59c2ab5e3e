"""placeholder"""

from typing import Any


def watch_boards(plugin: Any) -> None:
    """Nothing."""


def leave_boards(plugin: Any) -> None:
    """Nothing."""
