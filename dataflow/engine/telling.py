"""What of the errors of a service is kept, and what of it is told in the logs: at debug level, where somebody asks."""

from __future__ import annotations

import logging

from dataflow.engine.marks import Effect
from dataflow.plan.graph import Step

logger = logging.getLogger("dataflow.errors")
"""Tells what failed for single records, at DEBUG, with what providers and exceptions have said."""

MOST = 20
"""Failures of one service and partition that are told; all of them stand in the failures."""


def as_kept(step: Step, effect: Effect, *, texts: bool) -> Effect:
    """What a service did, as it may be kept.

    Args:
        step: The service, bound to its columns.
        effect: What it did.
        texts: Whether what providers and an author's exceptions say may be kept.
    """
    kept = effect if texts else effect.without_texts()
    if kept.failures and logger.isEnabledFor(logging.DEBUG):
        for one in kept.failures[:MOST]:
            logger.debug("`%s` %s: %s: %s", step.service.name, one.status.value, one.reason, one.error)
    return kept
