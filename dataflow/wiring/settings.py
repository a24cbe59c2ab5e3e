"""The settings of a run: everything that is no part of its plan, so that changing it still resumes."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from dataflow.errors import DeclarationError
from dataflow.outcomes import Event
from dataflow.plan.checks import check_environ
from dataflow.plan.sizes import SizeOption, read_partition_size
from dataflow.services.prices import read_amount
from dataflow.services.units import seconds
from dataflow.wiring.clusters import check_name
from dataflow.wiring.preparation import DEFAULT_CATALOG

TARGET_BYTES = 64 * 2**20
"""Bytes of one partition: seconds of work, and a few hundred MB in memory with its columns and results."""

SMALL_BYTES = 16 * 2**20
"""Up to this size a source is run by threads of this process: starting worker processes would take longer."""


SCHEDULERS = ("DASK_SCHEDULER_ADDRESS", "DASK_SCHEDULER_FILE")
"""The variables by which Dask finds a cluster."""

PLACES = ("client", "scheduler", "scheduler_file", "cluster")
"""The settings that name a cluster."""

_OF_A_JOB = ("key", "max_failures", "min_found", "record_budget", "error_texts")
"""What people look for among the settings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a job is run.

    Attributes:
        catalog: Folder or URL of the datasets. Default `datasets`.
        client: A `distributed.Client` to use; it is not closed. Default: the current one, if there is one.
        scheduler: The address of a Dask scheduler.
        scheduler_file: The file in which a scheduler left its address.
        cluster: A cluster object of distributed, dask-jobqueue, dask-gateway, dask-kubernetes, Coiled, ..., which
            stays open; or the text `MODULE:CALLABLE` or `FILE.py:CALLABLE` of a function without arguments that makes
            one (or a client), which is closed at the end.
        workers: Worker processes to start on this machine; default: as many as processors for large sources,
            and threads of this process for small ones. With `cluster`, the workers that it is scaled to.
        adapt: The fewest and the most workers that `cluster` may have, `(0, 10)` or "0:10": as many as there is work
            for. Default: its size is left as it is.
        threads: Threads of each worker process, or of this process. Default 1 for processes.
        partition_size: How large partitions are: records as a number, or bytes such as "64MiB", also as a text.
            Default: what the source says, else the job; else 64 MiB, less where calls or slow services take a while.
            A run that goes on keeps the partitions that it has.
        limit: Run only the first N records of the source. Where that leaves others out, the version says so, and it
            does not become `latest` beside one that no limit has cut short.
        deadline: Seconds, or "2h", after which no new calls and partitions begin; what is done is kept. Default:
            the job's own.
        budget: Money that the paid services may cost in this run, over all its starts. Default: the job's own.
        resume: False starts a new run where an unfinished one could go on, and takes nothing over.
        incremental: True takes over from the newest version the partitions that would be the same, False none. Default:
            the job's own, which is False: everything is done again, with answers from the cache.
        if_changed: True does nothing where a run would give the newest version again: it has the same plan, no call
            has failed for it, its answers still serve, and none of its services is given `flow.Context`.
        recall: Services of which no answers from before the run serve, so that they are called again.
        keep_sent: Services with idempotent=False that have changed since they sent records: those count as sent.
        send_again: Services with idempotent=False of which everything is sent again, whatever earlier runs have sent.
        offline: True calls no API: what the cache does not answer is not attempted, and the run ends as a stopped one
            where something is missing.
        profile: True estimates the distinct values of each column, at 1-2 seconds a column and 5 million records.
        parameters: What `flow.Context.parameters` holds.
        environ: Names of variables whose values here the job file sees wherever it is loaded, beside those of the job.
        wait: False returns a live `Run` at once, which goes on in the background until it ends or `run.stop()`.
        on_event: Called with each `Event`, such as a progress display.
        traffic: False leaves out the events `calling`, for which the control plane is asked once a second.
        live: False shows the run to nobody while it goes on: no live page, no metrics, no `dataflow status`.
    """

    catalog: str = DEFAULT_CATALOG
    client: Any = None
    scheduler: str | None = None
    scheduler_file: str | None = None
    cluster: Any = None
    workers: int | None = None
    adapt: tuple[int, int] | None = None
    threads: int | None = None
    partition_size: SizeOption | None = None
    limit: int | None = None
    deadline: float | str | None = None
    budget: float | None = None
    resume: bool = True
    incremental: bool | None = None
    if_changed: bool = False
    recall: tuple[str, ...] = ()
    keep_sent: tuple[str, ...] = ()
    send_again: tuple[str, ...] = ()
    offline: bool = False
    profile: bool = False
    parameters: Mapping[str, Any] = field(default_factory=dict)
    environ: tuple[str, ...] = ()
    wait: bool = True
    on_event: Callable[[Event], None] | None = None
    traffic: bool = True
    live: bool = True


def read_settings(given: Mapping[str, Any]) -> Settings:
    """Settings from keyword arguments.

    Raises:
        DeclarationError: A name is unknown, a number is below 1, or two settings contradict each other.
    """
    known = [one.name for one in fields(Settings)]
    for name in given:
        if name not in known:
            if name in _OF_A_JOB:
                raise DeclarationError(
                    f"`{name}` belongs to the job: Job(..., {name}=...) or Pipeline.run(..., {name}=...)"
                )
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"there are {', '.join(known)}"
            raise DeclarationError(f"a run has no setting `{name}`; {hint}")
    settings = Settings(**given)
    named = {name: _names(name, getattr(settings, name)) for name in ("recall", "keep_sent", "send_again")}
    settings = replace(
        settings,
        recall=named["recall"],
        keep_sent=named["keep_sent"],
        send_again=named["send_again"],
        environ=check_environ(settings.environ),
    )
    for name in ("workers", "threads", "limit"):
        value = getattr(settings, name)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise DeclarationError(f"{name} takes a whole number from 1")
    read_partition_size(settings.partition_size)
    if settings.incremental not in (None, True, False):
        raise DeclarationError("incremental takes True or False")
    settings = replace(settings, adapt=_range(settings.adapt))
    _check_place(settings)
    if settings.budget is not None:
        read_amount(settings.budget, where="budget")
    if settings.deadline is not None:
        seconds(settings.deadline, where="deadline")
    if not isinstance(settings.catalog, (str, Path)):
        raise DeclarationError("catalog takes the path or URL of a folder")
    if not isinstance(settings.parameters, Mapping):
        raise DeclarationError("parameters takes a mapping: parameters={name: value}")
    if settings.on_event is not None and not callable(settings.on_event):
        raise DeclarationError("on_event takes a function, which is called with each event")
    return settings


def moved(given: Mapping[str, Any], **others: Any) -> dict[str, Any]:
    """The settings of a run for whoever goes on with it; another place or size takes the place of the run's own."""
    dropped: set[str] = set()
    if any(others.get(name) is not None for name in PLACES):
        dropped |= {*PLACES, "workers", "threads", "adapt"}
    elif any(others.get(name) is not None for name in ("workers", "adapt")):
        dropped |= {"workers", "adapt"}
    return {name: value for name, value in given.items() if name not in dropped} | others


