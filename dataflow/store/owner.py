"""Who holds a dataset: the value that is written beside it, and the refusal that names it."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from dataflow.errors import OutputLocked


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Who holds a dataset, or has held it last.

    Attributes:
        run: The id of the run.
        epoch: 1 for the first holder of the dataset, one more for each one after it.
        host: Name of the machine.
        pid: Process id on that machine.
        started: When the dataset was taken, as ISO text in UTC.
        expires: Seconds since 1970 when a lease ends; 0 for what was given back; None for a kernel lock.
    """

    run: str
    epoch: int
    host: str
    pid: int
    started: str
    expires: float | None = None

    @classmethod
    def here(cls, run: str, *, epoch: int, expires: float | None = None) -> Owner:
        """This process, from now on."""
        started = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(run=run, epoch=epoch, host=socket.gethostname(), pid=os.getpid(), started=started, expires=expires)

    def to_bytes(self) -> bytes:
        """The owner as one JSON line."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_bytes(cls, data: bytes) -> Owner | None:
        """The owner that was written, or None where the text is not whole."""
        try:
            return cls(**json.loads(data.partition(b"\n")[0]))
        except (ValueError, TypeError):
            return None

    @property
    def is_alive(self) -> bool:
        """Whether this is a running process, as far as this machine can tell."""
        if self.expires == 0 or self.host != socket.gethostname():
            return self.expires != 0
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True


def refusal(folder: str, owner: Owner | None) -> OutputLocked:
    """The error for a run that finds its dataset held."""
    advice = "wait for it to end, or stop it"
    if owner is None:
        return OutputLocked(f"{folder}: another run holds this dataset; {advice}")
    return OutputLocked(
        f"{folder}: run {owner.run} holds this dataset, started {owner.started} by process {owner.pid} on "
        f"{owner.host}; {advice}"
    )
