"""The whole look before a run: what is asked, of whom, and in which order. What it means is judged beside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dataflow.engine.arrow import keep_pandas_out
from dataflow.engine.cluster import scheduler_address
from dataflow.engine.reaching import reach
from dataflow.store.catalog import Catalog
from dataflow.store.filesystem import is_remote
from dataflow.wiring.doctor import apis, clusters, versions
from dataflow.wiring.doctor.catalogs import look_at_catalog
from dataflow.wiring.doctor.checking import Check, perform
from dataflow.wiring.doctor.findings import LOAD, UNREACHABLE, Finding, ok
from dataflow.wiring.doctor.jobs import load_job, look_at_binding, look_at_source
from dataflow.wiring.preparation import DEFAULT_CATALOG
from dataflow.wiring.secrets import is_private, unset

if TYPE_CHECKING:
    from dataflow.engine.inspection import Inspection
    from dataflow.plan.partitions import SourcePlan
    from dataflow.plan.pipeline import Job
    from dataflow.services.api import API
    from dataflow.services.service import Service


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is looked at.

    Attributes:
        job: As a command names it, or None.
        catalog: Folder or URL of the datasets.
        scheduler: The address of a scheduler.
        scheduler_file: The file in which it left its address.
        parameters: What is set for the job.
    """

    job: str | None = None
    catalog: str = DEFAULT_CATALOG
    scheduler: str | None = None
    scheduler_file: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)


def examine(subject: Subject) -> list[Finding]:
    """Look at everything that a run of a job would need; nothing is changed, and no service is called.

    A cluster is looked at where one is named, or where Dask's environment names one, as for a run.
    """
    keep_pandas_out()
    with ExitStack() as stack:
        return _Examination(subject, stack).perform()


class _Examination:
    """What is known so far: later checks look at what earlier ones have found."""

    def __init__(self, subject: Subject, stack: ExitStack) -> None:
        self._subject = subject
        self._stack = stack
        self._cluster: Inspection | None = None
        self._job: Job | None = None
        self._plan: SourcePlan | None = None
        self._workers: tuple[str, ...] = ()

    def perform(self) -> list[Finding]:
        """All findings, in the order of a run: libraries, cluster, catalog, job, APIs."""
        first = [
            Check(subject="versions", look=lambda: versions.judge_here(versions.installed())),
            Check(subject="cluster", look=self._connect, code=UNREACHABLE),
        ]
        first += [Check(subject="job", look=self._load, code=LOAD)] if self._subject.job is not None else []
        found = perform(first)
        then = [] if self._cluster is None else [Check(subject="cluster", look=self._look_at_cluster)]
        then += [Check(subject="catalog", look=lambda: look_at_catalog(self._subject.catalog))]
        then += [Check(subject="source", look=self._look_at_job)] if self._job is not None else []
        found += perform(then)
        return found + perform(self._last())

    def _connect(self) -> list[Finding]:
        address = scheduler_address(self._subject.scheduler, scheduler_file=self._subject.scheduler_file)
        if address is None:
            return [ok("cluster", "none is named, so a run uses this machine")]
        from dataflow.engine.inspection import inspect_cluster

        self._cluster = self._stack.enter_context(inspect_cluster(address))
        return []

    def _load(self) -> list[Finding]:
        assert self._subject.job is not None
        self._job, found = load_job(self._subject.job, parameters=self._subject.parameters)
        return found

    def _look_at_cluster(self) -> list[Finding]:
        assert self._cluster is not None
        cluster, known = self._cluster, self._cluster.workers()
        told, refused = cluster.versions()
        found = clusters.judge_size(cluster.address, known) + versions.judge_cluster(told, refused=refused)
        if any(one.startswith("python ") for one in refused):
            # Code does not travel between versions of Python, so nothing more can be asked there.
            self._cluster = None
            return found
        self._workers = tuple(known)
        return found

    def _look_at_places(self) -> list[Finding]:
        assert self._cluster is not None
        scheduler, workers = self._cluster.scheduler_place(), self._cluster.worker_places()
        named = {"the scheduler": scheduler, **{f"worker {one}": place for one, place in workers.items()}}
        return [
            *clusters.judge_openness(self._cluster.address, scheduler=scheduler, workers=workers),
            *clusters.judge_clocks(named),
            *clusters.judge_disks(workers),
        ]

    def _look_at_job(self) -> list[Finding]:
        assert self._job is not None
        self._plan, found = look_at_source(self._job, catalog=self._subject.catalog)
        return [*found, *look_at_binding(self._job, self._plan, catalog=self._subject.catalog)]

    def _last(self) -> list[Check]:
        """What is asked of a cluster that fits, and of the APIs of a job."""
        checks = []
        if self._cluster is not None:
            checks.append(Check(subject="cluster", look=self._look_at_places))
            checks.append(Check(subject="shared folders", look=self._look_at_sight))
        for api, services in apis.apis_of(self._job.pipeline.every if self._job is not None else ()).items():
            checks.append(Check(subject=f"API {api.name}", look=partial(self._look_at_reach, api, services)))
            checks.append(Check(subject=f"secrets of {api.name}", look=partial(self._look_at_secrets, api)))
            checks.append(Check(subject=f"limits of {api.name}", look=partial(self._look_at_limits, api)))
        return checks

    def _look_at_sight(self) -> list[Finding]:
        assert self._cluster is not None
        paths = [Catalog(self._subject.catalog).root]
        paths += [one.path for one in (self._plan.files[:1] if self._plan else ())]
        # What is a URL, or not there yet, or was made of a table in memory, says nothing.
        paths = [one for one in paths if not is_remote(one) and Path(one).exists()]
        return clusters.judge_sight(self._cluster.missing(paths)) if paths else []

    def _look_at_reach(self, api: API, services: Sequence[Service]) -> list[Finding]:
        ask = apis.may_be_asked(api, services)
        here, there = reach(api.url, ca_file=api.ca_file, ask=ask), {}
        if self._cluster is not None and self._workers:
            first = self._workers[0]
            there[first] = self._cluster.reach(api.url, worker=first, ca_file=api.ca_file, ask=ask)
        return apis.judge_reach(api, here=here, there=there)

    def _look_at_secrets(self, api: API) -> list[Finding]:
        names = () if api.auth is None else api.auth.secrets
        if self._cluster is None or not self._workers:
            return apis.judge_secrets(api, unset_here=unset(names), unset_there=None, private=False)
        there, private = self._cluster.unset(names), is_private(self._cluster.address)
        return apis.judge_secrets(api, unset_here=unset(names), unset_there=there, private=private)

    def _look_at_limits(self, api: API) -> list[Finding]:
        if self._cluster is None:
            return apis.judge_limits(api, None)
        return apis.judge_limits(api, self._cluster.plane_status().get(api.name))
