"""Services that block the loop they should await on are named, others are not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.engine.waiting import IOLoop
from dataflow.engine.watchdog import BLOCKED, blocking, code_of


def doze(seconds: float) -> None:
    time.sleep(seconds)


async def blocks(seconds: float) -> None:
    doze(seconds)


async def awaits(seconds: float) -> None:
    await asyncio.sleep(seconds)


class Blocks:
    async def __call__(self, word: str) -> str:
        doze(4 * BLOCKED)
        return word


def told_by(function: Callable[[float], Coroutine[Any, Any, None]]) -> list[str]:
    told: list[str] = []
    io = IOLoop(warn=told.append)
    with io.watching(flow.enrichment(function, name="slow", returns=str)):
        for _ in range(2):
            io.run(function(4 * BLOCKED))
    io.close()
    return told


def test_a_service_that_blocks_is_named_once_with_the_line_of_its_own_code() -> None:
    (sentence,) = told_by(blocks)
    assert sentence.startswith("`slow` blocks the event loop")
    line = blocks.__code__.co_firstlineno + 1
    assert f"{Path(__file__).name}:{line}" in sentence


def test_services_that_share_a_function_are_both_named() -> None:
    told: list[str] = []
    io = IOLoop(warn=told.append)
    one = flow.enrichment(blocks, name="one", returns=str)
    with io.watching(one), io.watching(one.with_(name="two")):
        io.run(blocks(4 * BLOCKED))
    io.close()
    assert sorted(sentence.split()[0] for sentence in told) == ["`one`", "`two`"]


def test_a_service_that_awaits_is_not_named_however_long_it_takes() -> None:
    assert told_by(awaits) == []


def test_a_stack_without_a_service_blames_nobody() -> None:
    import sys

    assert blocking(sys._getframe(), {code_of(awaits)}) is None


@pytest.mark.parametrize("function", [blocks, Blocks])
def test_the_code_of_functions_and_classes_is_found(function: Any) -> None:
    assert code_of(function) in (blocks.__code__, Blocks.__call__.__code__)


@pytest.mark.parametrize("settings", [{"threads": 1}, {"workers": 1}], ids=["threads", "workers"])
def test_the_run_says_which_service_blocked(settings: dict[str, Any], tmp_path: Path) -> None:
    word = flow.enrichment(Blocks, name="slow", returns=str)
    events: list[Any] = []
    run = flow.Pipeline("words", [word]).run(
        pa.table({"word": ["a"]}), output="words", catalog=tmp_path, on_event=events.append, **settings
    )
    (warning,) = run.warnings
    assert "`slow` blocks the event loop" in warning
    assert warning in [event.message for event in events if event.kind == "warned"]
