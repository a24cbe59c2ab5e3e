"""Whether the calls of a service go too badly in one process to go on: a partition may be half an hour of calls.

The whole run is judged by its driver whenever a partition is committed; here nobody waits for that.
"""

from __future__ import annotations

from dataclasses import dataclass

from dataflow.engine.http.attempts import CallError
from dataflow.errors import GuardrailReached, NotFound, Verdict
from dataflow.policies.guardrail import too_few_found


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the calls of one service are allowed.

    Attributes:
        min_found: The least share that is to be found, or None.
        max_failures: Failed calls that are accepted, or None for any number.
    """

    min_found: float | None = None
    max_failures: int | None = None


class QualityCheck:
    """Counts how the calls of one service end in this process.

    Args:
        name: Of the service.
        api: Of its API.
        limits: Its limits.
        reads: The columns that it is asked by, for the question in the error.
    """

    def __init__(self, name: str, *, api: str, limits: Limits, reads: tuple[str, ...]) -> None:
        self._name = name
        self._api = api
        self._limits = limits
        self._reads = reads
        self._found = self._unknown = self._failed = 0

    def __call__(self, error: BaseException | None) -> None:
        """Note how a call ended.

        Raises:
            GuardrailReached: Too many have failed, or too few have found something.
        """
        if error is None:
            self._found += 1
        elif isinstance(error, NotFound):
            self._unknown += 1
            self._judge_found()
        elif not isinstance(error, Verdict):
            self._failed += 1
            self._judge_failures(error)

    def _judge_found(self) -> None:
        share, asked = self._limits.min_found, self._found + self._unknown
        if share is None or not too_few_found(self._found, asked=asked, share=share, over=False):
            return
        columns = " and ".join(f"`{column}`" for column in self._reads)
        raise GuardrailReached(
            f"`{self._name}` found something for {self._found:,} of {asked:,} asked ({self._found / asked:.1%}), "
            f"less than the {share * 100:.4g}% of min_found; is {columns}, which it reads, what the API {self._api} "
            "expects? Mend it and run again, or lower min_found= and run the same command again to go on"
        )

    def _judge_failures(self, error: BaseException) -> None:
        most = self._limits.max_failures
        if most is None or self._failed <= most:
            return
        # What a function of the user raised may hold a value.
        last = f"{error}" if isinstance(error, CallError) else type(error).__name__
        raise GuardrailReached(
            f"`{self._name}` failed for {self._failed:,} calls, more than the {most:,} that max_failures allows, "
            f"the last time with: {last}; mend it and run again, or raise max_failures= and run the same command "
            "again to go on"
        )
