"""What a run shows of itself in its folder: its board, its log, what ended it, and whether somebody wants it stopped.

None of it counts for what is published; it appears whole, and may lag behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

import msgspec

from dataflow.errors import DataflowError
from dataflow.store.commit import RunFolder
from dataflow.store.files import files_at, translated
from dataflow.store.filesystem import is_remote

_BOARD, _LOG, _CANCEL, _SAID = "live.json", "log", "cancel", "said.json"


def is_slow(folder: RunFolder) -> bool:
    """Whether each look at the folder costs a request, so that it is looked at less often."""
    return is_remote(folder.root)


def keep_board(folder: RunFolder, board: bytes) -> None:
    """Show a board; OSError where that cannot be written."""
    files_at(folder.root).show(folder.path(_BOARD), board)


def read_board(folder: RunFolder) -> bytes | None:
    """The board that was shown last, or None."""
    with translated(f"run {folder.run}: reading its board"), suppress(FileNotFoundError):
        return files_at(folder.root).read(folder.path(_BOARD))
    return None


def keep_lines(folder: RunFolder, lines: Iterable[str]) -> None:
    """Keep the log of the stretch under which the folder is held, as far as it has come; OSError as for a board."""
    files = files_at(folder.root)
    files.make(folder.path(_LOG))
    files.show(folder.path(_LOG, f"{folder.epoch:05d}.jsonl"), "".join(f"{line}\n" for line in lines).encode())


def read_lines(folder: RunFolder) -> Sequence[str]:
    """The log of all stretches of a run, oldest first."""
    with translated(f"run {folder.run}: reading its log"):
        found = dict(files_at(folder.root).read_all(folder.path(_LOG)))
    return [line for name in sorted(found) for line in found[name].decode().splitlines()]


def keep_said(folder: RunFolder, error: DataflowError) -> None:
    """Keep what somebody said about an error that ends the run: it does not travel with the error."""
    if error.said:
        # Only the owner of the run misses it.
        with suppress(OSError):
            files_at(folder.root).show(folder.path(_SAID), msgspec.json.encode([error.plain, error.said]))


def read_said(folder: RunFolder, error: DataflowError) -> str:
    """What was kept about an error, or nothing."""
    try:
        plain, said = msgspec.json.decode(files_at(folder.root).read(folder.path(_SAID)), type=tuple[str, str])
    except (OSError, msgspec.MsgspecError):
        return ""
    return said if plain == error.plain else ""


def ask_to_stop(folder: RunFolder) -> None:
    """Let whoever holds the folder at this epoch know that the run shall stop."""
    with translated(f"run {folder.run}: asking it to stop"):
        files_at(folder.root).write(folder.path(f"{_CANCEL}-{folder.epoch:05d}"), b"")


def is_asked_to_stop(folder: RunFolder) -> bool:
    """Whether somebody wants the run stopped that is held at this epoch."""
    try:
        files_at(folder.root).read(folder.path(f"{_CANCEL}-{folder.epoch:05d}"))
    except OSError:
        return False
    return True
