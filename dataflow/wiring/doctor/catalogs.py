"""Whether a catalog can be used, and what is left in it."""

from __future__ import annotations

from collections.abc import Sequence

from dataflow.store.catalog import Catalog, RunRecord
from dataflow.store.filesystem import shown
from dataflow.store.ledger import RunState
from dataflow.store.probing import Probe, probe
from dataflow.wiring.doctor.clusters import LITTLE
from dataflow.wiring.doctor.findings import Finding, ok, problem, room, warning

_SUBJECT = "catalog"


def look_at_catalog(root: str) -> list[Finding]:
    """Read what is there, and write and remove a file.

    Raises:
        StoreError: It cannot be written.
    """
    catalog = Catalog(root)
    return [*judge_place(catalog.root, probe(catalog.root)), *judge_runs(catalog.runs())]


def judge_place(root: str, found: Probe) -> list[Finding]:
    """What the place of a catalog allows."""
    where = shown(root)
    if not found.locks or not found.links:
        lacking = " and ".join(
            one for one, is_there in (("locks", found.locks), ("links", found.links)) if not is_there
        )
        advice = "choose a --catalog on another file system, since two runs would not notice each other"
        return [problem(_SUBJECT, f"the file system of {where} has no {lacking} that hold", advice=advice)]
    state = "can be read and written" if found.folder == root else f"is not there yet and can be made in {found.folder}"
    findings = [ok(_SUBJECT, f"{where} {state}")]
    if not found.pointers:
        fact = f"the file system of {where} has no symbolic links"
        findings.append(warning(_SUBJECT, fact, advice="read versions by their number, there will be no `latest`"))
    if found.free is not None:
        fact = f"{room(found.free)} free for {where}"
        small = found.free < LITTLE
        findings.append(warning("disk", fact, advice="make room before a run") if small else ok("disk", fact))
    return findings


def judge_runs(runs: Sequence[RunRecord]) -> list[Finding]:
    """What has not come to its end."""
    left = [one for one in runs if one.state in (RunState.UNFINISHED, RunState.STOPPED)]
    if not left:
        return [ok("runs", "none is unfinished")]
    newest = f"the newest is {left[0].id} of {left[0].dataset}"
    advice = "the command of a run goes on with it, `dataflow publish RUN` makes a version of it as it is"
    return [ok("runs", f"{len(left)} unfinished, {newest}", advice=advice)]
