"""Prompts that are too long lose the ends of their longest values, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.services.shortening import KEPT, shorten


@pytest.mark.parametrize(
    ("lengths", "kept", "expected"),
    [
        ([100], 0.5, [50]),
        ([100, 10], 0.5, [45, 10]),
        ([100, 100], 0.5, [50, 50]),
        ([60, 50, 4], 0.5, [26, 26, 4]),
        ([1], 0.5, [0]),
        ([0, 0], 0.5, [0, 0]),
        ([], 0.5, []),
    ],
)
def test_the_longest_values_are_cut_first(lengths: list[int], kept: float, expected: list[int]) -> None:
    texts = {f"c{at}": "x" * length for at, length in enumerate(lengths)}
    assert [len(text) for text in shorten(texts, kept=kept).values()] == expected


@given(st.dictionaries(st.text(max_size=3), st.text(max_size=60), max_size=6))
def test_beginnings_are_kept_and_the_share_holds(texts: dict[str, str]) -> None:
    shorter = shorten(texts)
    assert list(shorter) == list(texts)
    assert all(texts[column].startswith(text) for column, text in shorter.items())
    assert sum(map(len, shorter.values())) <= KEPT * sum(map(len, texts.values()))
