"""Turns a run into a version: verified, numbered once, placed so that readers see all of it or nothing.

Every step can be repeated after a kill between any two operations. On a file system the version appears by
renaming its folder, after its manifest is in place; on an object store the manifest comes last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec

from dataflow.errors import StoreError
from dataflow.plan.partitions import PartitionSpec
from dataflow.store.dataset import COMMITS, SIDES, Dataset, complete_versions, latest_of, numbers, open_version
from dataflow.store.files import Data, translated
from dataflow.store.ledger import Epoch, Ledger, RunState, this_process, to_json
from dataflow.store.manifest import manifest
from dataflow.store.parts import encode, schema_digest
from dataflow.store.prune import sweep, tidy
from dataflow.store.records import CommitRecord, Counts, pack_records
from dataflow.store.sources.arrays import empty_table
from dataflow.store.tills import read_called
from dataflow.store.writing import FOLDERS, files_of, put_file, totals
from dataflow.telemetry.statistics import Statistics, unbalanced

_NO_PARTITION = "0" * 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """What the publisher of a run says about it.

    Attributes:
        specs: The partitions, in the order of the version; all of the plan, or the committed ones.
        lineage: Where the records come from: plain JSON values.
        duration: Seconds of the whole run.
        created: Now, as ISO text in UTC.
        spent: Calls that no commit record counts, since they were made for keys and not for partitions.
    """

    specs: Sequence[PartitionSpec]
    lineage: Mapping[str, Any]
    duration: float
    created: str
    spent: Statistics = field(default_factory=Statistics)


def publish(ledger: Ledger, publication: Publication) -> Dataset:
    """Publish a run as the next version; calling it again after whatever happened ends in the same one version.

    Raises:
        StoreError: A partition is not committed, a file is missing or has another size, or sums do not add up;
            nothing is published then.
        OutputLocked: The run has gone on without this process, or was abandoned.
    """
    with translated(f"run {ledger.run} of {ledger.dataset}: publishing"):
        latest = ledger.at(ledger.latest_epoch())
        state = latest.read_epoch() if latest.epoch else None
        if state is not None and state.state is RunState.PUBLISHED and state.version is not None:
            return _finished(ledger, state.version)
        ledger.require_current()
        before = placed(ledger)
        version = _place(ledger, publication) if before is None or before.version is None else before.version
        _point(ledger)
        ledger.enter(
            Epoch(
                state=RunState.PUBLISHED,
                started=publication.created,
                by=this_process(),
                version=version,
                committed=len(publication.specs),
            )
        )
        return _finished(ledger, version)


def _finished(ledger: Ledger, version: int) -> Dataset:
    """The version, after everything was removed that only the run needed."""
    tidy(ledger.files, ledger.path())
    sweep(ledger.files, ledger.home, f"{ledger.home}/_meta/v{version}")
    return open_version(ledger.files, ledger.home, version)


def _place(ledger: Ledger, publication: Publication) -> int:
    """The number of the version, which is complete on return but for the pointers to it."""
    records = _verified(ledger, publication.specs)
    total = totals(records)
    if faults := unbalanced(total, output=sum(r.rows for r in records), rejects=sum(r.rejected for r in records)):
        raise StoreError(f"run {ledger.run}: {'; '.join(faults)}; nothing was published, please report this")
    version, limit = _claimed(ledger), ledger.json("plan.json").get("limit")
    texts = {
        "statistics.json": to_json(_bill(ledger, total, publication).report(publication.duration)),
        COMMITS: pack_records(records),
        "dataset.json": manifest(
            ledger.head(),
            records,
            version=version,
            created=publication.created,
            lineage=publication.lineage,
            limit=limit,
            whole=limit is None and not total.not_attempted_records,
        ),
    }
    _place_files(ledger, version, records, texts)
    return version


def _bill(ledger: Ledger, total: Statistics, publication: Publication) -> Statistics:
    called = read_called(ledger)
    known = Statistics.merged([total, publication.spent])
    return known.billed(called.services, currency=called.currency)


def _place_files(ledger: Ledger, version: int, records: Sequence[CommitRecord], texts: Mapping[str, Data]) -> None:
    files, meta = ledger.files, f"{ledger.home}/_meta/v{version}"
    files.remove(*(f"{meta}/{kind}" for kind in SIDES))
    files.make(*(f"{meta}/{kind}" for kind in SIDES))
    found = [(kind, file.name) for record in records for kind, file in files_of(record)]
    files.copy([(ledger.path(kind, name), f"{meta}/{kind}/{name}") for kind, name in found if kind in SIDES])
    parts = [(ledger.path("parts", name), name) for kind, name in found if kind == "parts"]
    *first, last = texts
    for name in first:
        files.write(f"{meta}/{name}", texts[name])
    files.place(
        parts,
        folder=f"{ledger.home}/v{version}",
        staging=ledger.path("version"),
        manifest=(f"{meta}/{last}", texts[last]),
    )


def _verified(ledger: Ledger, specs: Sequence[PartitionSpec]) -> list[CommitRecord]:
    """The records of all specs, their files compared with what is on disk; an empty part where there are none."""
    twice = [identity for identity, count in Counter(spec.identity for spec in specs).items() if count > 1]
    if twice:
        raise StoreError(f"run {ledger.run}: {len(twice)} partitions are in the plan twice; is a file listed twice?")
    committed = ledger.committed()
    missing = [spec.index for spec in specs if spec.identity not in committed]
    if missing:
        raise StoreError(
            f"run {ledger.run}: {len(missing):,} of {len(specs):,} partitions are not committed, the first is "
            f"{missing[0]}; run again to go on"
        )
    records = [committed[spec.identity] for spec in specs]
    _require_files(ledger, records)
    return records or [_empty(ledger)]


def _require_files(ledger: Ledger, records: Sequence[CommitRecord]) -> None:
    present = {kind: ledger.files.sizes(ledger.path(kind)) for kind in FOLDERS}
    for record in records:
        for kind, file in files_of(record):
            size = present[kind].get(file.name)
            if size != file.bytes:
                found = "is missing" if size is None else f"has {size:,} bytes instead of {file.bytes:,}"
                raise StoreError(
                    f"{ledger.path(kind, file.name)}: {found}; remove {ledger.record_path(record.identity)} "
                    "and run again to do this partition anew"
                )


def _empty(ledger: Ledger) -> CommitRecord:
    """A part without rows, so that readers of the folder find the columns; it has no commit record on disk."""
    schema = ledger.schemas.output
    spec = PartitionSpec(index=0, path="", fingerprint="", start=0, stop=0, identity=_NO_PARTITION)
    part = put_file(ledger, spec, "parts", encode(empty_table(schema)), rows=0)
    return CommitRecord(
        identity=spec.identity,
        index=0,
        epoch=ledger.epoch,
        schema=schema_digest(schema),
        part=part,
        rejects=None,
        failures=None,
        counts=Counts({}),
    )


def _claimed(ledger: Ledger) -> int:
    """The number of the version, chosen once: the claim of a number is created exclusively."""
    files, home = ledger.files, ledger.home
    intended = _intended(ledger)
    version = intended or 1 + max(numbers([*files.folders(home), *files.folders(f"{home}/_meta")]), default=0)
    claim = to_json({"run": ledger.run})
    while True:
        files.write(ledger.path("intent.json"), to_json({"version": version}))
        files.make(f"{home}/_meta/v{version}")
        path = f"{home}/_meta/v{version}/run.json"
        if files.create(path, claim) or files.read(path) == claim:
            return version
        version += 1


def _intended(ledger: Ledger) -> int | None:
    with suppress(FileNotFoundError):
        return int(msgspec.json.decode(ledger.files.read(ledger.path("intent.json")))["version"])
    return None


def placed(ledger: Ledger) -> Dataset | None:
    """The version that this run has placed before it was killed, or None."""
    version = _intended(ledger)
    if version is None or version not in complete_versions(ledger.files, ledger.home):
        return None
    found = open_version(ledger.files, ledger.home, version)
    return found if found.manifest["run"] == ledger.run else None


def _point(ledger: Ledger) -> None:
    """Let `latest` and `LATEST` name the version that a bare name opens, whoever has published it."""
    versions = complete_versions(ledger.files, ledger.home)
    latest = f"v{latest_of(ledger.files, ledger.home, versions=versions)}"
    ledger.files.point(f"{ledger.home}/latest", latest)
    ledger.files.write(f"{ledger.home}/LATEST", f"{latest}\n".encode())
