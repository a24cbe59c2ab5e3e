"""The bill of a run: its records as they were committed, its calls as its processes have noted them."""

from __future__ import annotations

from collections.abc import Iterable

from dataflow.store.commit import RunFolder
from dataflow.store.records import CommitRecord
from dataflow.store.resolve import ResolveFiles
from dataflow.store.tills import read_called
from dataflow.store.writing import totals
from dataflow.telemetry.statistics import Statistics


def bill_of(folder: RunFolder, records: Iterable[CommitRecord]) -> Statistics:
    """The statistics of a run so far, given what is committed of it.

    Raises:
        StoreError: What was called cannot be read.
    """
    called = read_called(folder)
    known = Statistics.merged([totals(records), ResolveFiles(folder).spent()])
    return known.billed(called.services, currency=called.currency)
