"""One JSON object a line, with the place of the work in it; and what `DATAFLOW_LOG` may say."""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from collections.abc import Iterator
from contextvars import copy_context
from typing import Any

import pytest

import dataflow as flow
from dataflow.errors import DeclarationError
from dataflow.telemetry.logs import LogSetting, read_log_setting, start_logging
from dataflow.telemetry.place import current_place, placed


def line_of(message: Any = "said", *arguments: Any, **values: Any) -> dict[str, Any]:
    """What the formatter writes for a record, read again."""
    record = logging.LogRecord("leads.size", logging.INFO, "leads.py", 7, message, arguments, values.pop("exc", None))
    record.created = 1_796_000_000.25
    vars(record).update(values)
    written = flow.JsonFormatter().format(record)
    assert "\n" not in written
    return dict(json.loads(written))


ALWAYS = {"at": "2026-11-30T00:53:20.250+00:00", "level": "INFO", "logger": "leads.size", "message": "said"}


def test_a_line_says_when_how_grave_who_and_what() -> None:
    assert line_of() == ALWAYS
    assert line_of("%d of %s", 1, "two")["message"] == "1 of two"


@pytest.mark.parametrize(
    "place",
    [
        {"run": "r", "dataset": "leads", "partition": 3, "service": "size"},
        {"run": "r", "partition": 0},
        {"execution": "e", "service": "size"},
    ],
)
def test_a_line_says_where_as_far_as_that_is_known(place: dict[str, Any]) -> None:
    with placed(**place):
        assert line_of() == {**ALWAYS, **place}
    assert line_of() == ALWAYS


@pytest.mark.parametrize(
    ("text", "written"),
    [('"quoted"', '"quoted"'), ("two\nlines", "two\nlines"), ("Zürich 東京", "Zürich 東京"), ("\ud800", "\ud800")],
)
def test_any_text_stays_one_line_of_json(text: str, written: str) -> None:
    assert line_of("%s", text)["message"] == written


@pytest.mark.parametrize(
    ("value", "written"),
    [(3, 3), (None, None), (["a"], ["a"]), ({1}, "{1}"), (float("nan"), "nan"), ({(1, 2): 3}, "{(1, 2): 3}")],
)
def test_what_a_line_is_given_as_extra_is_written_somehow(value: Any, written: Any) -> None:
    assert line_of(count=value) == {**ALWAYS, "count": written}


def test_what_is_given_as_extra_hides_nothing() -> None:
    with placed(run="r"):
        assert line_of(run="other", level="other") == {**ALWAYS, "run": "r"}


def test_an_exception_is_told_with_those_behind_it_and_without_their_texts() -> None:
    value = "".join(["private", "@", "example.com"])
    try:
        try:
            {}[value]
        except KeyError as error:
            raise ValueError(value) from error
    except ValueError:
        line = line_of(exc=sys.exc_info())
    assert line["exception"]["class"] == "ValueError"
    assert re.findall(r"^\w+", line["exception"]["traceback"], re.MULTILINE) == [
        *("Traceback", "KeyError"),
        *("Traceback", "ValueError"),
    ]
    assert "raise ValueError(value) from error" in line["exception"]["traceback"]
    assert value not in json.dumps(line)


def test_a_place_is_known_deeper_in_and_forgotten_behind() -> None:
    with placed(run="r", service="outer"):
        with placed(service="inner", partition=1):
            assert current_place() == {"run": "r", "service": "inner", "partition": 1}
        assert current_place() == {"run": "r", "service": "outer"}
        seen: list[Any] = []
        context = copy_context()
        thread = threading.Thread(target=lambda: seen.append(dict(context.run(current_place))))
        thread.start()
        thread.join()
    assert seen == [{"run": "r", "service": "outer"}]
    assert current_place() == {}


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("json", LogSetting(level="INFO", json=True)),
        ("info,json", LogSetting(level="INFO", json=True)),
        ("JSON, Debug", LogSetting(level="DEBUG", json=True)),
        ("warning", LogSetting(level="WARNING")),
    ],
)
def test_the_variable_gives_a_level_and_a_form(text: str, setting: LogSetting) -> None:
    assert read_log_setting(text) == setting


@pytest.mark.parametrize("text", ["yes", "info,debug", "json,", "info json"])
def test_what_the_variable_does_not_say_is_refused(text: str) -> None:
    with pytest.raises(DeclarationError, match=r"DATAFLOW_LOG .* json, one of debug, info"):
        read_log_setting(text)


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger as a new process has it, and afterwards as it was."""
    logger, chatty = logging.getLogger(), logging.getLogger("httpx")
    handlers, level, before = logger.handlers[:], logger.level, chatty.level
    logger.handlers, logger.level = [], logging.WARNING
    yield logger
    logger.handlers = handlers
    logger.setLevel(level)
    chatty.setLevel(before)


def test_with_it_lines_go_to_stderr_once(root: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    start_logging("json")
    start_logging("json")
    logging.getLogger("leads").info("said")
    # It would tell the url of each request.
    logging.getLogger("httpx").info("GET https://acme.invalid/?q=private")
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["message"] == "said"
