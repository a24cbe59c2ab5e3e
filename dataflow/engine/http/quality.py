"""Whether the calls of a service go too badly in one process to go on: a partition may be half an hour of calls.

The whole run is judged by its driver whenever a partition is committed; here nobody waits for that.
"""

from __future__ import annotations

from dataclasses import dataclass

from dataflow.engine.texts import text_of
from dataflow.errors import GuardrailReached, NotFound, Verdict
from dataflow.plan.graph import Step
from dataflow.plan.guardrails import too_few_told
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
        step: The service, bound to its columns.
        limits: Its limits.
        texts: Whether what providers and exceptions say may be told to the owner of the run.
    """

    def __init__(self, step: Step, *, limits: Limits, texts: bool = True) -> None:
        self._step = step
        self._texts = texts
        self._limits = limits
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
        raise GuardrailReached(too_few_told(self._step, found=self._found, asked=asked, share=share))

    def _judge_failures(self, error: BaseException) -> None:
        most = self._limits.max_failures
        if most is None or self._failed <= most:
            return
        text = text_of(error)
        reached = GuardrailReached(
            f"`{self._step.service.name}` failed for {self._failed:,} calls, more than the {most:,} that "
            f"max_failures allows, the last time with: {text.plain}; mend it and run again, or raise max_failures= "
            "and run the same command again to go on"
        )
        reached.said = f"the last error: {text.whole}" if self._texts and text.whole != text.plain else ""
        raise reached
