"""What a call to a model may use follows from its prompt and from the calls before it."""

from __future__ import annotations

import pytest

from dataflow.policies.tokens import OUTPUT, TokenMeans, expected, learned


@pytest.mark.parametrize(
    ("means", "characters", "most", "tokens"),
    [
        (TokenMeans(), 400, None, 100 + OUTPUT),
        (TokenMeans(), 401, 50, 151),
        (TokenMeans(of_character=0.5, output=10.0), 400, 50, 210),
        (TokenMeans(output=0.0), 0, None, 1),
    ],
)
def test_a_call_may_use_its_prompt_and_an_answer(
    means: TokenMeans, characters: int, most: int | None, tokens: int
) -> None:
    assert expected(means, characters=characters, most=most) == tokens


def test_the_means_come_to_what_calls_use() -> None:
    means = TokenMeans()
    for _ in range(200):
        means = learned(means, characters=100, sent=80, received=7)
    assert expected(means, characters=100, most=4000) == pytest.approx(87, abs=1)


def test_the_first_answer_counts_in_full_and_no_prompt_changes_nothing() -> None:
    means = learned(TokenMeans(), characters=0, sent=5, received=40)
    assert means == TokenMeans(of_character=0.25, output=40)
