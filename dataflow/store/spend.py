"""What a run may have spent, by purse: one small file in its folder, written before the money is handed out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import msgspec

from dataflow.errors import StoreError
from dataflow.policies.money import UNIT, figure, trillionths
from dataflow.store.commit import RunFolder
from dataflow.store.files import files_at, translated


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """The money of one purse over all processes that have driven the run, in trillionths.

    Attributes:
        authorised: What may have been spent.
        settled: What is known to have been.
    """

    authorised: int = 0
    settled: int = 0


class _Line(msgspec.Struct, frozen=True, kw_only=True):
    """A `Spend` in its file: amounts of the currency as text, or millionths of it, as older versions wrote them."""

    authorised: str | int = 0
    settled: str | int = 0


_decoder = msgspec.json.Decoder(dict[str, _Line])
_OLD = UNIT // 10**6


def _read(line: _Line) -> Spend:
    return Spend(authorised=_amount(line.authorised), settled=_amount(line.settled))


def _amount(written: str | int) -> int:
    return trillionths(Decimal(written)) if isinstance(written, str) else written * _OLD


def _line(spend: Spend) -> _Line:
    return _Line(authorised=_text(spend.authorised), settled=_text(spend.settled))


def _text(amount: int) -> str:
    return figure(amount).replace(",", "")


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
                lines = _decoder.decode(self._files.read(self._path))
                return {name: _read(line) for name, line in lines.items()}
            except FileNotFoundError:
                return {}
            except (msgspec.MsgspecError, ArithmeticError, ValueError) as error:
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
            self._files.write(self._path, msgspec.json.encode({name: _line(spend) for name, spend in purses.items()}))
