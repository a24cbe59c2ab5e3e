"""Carries partitions over from the last version of a dataset instead of doing them again."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from dataflow.plan.partitions import PartitionSpec
from dataflow.store.files import Pair, translated
from dataflow.store.ledger import Ledger
from dataflow.store.parts import PartFile, schema_digest
from dataflow.store.records import CommitRecord, Counts
from dataflow.store.writing import file_name, files_of, write_record


def carry_over(
    ledger: Ledger,
    specs: Iterable[PartitionSpec],
    *,
    records: Mapping[str, CommitRecord],
    folders: Mapping[str, str],
    version: int | None,
    asked: Collection[str] = (),
    as_it_is: bool = False,
) -> dict[str, CommitRecord]:
    """Commit those partitions that an earlier version holds unchanged; their files are linked, or copied by the store.

    Args:
        ledger: The run, which has the same plan as the earlier version but for its source.
        specs: The partitions that are not committed yet.
        records: The commit records of the earlier version by identity.
        folders: Where its parts, rejects and failures are.
        version: Its number.
        asked: The services that have an API, whose answers count as cached from now on.
        as_it_is: Whether partitions are carried over too where something was not attempted.

    Returns:
        The new records by identity; partitions that changed or whose files are gone are not among them.
    """
    schema = schema_digest(ledger.schemas.output)
    present = {kind: ledger.files.sizes(folder) for kind, folder in folders.items()}
    with translated(f"run {ledger.run}: carrying partitions over"):
        taken = [pair for pair in _unchanged(specs, records, present, as_it_is) if pair[1].schema == schema]
        place = {"epoch": ledger.epoch, "taken_from": version}
        moved = [_moved(record, index=spec.index, asked=asked, **place) for spec, record in taken]
        pairs = [pair for (_, old), new in zip(taken, moved, strict=True) for pair in _pairs(ledger, old, new, folders)]
        ledger.files.copy(pairs)
        return {record.identity: write_record(ledger, record) for record in moved}


def _unchanged(
    specs: Iterable[PartitionSpec],
    records: Mapping[str, CommitRecord],
    present: Mapping[str, Mapping[str, int]],
    as_it_is: bool,
) -> Iterator[tuple[PartitionSpec, CommitRecord]]:
    for spec in specs:
        record = records.get(spec.identity)
        if (
            record is not None
            and (as_it_is or not record.counts.not_attempted)
            and all(present[kind].get(file.name) == file.bytes for kind, file in files_of(record))
        ):
            yield spec, record


def _moved(record: CommitRecord, *, index: int, asked: Collection[str], **place: Any) -> CommitRecord:
    """The record at another place of another plan, for a run that did none of the work."""

    def renamed(file: PartFile) -> PartFile:
        return replace(file, name=file_name(index, record.identity, file.checksum))

    return replace(
        record,
        index=index,
        **place,
        counts=Counts(record.counts.statistics.as_taken_over(asked).to_dict()),
        part=renamed(record.part),
        rejects=record.rejects and renamed(record.rejects),
        failures=record.failures and renamed(record.failures),
    )


def _pairs(ledger: Ledger, old: CommitRecord, new: CommitRecord, folders: Mapping[str, str]) -> Iterator[Pair]:
    for (kind, source), (_, target) in zip(files_of(old), files_of(new), strict=True):
        yield f"{folders[kind]}/{source.name}", ledger.path(kind, target.name)
