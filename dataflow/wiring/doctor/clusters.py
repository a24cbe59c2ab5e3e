"""What may be wrong with a cluster: its size, who can reach it, its clocks and its disks. Pure: nothing is asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dataflow.wiring.doctor.findings import Finding, ok, problem, room, some, warning
from dataflow.wiring.secrets import CLOSED, danger_of, is_private

if TYPE_CHECKING:
    from dataflow.engine.inspection import Place

SKEW = 1.0
"""Seconds by which clocks may differ: windows of a day are counted by the clock, and a second moves little in them."""
LITTLE = 2 * 10**9
"""Bytes under which a disk is called small: a few partitions with their results, and what Dask spills of them."""


def judge_size(address: str, workers: Mapping[str, Mapping[str, Any]]) -> list[Finding]:
    """How much there is to work with."""
    if not workers:
        fact = f"the scheduler at {address} answers, and no worker has joined it"
        return [warning("cluster", fact, advice="start workers, a run waits for the first one")]
    threads = sum(one["nthreads"] for one in workers.values())
    limits = [one.get("memory_limit") or 0 for one in workers.values()]
    memory = f"{room(sum(limits))} of memory" if all(limits) else "memory without a limit"
    counted = f"{len(workers)} worker{'s' * (len(workers) != 1)}, {threads} thread{'s' * (threads != 1)}"
    return [ok("cluster", f"the scheduler at {address} answers: {counted}, {memory}")]


def judge_openness(address: str, *, scheduler: Place, workers: Mapping[str, Place]) -> list[Finding]:
    """Whether somebody else can reach what runs code for whoever asks.

    Args:
        address: The scheduler's, as others connect to it.
        scheduler: What it says of itself.
        workers: What they say of themselves, by address.
    """
    open_workers = [worker for worker, place in workers.items() if _exposed(place)]
    dangers = []
    if _exposed(scheduler):
        dangers.append(danger_of(_exposed(scheduler)[0] if is_private(address) else address))
    if open_workers:
        listening = _exposed(workers[open_workers[0]])[0]
        dangers.append(danger_of(listening, what=f"worker {some(open_workers)}"))
    found = [warning("connections", danger, advice=CLOSED) for danger in dangers if danger is not None]
    return found or [ok("connections", _closed(scheduler))]


def _exposed(place: Place) -> list[str]:
    return [one for one in place.listening if not is_private(one)]


def _closed(scheduler: Place) -> str:
    encrypted = all(one.startswith(("tls://", "wss://")) for one in scheduler.listening)
    return "encrypted with TLS" if encrypted else "of this machine only, without TLS"


def judge_clocks(places: Mapping[str, Place]) -> list[Finding]:
    """Whether the clocks of a cluster agree with the one here, as far as a round trip tells.

    Args:
        places: What processes say of themselves, by their names for a person.
    """
    apart = {name: offset(place) for name, place in places.items()}
    wrong = {name: by for name, (by, unsure) in apart.items() if abs(by) - unsure > SKEW}
    if not wrong:
        most = max((abs(by) + unsure for by, unsure in apart.values()), default=0.0)
        return [ok("clocks", f"agree with the one here within {most:.2g} s")]
    name = max(wrong, key=lambda one: abs(wrong[one]))
    fact = f"that of {name} is {abs(wrong[name]):.1f} s {'ahead of' if wrong[name] > 0 else 'behind'} the one here"
    more = f", and {len(wrong) - 1} more differ" if len(wrong) > 1 else ""
    return [
        warning(
            "clocks", fact + more, advice="set them with NTP: limits of a day and the age of answers go by the clock"
        )
    ]


def offset(place: Place) -> tuple[float, float]:
    """By how many seconds a clock is ahead of the one here, and how far that may be wrong: half of the round trip."""
    half = (place.answered - place.asked) / 2
    return place.clock - (place.asked + half), half


def judge_disks(workers: Mapping[str, Place]) -> list[Finding]:
    """Whether there is room where the workers keep their files."""
    if not workers:
        return []
    small = sorted((place.free, worker) for worker, place in workers.items())
    free, worker = small[0]
    fact = f"{room(free)} free for worker {worker} in {workers[worker].folder}"
    if free >= LITTLE:
        return [ok("worker disks", fact if len(workers) == 1 else f"{fact}, the least of all")]
    return [warning("worker disks", fact, advice="make room, or start workers with another --local-directory")]


def judge_sight(missing: Mapping[str, list[str]]) -> list[Finding]:
    """Whether the workers see what the run reads and writes.

    Args:
        missing: By worker the paths that are not there.
    """
    blind = [worker for worker, paths in missing.items() if paths]
    if not blind:
        return []
    fact = f"worker {some(blind)} does not see {', '.join(missing[blind[0]])}"
    return [problem("shared folders", fact, advice="put catalog and source where all workers reach them")]
