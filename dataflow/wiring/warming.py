"""Begins to import for worker processes before anything else; standard library only, so that it costs nothing."""

from __future__ import annotations

import re
from pathlib import Path

from dataflow.engine import processes

_IMPORTS_PANDAS = re.compile(r"^\s*(import|from)\s+pandas\b", re.MULTILINE)


def warm_up(job: str) -> None:
    """Let the server of worker processes import what they need while this process reads the job.

    Args:
        job: What the command names; a job file that imports pandas has it imported for the workers, too.
    """
    path = Path(job if Path(job).is_file() else job.rpartition(":")[0])
    text = path.read_text(errors="replace") if path.is_file() else ""
    processes.start(preload=["pandas"] if _IMPORTS_PANDAS.search(text) else [])
