"""JSON is found wherever a model puts it, the last first, in time that grows with the text alone."""

from __future__ import annotations

import time

import pytest

from dataflow.services.spans import json_in


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"a": 1}', ['{"a": 1}']),
        ("3", ["3"]),
        (" \n", []),
        ('<think>{"a": 0}</think>{"a": 1}', ['{"a": 1}']),
        ('<think>\n{"a": 0}\n</think>\n\n```json\n{"a": 1}\n```', ['{"a": 1}']),
        ('perhaps {"a": 0}</think>{"a": 1}', ['{"a": 1}']),
        ('{"a": 1}<think>so it is</think>', ['{"a": 1}']),
        ('{"a": 1}<think>or {"a": 0}?', ['{"a": 1}']),
        ('<think>so\n```json\n{"a": 1}\n```', ['{"a": 1}']),
        ('<think>is it {"a": 0}? No', []),
        ('Here: {"a": "<think>"} or [1]', ["[1]", '{"a": "<think>"}', 'Here: {"a": "<think>"} or [1]']),
        ('<seed:think>{"a": 0}</seed:think>{"b": 1}', ['{"b": 1}']),
        ("3 <think>or 4?", ["3"]),
        ("a fraction {a}{b} [x]", ["a fraction {a}{b} [x]"]),
        ('{"a": 0} or {"a": [{"b": 1}]}', ['{"a": [{"b": 1}]}', '{"a": 0}', '{"a": 0} or {"a": [{"b": 1}]}']),
        ("Take {this}: [1]!", ["[1]", "Take {this}: [1]!"]),
        ('{"a": 1', ['{"a": 1']),
        ('{"a": "}"} so', ['{"a": "}"}', '{"a": "}"} so']),
        ("```\n3\n```", ["3"]),
    ],
)
def test_the_values_in_a_text_are_found_from_the_last_one_on(text: str, found: list[str]) -> None:
    assert json_in(text) == found


@pytest.mark.parametrize(
    "part",
    [
        "[",
        "{",
        "[1,",
        '{"a":',
        '["',
        "[[1],",
        "{x}",
        '{"',
        "{ ",
        "``` ",
        "</think>",
        "<think>",
        '{"a": 1}<think>',
        '{"a": "<think>"}',
    ],
)
def test_what_never_ends_is_given_up(part: str) -> None:
    text = part * (200_000 // len(part))
    began = time.process_time()
    json_in(text)
    assert time.process_time() - began < 20
