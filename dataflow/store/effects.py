"""Notes about calls that may be sent only once, as a run makes them, where whoever takes it over finds them.

A folder for each service, run, epoch and partition, in it immutable files of JSON lines, one for each group of notes;
several are joined into one as they grow many. What a note means is said in `policies.effects`, and what becomes of
the notes of an epoch that is over in `sent`.

Whoever takes a partition up takes the next turn first, and reads then. Who writes looks afterwards whether the turn
is still its own and the epoch the newest, and sends nothing where it is not so. So of two workers that hold one
partition, as after a pause of the first one, either the later one reads what the earlier one has written, or the
earlier one stops; and of two runs, or two starts of one, likewise.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from dataflow.errors import OutputLocked
from dataflow.policies.effects import Note, Subject, known
from dataflow.store.commit import RunFolder
from dataflow.store.files import Files, files_at, is_temporary, translated
from dataflow.store.ledger import this_process
from dataflow.store.sent import Sent, epoch_name, notes_of, to_lines

JOINED = 64
"""Files that are joined into one, so that those of a partition stay few; a note is written three times at most."""


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
        key: The columns that name a record.
        apart: Whether nothing of it is sent, as in a block of `flow.testing.offline`.

    Attributes:
        key: The columns that name a record.
    """

    def __init__(self, folder: RunFolder, identity: str, *, key: tuple[str, ...] = (), apart: bool = False) -> None:
        self._folder = folder
        self._identity = identity
        self._apart = apart
        self.key = key

    def log(self, service: str) -> EffectLog:
        """The notes about the calls of one service."""
        folder = self._folder
        sent = Sent(folder.root, folder.dataset, service, apart=self._apart)
        return EffectLog(
            files_at(folder.root),
            sent.path("runs", folder.run, epoch_name(folder.epoch), self._identity),
            what=f"run {folder.run}, calls of `{service}`",
            earlier=sent.of,
            is_current=lambda: folder.is_current,
        )


class EffectLog:
    """The notes about the calls of one service for one partition; for one thread at a time.

    Args:
        files: The operations of the catalog.
        path: The folder.
        what: Whose notes these are, for errors.
        earlier: Gives what was noted of records before, each note of an effect of its own.
        is_current: Whether nobody has gone on with the run since, or with its output.
    """

    def __init__(
        self,
        files: Files,
        path: str,
        *,
        what: str,
        earlier: Callable[[Collection[str]], Sequence[Note]],
        is_current: Callable[[], bool],
    ) -> None:
        self._files = files
        self._path = path
        self._what = what
        self._earlier = earlier
        self._is_current = is_current
        self._turn = 0
        self._levels: list[tuple[int, _Name]] = []

    def begin(self, records: Collection[str]) -> list[Note]:
        """Take the next turn; what is known by then of these records, each note of an effect of its own.

        Raises:
            StoreError: The notes cannot be read, or the turn cannot be written.
            OutputLocked: The run has gone on without this worker, or is over.
        """
        with translated(f"{self._what}: beginning its notes"):
            self._files.make(self._path)
            self._turn = self._newest() + 1
            # Two that take one turn write different texts, which tells an object store who came first.
            while not self._files.create(self._at(self._named(0, 0)), this_process().encode()):
                self._turn += 1
            # Whoever gathers the notes of the epoch either sees that this turn was taken, or is seen here.
            if not self._is_current():
                raise OutputLocked(f"{self._what}: the run has gone on without this worker; nothing is sent here")
        return [*self._earlier(records), *self.look().values()]

    def look(self) -> dict[Subject, Note]:
        """What is known of each effect of the partition in this epoch, without taking anything up.

        Raises:
            StoreError: The notes cannot be read.
        """
        with translated(f"{self._what}: reading its notes"):
            return known(notes_of(self._files, self._path))

    def write(self, notes: Sequence[Note]) -> None:
        """Make notes durable as one group.

        Raises:
            StoreError: They cannot be written.
            OutputLocked: Somebody else has taken the partition up; nothing may be sent any more.
        """
        with translated(f"{self._what}: noting them"):
            number = 1 + (self._levels[-1][1].last if self._levels else 0)
            self._put(0, self._named(number, number), to_lines(notes))
            if self._newest() != self._turn or not self._is_current():
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
