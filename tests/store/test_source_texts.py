from __future__ import annotations

import re
import time as time_module
from datetime import UTC, date, datetime, time
from decimal import Decimal, localcontext
from fractions import Fraction

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.store.sources.texts import convert, convertible

BAD = object()


def converted(target, texts):
    found = convert(pa.chunked_array([pa.array(texts[:1], pa.string()), pa.array(texts[1:], pa.string())]), target)
    values = found.values.to_pylist()
    misfits = found.misfits.to_pylist() if found.misfits is not None else [False] * len(texts)
    return [BAD if misfit else value for value, misfit in zip(values, misfits, strict=True)]


@pytest.mark.parametrize(
    ("target", "cases"),
    [
        (pa.int64(), {"7": 7, "+7": 7, "-07": -7, None: None, str(2**63 - 1): 2**63 - 1, str(-(2**63)): -(2**63)}),
        (
            pa.int64(),
            dict.fromkeys(["0x1F", "1_0", " 7", "7 ", "", "--5", "+-5", "-", "٣", "1.0", "1e3", str(2**63)], BAD),
        ),
        (pa.int8(), {"127": 127, "128": BAD}),
        (pa.uint64(), {str(2**64 - 1): 2**64 - 1, "+1": 1, "-1": BAD}),
        (pa.float64(), {"1.5": 1.5, "+1": 1.0, ".5": 0.5, "5.": 5.0, "1e-3": 0.001, None: None}),
        (pa.float64(), dict.fromkeys(["nan", "NaN", "inf", "-Infinity", "1e999", "1,5", "", "0x1p3", " 1"], BAD)),
        (pa.bool_(), {"true": True, "FALSE": False, "t": True, "n": False, "1": True, "0": False, None: None}),
        (pa.bool_(), dict.fromkeys(["2", "", "on", "truee"], BAD)),
        (
            pa.decimal128(5, 2),
            {"1.1": Decimal("1.10"), "-999.99": Decimal("-999.99"), "1.111": BAD, "1000": BAD, "": BAD},
        ),
        (
            pa.date32(),
            {"2024-02-29": date(2024, 2, 29), "2023-02-29": BAD, "0000-01-01": BAD, "2024-1-1": BAD, "x": BAD},
        ),
        (
            pa.timestamp("us"),
            {"2024-01-31T10:00:00.5": datetime(2024, 1, 31, 10, 0, 0, 500000), "2024-01-31": datetime(2024, 1, 31)},
        ),
        (
            pa.timestamp("us"),
            dict.fromkeys(["2024-01-31T10:00:00Z", "2024-01-31 24:00", "2024-01-31 10:00:00.1234567"], BAD),
        ),
        (
            pa.timestamp("us", "UTC"),
            {"2024-01-31 10:00:00+02:00": datetime(2024, 1, 31, 8, tzinfo=UTC), "2024-01-31": BAD},
        ),
        (
            pa.time64("us"),
            {"10:00": time(10), "10:00:00.5": time(10, 0, 0, 500000), "25:00": BAD, "10": BAD, None: None},
        ),
        (pa.large_string(), {"x": "x", "": "", None: None}),
    ],
)
def test_only_text_that_is_wholly_a_valid_value_is_taken(target, cases):
    assert converted(target, list(cases)) == list(cases.values())
    for text, value in cases.items():
        assert converted(target, [text]) == [value]


@given(st.lists(st.one_of(st.none(), st.integers(-(2**64), 2**64).map(str), st.text("+-0123456789x ", max_size=4))))
def test_integers_are_taken_as_python_takes_their_digits(texts):
    def expected(text):
        if text is None:
            return None
        digits = text[1:] if text[:1] in ("+", "-") else text
        fits = digits.isdecimal() and -(2**63) <= int(text) < 2**63
        return int(text) if fits else BAD

    assert converted(pa.int64(), texts) == [expected(text) for text in texts]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False)))
