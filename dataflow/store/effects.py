"""Notes about calls that may be sent only once, in the folder of a run, where whoever takes it over finds them.

A folder for each partition and service, in it immutable files of JSON lines, one for each group of notes; several are
joined into one as they grow many. What a note means is said in `policies.effects`.

Whoever takes a partition up takes the next turn first, and reads then. Who writes looks afterwards whether the turn
is still its own, and sends nothing where it is not. So of two workers that hold one partition, as after a pause of
the first one, either the later one reads what the earlier one has written, or the earlier one stops.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from dataflow.errors import OutputLocked, StoreError
from dataflow.policies.effects import Note, known
from dataflow.store.commit import RunFolder
from dataflow.store.files import Files, files_at, is_temporary, translated
from dataflow.store.ledger import this_process

JOINED = 64
"""Files that are joined into one, so that those of a partition stay few; a note is written three times at most."""

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Note)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class _Name:
    """The name of a file: whose turn wrote it, and which groups of notes are in it."""

    turn: int
    first: int
    last: int

    @property
    def text(self) -> str:
        return f"{self.turn:06d}-{self.first:06d}-{self.last:06d}.jsonl"

    @classmethod
    def of(cls, text: str) -> _Name:
        turn, first, last = map(int, text.removesuffix(".jsonl").split("-"))
        return cls(turn=turn, first=first, last=last)


class RunEffects:
    """The notes of one partition of a run.

    Args:
        folder: The run.
        identity: Of the partition.
    """

    def __init__(self, folder: RunFolder, identity: str) -> None:
        self._folder = folder
        self._identity = identity

    def log(self, service: str) -> EffectLog:
        """The notes about the calls of one service."""
        path = self._folder.path("effects", self._identity, service)
        return EffectLog(files_at(self._folder.root), path, what=f"run {self._folder.run}, calls of `{service}`")


class EffectLog:
    """The notes about the calls of one service for one partition; for one thread at a time.

    Args:
        files: The operations of the catalog.
        path: The folder.
        what: Whose notes these are, for errors.
    """

    def __init__(self, files: Files, path: str, *, what: str) -> None:
        self._files = files
        self._path = path
        self._what = what
        self._turn = 0
        self._levels: list[tuple[int, _Name]] = []

    def begin(self) -> dict[int, Note]:
        """Take the next turn; what is known by then of each record, by place.

        Raises:
            StoreError: The notes cannot be read, or the turn cannot be written.
        """
        with translated(f"{self._what}: beginning its notes"):
            self._files.make(self._path)
            self._turn = self._newest() + 1
            # Two that take one turn write different texts, which tells an object store who came first.
            while not self._files.create(self._at(self._named(0, 0)), this_process().encode()):
                self._turn += 1
        return self.look()

    def look(self) -> dict[int, Note]:
        """What is known of each record, by place, without taking anything up.

        Raises:
            StoreError: The notes cannot be read.
        """
        with translated(f"{self._what}: reading its notes"):
            read = ((_Name.of(name), data) for name, data in self._files.read_all(self._path))
            found = sorted((name, data) for name, data in read if name.last)
        return known(note for name, data in found for note in self._notes(name, data))

    def write(self, notes: Sequence[Note]) -> None:
        """Make notes durable as one group.

        Raises:
            StoreError: They cannot be written.
            OutputLocked: Somebody else has taken the partition up; nothing may be sent any more.
        """
        with translated(f"{self._what}: noting them"):
            number = 1 + (self._levels[-1][1].last if self._levels else 0)
            self._put(0, self._named(number, number), b"".join(_encoder.encode(note) + b"\n" for note in notes))
            if self._newest() != self._turn:
                raise OutputLocked(
                    f"{self._what}: another worker has taken the partition up; nothing more is sent here"
                )
            self._join_full()

    def close(self) -> None:
        """Leave one file, with all that was written in this turn."""
        with translated(f"{self._what}: joining its notes"):
            if len(self._levels) > 1:
                self._join(self._levels)

    def _join_full(self) -> None:
        """Join the newest files as soon as there are many of one size."""
        while len(tail := self._levels[-JOINED:]) == JOINED and len({level for level, _ in tail}) == 1:
            self._join(tail)

    def _join(self, some: Sequence[tuple[int, _Name]]) -> None:
        level, names = some[0][0], [name for _, name in some]
        data = b"".join(self._files.read(self._at(name)) for name in names)
        del self._levels[-len(names) :]
        self._put(level + 1, self._named(names[0].first, names[-1].last), data)
        self._files.remove(*map(self._at, names))

    def _put(self, level: int, name: _Name, data: bytes) -> None:
        self._files.write(self._at(name), data)
        self._levels.append((level, name))

    def _newest(self) -> int:
        names = (_Name.of(name) for name in self._files.sizes(self._path) if not is_temporary(name))
        return max((name.turn for name in names), default=0)

    def _named(self, first: int, last: int) -> _Name:
        return _Name(turn=self._turn, first=first, last=last)

    def _at(self, name: _Name) -> str:
        return f"{self._path}/{name.text}"

    def _notes(self, name: _Name, data: bytes) -> Iterable[Note]:
        try:
            return _decoder.decode_lines(data)
        except msgspec.DecodeError as error:
            raise StoreError(
                f"{self._what}: {self._at(name)} is damaged, so nobody knows what was sent; restore it, or run again "
                "with --no-resume, which sends everything anew"
            ) from error


def sent_once(folder: RunFolder) -> list[str]:
    """The services of which a run has noted calls that may be made only once."""
    files, place = files_at(folder.root), folder.path("effects")
    return sorted({name for identity in files.folders(place) for name in files.folders(f"{place}/{identity}")})


def copy_effects(earlier: RunFolder, later: RunFolder) -> None:
    """Let a run know what an earlier one has sent; their partitions are the same.

    Raises:
        StoreError: The catalog cannot be written.
    """
    files = files_at(earlier.root)
    with translated(f"run {later.run}: taking over what run {earlier.run} has sent"):
        for identity in files.folders(earlier.path("effects")):
            for service in files.folders(earlier.path("effects", identity)):
                names = ("effects", identity, service)
                files.make(later.path(*names))
                there = [name for name in files.sizes(earlier.path(*names)) if not is_temporary(name)]
                files.copy([(earlier.path(*names, name), later.path(*names, name)) for name in there])