def _names(setting: str, given: Any) -> tuple[str, ...]:
    """The services that a setting names."""
    if isinstance(given, str) or not isinstance(given, Iterable) or not all(isinstance(name, str) for name in given):
        raise DeclarationError(f"{setting} takes a list of names of services: {setting}=['news']")
    return tuple(dict.fromkeys(given))


def _range(given: Any) -> tuple[int, int] | None:
    """What `adapt` says: a pair, or MIN:MAX."""
    if given is None:
        return None
    parts = given.split(":") if isinstance(given, str) else given
    with suppress(TypeError, ValueError):
        least, most = (int(part) if isinstance(part, str) else part for part in parts)
        if all(isinstance(one, int) and not isinstance(one, bool) for one in (least, most)) and 0 <= least <= most > 0:
            return least, most
    raise DeclarationError(
        f"adapt takes MIN:MAX, the fewest and the most workers, such as 0:10 or (0, 10), not {given!r}"
    )


def _check_place(settings: Settings) -> None:
    """Refuse what contradicts itself about where a run is done."""
    cluster = settings.cluster
    if cluster is None and settings.adapt is not None:
        raise DeclarationError("--adapt (adapt=) sizes the cluster that --cluster (cluster=) gives; name that too")
    if cluster is None:
        return
    others = [name for name in PLACES[:-1] if getattr(settings, name) is not None]
    if others:
        raise DeclarationError(f"cluster= and {others[0]}= name two clusters (--cluster and others); give one of them")
    if settings.adapt is not None and settings.workers is not None:
        raise DeclarationError(
            "--workers (workers=) gives a cluster a fixed size and --adapt (adapt=) a range; give one of them"
        )
    if settings.threads is not None:
        raise DeclarationError(
            "--threads (threads=) is for workers that are started here; say it where the cluster is made"
        )
    if isinstance(cluster, str):
        check_name(cluster)
        return
    from dataflow.engine.foreign import is_cluster

    if not is_cluster(cluster):
        raise DeclarationError(
            f"cluster takes a cluster object or the text MODULE:CALLABLE, not {type(cluster).__name__}"
        )
