"""The error tree: one class for each decision that a caller can take.

    DataflowError
    ├── DeclarationError        a service, pipeline or job is wired wrongly: mend the code          exit 2
    ├── SourceError             an input cannot be read: mend the path, the options or the file     exit 2
    ├── CatalogError            a dataset, version or run is not there or not writable              exit 2
    ├── StoreError              what was written does not add up: nothing was published             exit 1
    ├── OutputLocked            another run holds the output: wait for it or stop it                exit 6
    ├── GuardrailReached        too many failures: look at them, then run again                     exit 3
    ├── LimitReached            budget, deadline or a quota is used up: raise it and run again      exit 4
    ├── Interrupted             stopped before the end: run again to go on                          exit 5
    ├── ClusterError            the cluster cannot be reached, was lost or does not fit             exit 75
    ├── ServiceError            a service failed and nobody is there to record it                   exit 1
    │   ├── CriticalServiceFailed   one record lost a critical service
    │   └── AllFailed               all that a composite service has tried; an outcome, never leaves the engine
    └── Verdict                 what an author raises inside a service; never leaves the engine
        ├── Invalid  ├── NotFound  ├── Skip  ├── Reject  └── RetryLater

A message says what is wrong, where, and what to try. It never holds a record's value or a secret. What somebody else
has said about it, who may quote a record, is told behind it by `str` to whoever has caught it, and stays behind when it
travels. Every class keeps all else it was given in `args`, so that it survives pickle. Nothing here knows another room.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar


class DataflowError(Exception):
    """The root of everything that dataflow raises on purpose.

    Attributes:
        run: The `Run` that it has ended, else None; it stays behind when the error travels.
        said: What providers or exceptions of an author have said, in a phrase; empty where they have not, and after
            the error has travelled.
    """

    exit_code: ClassVar[int] = 1
    run: Any = None
    said: str = ""

    @property
    def plain(self) -> str:
        """The message alone, which anybody may read."""
        return str(self.args[0]) if len(self.args) == 1 else "" if not self.args else str(self.args)

    def __str__(self) -> str:
        return f"{self.plain}; {self.said}" if self.said else self.plain

    def __reduce__(self) -> tuple[Any, ...]:
        """What pickle keeps: the class and all it was given."""
        return type(self), self.args


class DeclarationError(DataflowError):
    """A service, pipeline or job is declared wrongly; nothing has run."""

    exit_code = 2


class SourceError(DataflowError):
    """An input cannot be read as it was described; nothing has been paid."""

    exit_code = 2


class CatalogError(DataflowError):
    """A dataset, a version, a run or the catalog itself is not where it was asked for."""

    exit_code = 2


class StoreError(DataflowError):
    """What was written does not add up, so it was not committed or not published."""


class OutputLocked(DataflowError):
    """Another run holds the output dataset."""

    exit_code = 6


def _in_one_line(error: DataflowError) -> list[str]:
    """What a notebook shows in place of a traceback: where a run was ended on purpose tells nobody anything."""
    return [f"{type(error).__name__}: {error}"]


class GuardrailReached(DataflowError):
    """A quality guardrail ended the run; what is done is kept and the run can go on."""

    exit_code = 3
    _render_traceback_ = _in_one_line


class LimitReached(DataflowError):
    """The budget or the deadline of the run, or the quota of a provider, is used up; what is done is kept."""

    exit_code = 4
    _render_traceback_ = _in_one_line


class Interrupted(DataflowError):
    """The run was stopped before its end; the same command goes on from here."""

    exit_code = 5
    _render_traceback_ = _in_one_line


class ClusterError(DataflowError):
    """The cluster cannot be reached, was lost, or has versions that do not fit."""

    exit_code = 75


class ServiceError(DataflowError):
    """A service failed where no outcome can record it, as in a single call."""


class CriticalServiceFailed(ServiceError):
    """A record cannot be completed because a critical service failed.

    Args:
        message: What failed and what to try.
        services: The names of the failed critical services, in listed order.
    """

    def __init__(self, message: str, services: tuple[str, ...] = ()) -> None:
        super().__init__(message, services)
        self.services = services

    @property
    def plain(self) -> str:
        """The message alone, which anybody may read."""
        return str(self.args[0])


class AllFailed(ServiceError):
    """None of the services that a composite service has tried has an answer, and some have failed.

    Args:
        message: Who has failed, by the classes of their reasons.
        whole: The same with what they have said.
    """

    reason = "all failed"

    def __init__(self, message: str, whole: str = "") -> None:
        super().__init__(message, whole)
        self.whole = whole or message

    @property
    def plain(self) -> str:
        """The message alone, which anybody may read."""
        return str(self.args[0])


class Verdict(DataflowError):
    """What an author raises inside a service to say something about the record."""


class Invalid(Verdict):
    """The record is invalid: a validation's judgement, not a failure.

    Args:
        errors: One or more texts for the `errors` of this validation.
    """

    @property
    def errors(self) -> tuple[str, ...]:
        """The texts that were given, in order."""
        return tuple(str(error) for error in self.args)


class NotFound(Verdict):
    """The service answered that it knows nothing about this record."""


class Skip(Verdict):
    """The service does not apply to this record."""


class Reject(Verdict):
    """The record must not reach the output: a judgement, not a failure."""


class RetryLater(Verdict):
    """The service asks to be called again.

    Args:
        reason: Why, for the record of the failure.
        after: Seconds to wait at least, a timedelta or the text of a Retry-After header; None leaves it to the retry
            policy.
    """

    def __init__(self, reason: str = "", after: float | timedelta | str | None = None) -> None:
        if not isinstance(after, (int, float, timedelta, str, type(None))):
            raise TypeError(
                "flow.RetryLater: after takes seconds, a timedelta or the text of a Retry-After header, "
                f"not {type(after).__name__}"
            )
        super().__init__(reason, after)
        self.after = after

    @property
    def plain(self) -> str:
        """The reason."""
        return str(self.args[0])
