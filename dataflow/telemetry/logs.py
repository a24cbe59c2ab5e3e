"""Logs as JSON: one object a line, with the place of the work in it; and how a process of dataflow's own begins them.

Logging is configured only where somebody has asked for it. What the lines say is decided where they are written.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dataflow.errors import DeclarationError
from dataflow.telemetry.place import NAMES, current_place

_LEVELS = ("debug", "info", "warning", "error", "critical")
_CHATTY = ("httpx", "httpcore", "urllib3", "asyncio", "aiohttp", "fsspec", "botocore")
"""Libraries that tell at INFO or DEBUG of each request, with its whole url and so with values of records."""
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_PLAIN = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class JsonFormatter(logging.Formatter):
    """A `logging.Formatter` that writes one JSON object a line.

    `at` (UTC, ISO 8601), `level`, `logger` and `message`; where they are known also `run`, `dataset`, `partition`,
    `service` and `execution`, in whichever thread or coroutine a service logs; `exception` with its class and its
    traceback, without its text, which may hold values of a record; and what a line is given as `extra=`.

    The place is that of the thread that formats: before a queue, give it to the `QueueHandler` and not to its listener.

    ```python
    handler = logging.StreamHandler()
    handler.setFormatter(flow.JsonFormatter())
    logging.basicConfig(level="INFO", handlers=[handler])
    ```
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        values = {**_known(record), **_place()}
        if record.exc_info and record.exc_info[1] is not None:
            values["exception"] = _exception(record.exc_info[1])
        extra = {name: value for name, value in vars(record).items() if name not in _OWN and name not in values}
        try:
            return _written({**values, **extra})
        except (TypeError, ValueError, RecursionError):
            # One value that cannot be written must not cost the line.
            return _written({**values, **{name: _text(value) for name, value in extra.items()}})


def _known(record: logging.LogRecord) -> dict[str, Any]:
    at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    return {"at": at, "level": record.levelname, "logger": record.name, "message": record.getMessage()}


def _place() -> dict[str, Any]:
    place = current_place()
    return {name: place[name] for name in NAMES if name in place}


def _exception(error: BaseException) -> dict[str, str]:
    """An exception after those that have led to it: where they came through, and their classes."""
    chain: list[BaseException] = []
    behind: BaseException | None = error
    while behind is not None and behind not in chain:
        chain.append(behind)
        behind = behind.__cause__ or (None if behind.__suppress_context__ else behind.__context__)
    said = [f"Traceback:\n{''.join(traceback.format_tb(one.__traceback__))}{_name(one)}\n" for one in reversed(chain)]
    return {"class": _name(error), "traceback": "".join(said)}


def _name(error: BaseException) -> str:
    return type(error).__qualname__


def _written(values: Mapping[str, Any]) -> str:
    # In ASCII, so that whatever the stream is encoded in, it stays JSON.
    return json.dumps(values, default=str, allow_nan=False)


def _text(value: Any) -> str:
    try:
        return repr(value)
    except Exception:
        return type(value).__name__


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSetting:
    """How a process logs.

    Attributes:
        level: The lowest level that is told, such as `INFO`.
        json: Whether its lines are JSON.
    """

    level: str = "INFO"
    json: bool = False


def read_log_setting(text: str) -> LogSetting:
    """What `DATAFLOW_LOG` asks for: `json`, a level, or both with a comma.

    Raises:
        DeclarationError: It says something else.
    """
    words = [word.strip().lower() for word in text.split(",")]
    levels = [word.upper() for word in words if word in _LEVELS]
    if len(levels) > 1 or not all(word == "json" or word in _LEVELS for word in words):
        raise DeclarationError(
            f"DATAFLOW_LOG does not say how to log; it takes json, one of {', '.join(_LEVELS)}, or both as info,json"
        )
    return LogSetting(level=levels[0] if levels else "INFO", json="json" in words)


def start_logging(text: str) -> None:
    """Log to stderr as the text of `DATAFLOW_LOG` asks for; called again, it does nothing more.

    For processes of dataflow's own, the command line and workers, and only where the variable is set: a library leaves
    logging as it is.

    Raises:
        DeclarationError: The text cannot be understood.
    """
    root = logging.getLogger()
    if any(isinstance(one, _Stderr) for one in root.handlers):
        return
    setting = read_log_setting(text)
    formatter = JsonFormatter() if setting.json else logging.Formatter(_PLAIN)
    handler = _Stderr()
    handler.setFormatter(formatter)
    root.addHandler(handler)
    root.setLevel(setting.level)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    # Dask hands nothing to the root.
    for other in logging.getLogger("distributed").handlers:
        other.setFormatter(formatter)


class _Stderr(logging.StreamHandler[Any]):
    """What `start_logging` has begun, known by its class; writes to wherever stderr is by then."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
