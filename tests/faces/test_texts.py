from __future__ import annotations

import pytest

from dataflow.faces import texts


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0000655, "0.0655 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (125, "2 min 05 s"),
        (3599.9, "1 h 00 min"),
        (45000, "12 h 30 min"),
    ],
)
def test_a_duration_has_the_units_that_matter(seconds, text):
    assert texts.duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1e-7, "0.1 µs"),
        (0.00095, "950 µs"),
        (0.0009996, "1 ms"),
        (0.9996, "1 s"),
        (10, "10 s"),
        (59.96, "1 min 00 s"),
    ],
)
def test_a_duration_beside_others_is_brief(seconds, text):
    assert texts.brief(seconds) == text


@pytest.mark.parametrize(("value", "text"), [(0, "0 B"), (999, "999 B"), (999_600, "1 MB"), (1_234_567, "1.23 MB")])
def test_sizes_are_decimal(value, text):
    assert texts.size(value) == text


@pytest.mark.parametrize(("value", "text"), [(1, "100 %"), (0.9999, "> 99.9 %"), (0.0001, "< 0.1 %"), (0, "0 %")])
def test_a_share_is_100_percent_only_of_all(value, text):
    assert texts.share(value) == text


def test_what_is_left_is_never_finer_than_a_second():
    assert [texts.remaining(one) for one in (0.2, 12.4, 59.6)] == ["1 s", "12 s", "1 min 00 s"]


def test_one_record_is_no_records():
    assert (texts.counted(1, "record"), texts.counted(2000, "record")) == ("1 record", "2,000 records")


def test_control_characters_become_visible():
    assert texts.printable("a\x1b[31m\nb\u202e\ud800") == "a\\x1b[31m\\nb\\u202e\\ud800"
    assert texts.printable("Größe 東京 👍") == "Größe 東京 👍"


def test_width_counts_columns_and_not_characters():
    assert [texts.cells(one) for one in ("abc", "東京", "e\u0301")] == [3, 4, 1]


@pytest.mark.parametrize("most", [1, 2, 5, 10])
@pytest.mark.parametrize("text", ["a_long_name_of_a_service", "東京都千代田区", "e\u0301" * 20])
def test_a_shortened_text_fits(text, most):
    assert texts.cells(texts.shorten(text, most)) <= most
    assert texts.cells(texts.shorten_middle(text, most)) <= most


def test_a_shortened_name_keeps_both_ends():
    assert texts.shorten_middle("company_of_the_domain_v2", 12) == "company_…_v2"
    assert texts.shorten_middle("short", 12) == "short"


def test_padding_counts_columns():
    assert texts.padded("東", 4) == "東  "
    assert texts.padded("東", 4, right=True) == "  東"