def test_every_finite_number_comes_back_from_its_text(numbers):
    assert converted(pa.float64(), [repr(number) for number in numbers]) == numbers


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (pa.int64(), "9223372036854775808"),
        (pa.int64(), "1" + "0" * 60),
        (pa.decimal128(5, 2), "1.111"),
        (pa.decimal128(38, 9), "1" + "0" * 30),
        (pa.date32(), "2024-13-01"),
        (pa.timestamp("us"), "2024-01-31T10:00:00Z"),
        (pa.timestamp("us", "UTC"), "2024-01-31T10:00:00"),
        (pa.timestamp("us"), "2024-01-31T10:00:00.1234567"),
        (pa.time64("us"), "25:00"),
        (pa.float64(), "1,5"),
        (pa.bool_(), "ja"),
    ],
)
def test_a_column_without_any_valid_value_is_refused_quickly(target, text):
    started = time_module.process_time()
    assert converted(target, [text] * 200_000) == [BAD] * 200_000
    assert time_module.process_time() - started < 3


DECIMALS = {pa.decimal32: 9, pa.decimal64: 18, pa.decimal128: 38, pa.decimal256: 76}


@st.composite
def decimal_types(draw):
    kind = draw(st.sampled_from(list(DECIMALS)))
    precision = draw(st.integers(1, DECIMALS[kind]))
    # What has a scale far past its precision, pyarrow cannot print in 32 and 64 bits, nor zero past the longest one.
    most = min(precision + 9, DECIMALS[kind]) if kind in (pa.decimal128, pa.decimal256) else precision
    return kind(precision, draw(st.one_of(st.integers(0, precision), st.integers(-9, most))))


@st.composite
def decimal_texts(draw):
    """Signs, zeros before and behind, and digits about as many as the types hold."""
    digits = st.text("0123456789", max_size=80)
    zeros = st.integers(0, 45).map("0".__mul__)
    sign, point = draw(st.sampled_from(["", "", "-", "+", "--"])), draw(st.sampled_from([".", ".", "", ",", "E"]))
    return sign + draw(zeros) + draw(digits) + draw(zeros) + point + draw(zeros) + draw(digits) + draw(zeros)


def as_python_takes_it(text, target):
    if not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)", text):
        return BAD
    scaled = Fraction(Decimal(text)) * Fraction(10) ** target.scale
    return Decimal(text) if scaled.denominator == 1 and abs(scaled) < 10**target.precision else BAD


@settings(max_examples=500)
@given(
    st.lists(
        st.one_of(decimal_texts(), st.decimals(allow_nan=False, allow_infinity=False, places=3).map("{:f}".format)),
        min_size=1,
        max_size=5,
    ),
    decimal_types(),
)
def test_decimals_are_taken_as_python_takes_them_or_not_at_all(texts, target):
    expected = [as_python_takes_it(text, target) for text in texts]
    assert converted(target, texts) == expected
    assert [converted(target, [text])[0] for text in texts] == expected


@given(decimal_types(), st.data())
def test_the_largest_and_the_smallest_decimal_of_every_type_are_taken_and_the_next_is_not(target, data):
    sign = data.draw(st.sampled_from([1, -1]))
    places = Decimal(1).scaleb(-target.scale)
    with localcontext(prec=200):
        largest, smallest = sign * (10**target.precision - 1) * places, sign * places
        beyond = [sign * 10**target.precision * places, smallest / 10, largest + smallest / 10]
        texts = [f"{number:f}" for number in (largest, smallest, *beyond)]
        assert converted(target, texts) == [largest, smallest, BAD, BAD, BAD]


@pytest.mark.parametrize("target", [pa.decimal128(38, 9), pa.decimal128(38, 2), pa.decimal32(9, 2)])
@pytest.mark.parametrize("text", [str(2**128 + 1), str(2**256 + 1), "1" * 45, "1" * 38, f"{2**128 + 1}.5", "1e5"])
def test_a_decimal_with_too_many_digits_never_becomes_another(target, text):
    assert converted(target, [text, "0" * 50 + "1.10" + "0" * 50]) == [BAD, Decimal("1.10")]


def test_an_empty_column_has_the_target_type():
    found = convert(pa.chunked_array([], type=pa.string()), pa.date32())
    assert (found.values.type, len(found.values), found.misfits) == (pa.date32(), 0, None)


def test_text_cannot_become_a_list():
    assert not convertible(pa.list_(pa.string()))
    with pytest.raises(TypeError, match="text cannot become list"):
        convert(pa.chunked_array([["x"]]), pa.list_(pa.string()))
