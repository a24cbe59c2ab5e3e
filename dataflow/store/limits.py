"""What control planes have counted of long windows such as "50000/day", kept in a catalog.

    <catalog>/_limits/<api>/<plane>.json

One file for each plane and API, written by that plane's drivers only, so that nobody overwrites what another has
counted. A file holds ages and when it was written, since the clock of a plane begins anew with its process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec

from dataflow.store.files import files_at, rooted, translated

SPARE = 1.1
"""Of the longest window in a file, after which nothing in it counts any more and it is removed."""

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_-")

_Number = Annotated[float, msgspec.Meta(ge=0, le=1e12)]
_Row = tuple[Annotated[float, msgspec.Meta(gt=0, le=1e12)], Literal["calls", "tokens"], list[tuple[_Number, _Number]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What one plane has counted for one API.

    Attributes:
        api: The name of the API.
        plane: The id of the plane.
        written: When, in seconds since 1970; ages are from then.
        windows: (period in seconds, unit, [(age in seconds, amount), ...]) of each window.
    """

    api: str
    plane: str
    written: float
    windows: list[_Row]

    def aged(self, now: float) -> list[list[object]]:
        """The windows with the ages of a later time; a file from the future, of a wrong clock, is as old as now."""
        passed = max(0.0, now - self.written)
        rows = [(period, unit, [[age + passed, amount] for age, amount in ages]) for period, unit, ages in self.windows]
        return [[period, unit, [pair for pair in ages if pair[0] <= period * SPARE]] for period, unit, ages in rows]


class CountedFiles:
    """The files of a catalog.

    Args:
        root: The catalog.
        unreadable: Called with a sentence about each file that is not what was written here; it is left alone.
    """

    def __init__(self, root: str, *, unreadable: Callable[[str], object]) -> None:
        self._root = rooted(root)
        self._files = files_at(self._root)
        self._unreadable = unreadable

    def write(self, counted: Counted) -> None:
        """Put what a plane has counted in place of what it wrote before, at once.

        Raises:
            StoreError: The catalog cannot be written.
        """
        folder = self._folder(counted.api)
        with translated(f"{folder}: writing what is counted"):
            self._files.make(folder)
            self._files.write(f"{folder}/{counted.plane}.json", msgspec.json.encode(counted))

    def read(self, api: str, *, besides: str, now: float) -> Iterator[Counted]:
        """What all planes but one have counted for an API; files in which nothing counts any more are removed.

        Raises:
            StoreError: The catalog cannot be read.
        """
        folder = self._folder(api)
        with translated(f"{folder}: reading what is counted"):
            found = [(name, data) for name, data in self._files.read_all(folder) if name.endswith(".json")]
        for name, data in found:
            counted = self._decoded(data, api=api, path=f"{folder}/{name}")
            if counted is None or counted.plane == besides:
                continue
            if any(ages for *_, ages in counted.aged(now)):
                yield counted
            else:
                with translated(f"{folder}/{name}: removing what is too old"):
                    self._files.remove(f"{folder}/{name}")

    def _decoded(self, data: bytes, *, api: str, path: str) -> Counted | None:
        try:
            counted = msgspec.json.decode(data, type=Counted)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            self._unreadable(f"{path} cannot be read and is ignored, so its calls do not count: {error}")
            return None
        return counted if counted.api == api else None

    def _folder(self, api: str) -> str:
        return f"{self._root}/_limits/{_written(api)}"


def _written(api: str) -> str:
    """A name for the folder of an API: no dots, and different where only capitals differ, which some disks ignore."""
    return "".join(one if one in _PLAIN else f"~{ord(one):x}~" for one in api)
