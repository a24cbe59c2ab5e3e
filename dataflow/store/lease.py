"""A lease on a dataset in an object store, which has no locks of a kernel."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from dataflow.errors import OutputLocked
from dataflow.store.files import files_at
from dataflow.store.owner import Owner, refusal

_LEASE = 60.0
_RENEWED_EVERY = 20.0


class LeaseLock:
    """A lease on a dataset: one object for each epoch, created exclusively, renewed by its owner.

    Since the object of an epoch can be created only once, two runs cannot both take over; since nobody writes to
    the object of another epoch, an owner that was paused and wakes cannot take the dataset back.

    Args:
        folder: The URL of the dataset.
        run: The id of the run that wants it.
        clock: Seconds since 1970; the clocks of the hosts may differ by a few seconds.
        lease: Seconds after which a silent owner has lost it.
        renewed_every: Seconds between two renewals; 0 leaves them to the caller.

    Raises:
        OutputLocked: On entering, while another run holds it.
    """

    def __init__(
        self,
        folder: str,
        *,
        run: str,
        clock: Callable[[], float] = time.time,
        lease: float = _LEASE,
        renewed_every: float = _RENEWED_EVERY,
    ) -> None:
        self._folder = folder
        self._files = files_at(folder)
        self._run = run
        self._clock = clock
        self._lease = lease
        self._renewed_every = renewed_every
        self._ended = threading.Event()
        self._writing = threading.Lock()
        self._lost = False
        self.owner: Owner | None = None

    def __enter__(self) -> LeaseLock:
        latest = self._latest()
        before = self._owner_of(latest)
        if before is not None and (before.expires or 0) > self._clock():
            raise refusal(self._folder, before)
        owner = Owner.here(self._run, epoch=latest + 1, expires=self._clock() + self._lease)
        if not self._files.create(self._path(owner.epoch), owner.to_bytes()):
            raise refusal(self._folder, self._owner_of(owner.epoch))
        self.owner = owner
        self._files.remove(*(self._path(epoch) for epoch in self._epochs() if epoch < latest))
        if self._renewed_every:
            threading.Thread(target=self._keep_renewing, name="dataflow-lease", daemon=True).start()
        return self

    def _path(self, epoch: int) -> str:
        return f"{self._folder}/_lock/{epoch:08d}.json"

    def _epochs(self) -> list[int]:
        return [int(name.partition(".")[0]) for name in self._files.sizes(f"{self._folder}/_lock")]

    def _latest(self) -> int:
        return max(self._epochs(), default=0)

    def _owner_of(self, epoch: int) -> Owner | None:
        with suppress(FileNotFoundError):
            return Owner.from_bytes(self._files.read(self._path(epoch)))
        return None

    def holder(self) -> Owner | None:
        """Who holds the dataset, or has held it last."""
        return self._owner_of(self._latest())

    def _keep_renewing(self) -> None:
        while not self._ended.wait(self._renewed_every):
            # A store that cannot be reached for a moment is asked again; the lease itself says when it is over.
            with suppress(OSError):
                self.renew()

    def renew(self) -> None:
        """Move the end of the lease forward, unless it is over or somebody has taken over."""
        with self._writing:
            owner = self.owner
            if owner is None or self._lost or self._ended.is_set():
                return
            now = self._clock()
            self._lost = (owner.expires or 0) <= now or self._latest() > owner.epoch
            if not self._lost:
                self._publish(replace(owner, expires=now + self._lease))

    def rename(self, run: str) -> None:
        """Hold the dataset for another run, which turned out to be the one that is worked on."""
        with self._writing:
            if self.owner is not None and not self._lost and run != self._run:
                self._run = run
                self._publish(replace(self.owner, run=run))

    def _publish(self, owner: Owner) -> None:
        self._files.write(self._path(owner.epoch), owner.to_bytes())
        self.owner = owner

    def check(self) -> None:
        """Raise OutputLocked where the dataset is no longer held."""
        if self.owner is None or self._lost or (self.owner.expires or 0) <= self._clock():
            raise OutputLocked(
                f"{self._folder}: the lease of run {self._run} is over and another run may hold it; run again to go on"
            )

    def __exit__(self, *_: object) -> None:
        with self._writing:
            self._ended.set()
            if self.owner is not None and not self._lost:
                with suppress(OSError):
                    self._publish(replace(self.owner, expires=0.0))
