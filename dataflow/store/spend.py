"""What a run may have spent, by purse: one small file in its folder, written before the money is handed out."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from dataflow.errors import StoreError
from dataflow.store.commit import RunFolder
from dataflow.store.files import files_at, translated


class Spend(msgspec.Struct, frozen=True, kw_only=True):
    """The money of one purse over all processes that have driven the run, in millionths.

    Attributes:
        authorised: What may have been spent.
        settled: What is known to have been.
    """

    authorised: int = 0
    settled: int = 0


_decoder = msgspec.json.Decoder(dict[str, Spend])


class SpendFile:
    """The file of one run.

    Args:
        folder: Of the run.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._path = folder.path("spend")
        self._files = files_at(folder.root)

    def read(self) -> dict[str, Spend]:
        """What is written, by purse; nothing where no budget has held yet.

        Raises:
            StoreError: It cannot be read: going on would begin a fresh budget.
        """
        with translated(f"{self._path}: reading what was spent"):
            try:
                return _decoder.decode(self._files.read(self._path))
            except FileNotFoundError:
                return {}
            except msgspec.MsgspecError as error:
                raise StoreError(
                    f"{self._path} is damaged, so nobody knows what this run has spent: {error}; begin a new one with "
                    "--no-resume, its answers are remembered"
                ) from error

    def write(self, purses: Mapping[str, Spend]) -> None:
        """Put this in its place; on return it is on disk.

        Raises:
            StoreError: The catalog cannot be written.
        """
        with translated(f"{self._path}: writing what may be spent"):
            self._files.write(self._path, msgspec.json.encode(dict(purses)))
