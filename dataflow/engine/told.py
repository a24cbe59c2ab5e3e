"""Keeps from the terminal what Dask logs of errors that a run tells itself, such as the traceback of a refused job.

Only in worker processes of our own: the logs of somebody else's cluster are for whoever looks after it. Errors that
nobody has foreseen are logged as ever.
"""

from __future__ import annotations

import logging
import multiprocessing

from dataflow import errors
from dataflow.engine.processes import WorkerProcess

_NAMES = {name for name, one in vars(errors).items() if isinstance(one, type) and issubclass(one, errors.DataflowError)}


def leave_out_told() -> None:
    """Log in this process no error of ours that the run tells; asked twice, it does nothing."""
    if isinstance(multiprocessing.current_process(), WorkerProcess):
        logging.getLogger("distributed.worker").addFilter(is_news)


def is_news(record: logging.LogRecord) -> bool:
    """Whether a record of Dask's worker tells something that the run does not."""
    if record.exc_info and isinstance(record.exc_info[1], errors.DataflowError):
        return False
    if not str(record.msg).startswith("Compute Failed"):
        return True
    # Of a task there is only the text of its error.
    texts = [one for one in record.args or () if isinstance(one, str)]
    return not any(text.partition("(")[0] in _NAMES for text in texts)
