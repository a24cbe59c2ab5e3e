from __future__ import annotations

import csv
import io
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.store.sources.cuts import Cut, Marks, cut, record_ends
from dataflow.store.sources.lines import cut_lines, lines
from dataflow.store.sources.parsing import parse

COMMA = Marks(delimiter=b",", quote=b'"')
UNQUOTED = Marks(delimiter=b",", quote=None)
HOSTILE = st.lists(st.sampled_from(["a", ",", '"', "\n", "\r", "\r\n", '""', '","', 'é"']), max_size=60).map("".join)


def fields(text: bytes, marks: Marks) -> list[list[str]]:
    lines_of = io.StringIO(text.decode(), newline="")
    if marks.quote is None:
        return [row for row in csv.reader(lines_of, quoting=csv.QUOTE_NONE) if row]
    return [row for row in csv.reader(lines_of) if row]


def blocks(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@given(HOSTILE, st.integers(1, 9), st.integers(1, 30), st.sampled_from([COMMA, UNQUOTED]))
@settings(max_examples=1500, deadline=None)
def test_the_slices_of_any_text_hold_together_the_records_of_the_whole(text, size, target, marks):
    data = text.encode()
    cuts = cut(blocks(data, size), marks, target=target)
    pieces = [fields(data[piece.start : piece.stop], marks) for piece in cuts.slices]
    assert [row for piece in pieces for row in piece] == fields(data, marks)
    assert [len(piece) for piece in pieces] == [piece.rows for piece in cuts.slices]


@given(HOSTILE, st.integers(1, 9), st.integers(1, 30))
@settings(max_examples=500, deadline=None)
def test_slices_touch_each_other_and_cover_the_text(text, size, target):
    data = text.encode()
    slices = cut(blocks(data, size), COMMA, target=target, start=7).slices
    assert all(one.stop == other.start for one, other in pairwise(slices))
    assert not slices or (slices[0].start, slices[-1].stop) == (7, 7 + len(data))


@given(HOSTILE)
@settings(max_examples=1000, deadline=None)
def test_the_parser_counts_the_records_that_the_scanner_counts(text):
    data = text.encode()
    parsed = parse(data, COMMA, names=("x", "y"), null_values=())
    cuts = cut([data], COMMA, target=1 << 20)
    assert parsed.unclosed == (cuts.unclosed is not None)
    assert parsed.count == len(record_ends(data, COMMA)) == sum(piece.rows for piece in cuts.slices)


@given(HOSTILE, st.sampled_from([COMMA, UNQUOTED]))
@settings(max_examples=1000, deadline=None)
def test_the_parser_reads_fields_as_the_standard_library_does(text, marks):
    data = text.encode()
    parsed = parse(data, marks, names=("x", "y"), null_values=())
    expected = [] if parsed.unclosed else [tuple(row) for row in fields(data, marks) if len(row) == 2]
    found = [] if parsed.unclosed else [tuple(row.values()) for row in parsed.table.to_pylist()]
    assert found == expected


@given(HOSTILE)
@settings(max_examples=500, deadline=None)
def test_a_ragged_record_is_known_by_its_number_and_its_text(text):
    data = text.encode()
    parsed = parse(data, COMMA, names=("x", "y"), null_values=())
    if not parsed.unclosed:
        rows = fields(data, COMMA)
        for record in parsed.ragged:
            assert len(rows[record.number - 1]) == record.fields
            assert fields(record.raw.encode(), COMMA) == [rows[record.number - 1]]


def test_a_block_may_end_anywhere_in_a_quoted_field_with_stray_quotes_around():
    data = b'5" pipe,x\n"a ""b""\r\n,c",d\r\n"e"f"g,h\n'
    expected = cut([data], COMMA, target=1).slices
    assert [piece.rows for piece in expected] == [1, 1, 1]
    for size in range(1, len(data)):
        assert cut(blocks(data, size), COMMA, target=1).slices == expected


def test_an_open_quote_is_named_by_its_record():
    assert cut([b'a,b\n\n1,"2\n3,4\n'], COMMA, target=100).unclosed == 2


def test_blank_lines_are_no_records():
    assert cut([b"\n\r\n1\n\r2\r\n\r\n"], COMMA, target=100).slices == (Cut(start=0, stop=11, rows=2),)


@pytest.mark.parametrize("data", [b"", b"\n\n\r\n"])
def test_a_text_without_records_has_no_slices(data):
    assert cut([data], COMMA, target=1).slices == ()


def test_the_fast_and_the_exact_way_find_the_same_ends_in_a_long_text():
    proper = b'"a ""quoted"" word","two\nlines",3\n' * 5000
    stray = b'x,5" pipe,"y"\n'
    assert len(record_ends(proper, COMMA)) == 5000
    assert len(record_ends(stray + proper + stray, COMMA)) == 5002


def test_a_text_of_many_blocks_is_parsed_as_it_is_scanned():
    records = [b'1,"x\r\ny"\r\n', b"\n", b'5" pipe,"a""b"c\r', b"ragged\n", b'"\n","\r"\n', "é,ß\n".encode()]
    data = b"".join(records) * 200_000
    parsed = parse(data, COMMA, names=("x", "y"), null_values=())
    assert len(data) > 2 * (4 << 20)
    assert parsed.table.num_rows == 4 * 200_000
    assert parsed.count == len(record_ends(data, COMMA)) == 5 * 200_000
    assert [record.number for record in parsed.ragged] == list(range(3, 5 * 200_000, 5))
    assert {record.raw for record in parsed.ragged} == {"ragged"}


@given(
    st.lists(st.sampled_from([b"{}", b" ", b"\n", b"\r\n", b"x"]), max_size=40), st.integers(1, 5), st.integers(1, 9)
)
def test_lines_are_the_same_for_every_size_of_block(parts, size, target):
    data = b"".join(parts)
    found = list(lines(blocks(data, size), start=3))
    assert [line for line, _ in found] == [line.strip() for line in data.split(b"\n") if line.strip()]
    slices = list(cut_lines((stop for _, stop in found), target=target, start=3))
    again = [line for piece in slices for line, _ in lines([data[piece.start - 3 : piece.stop - 3]])]
    assert again == [line for line, _ in found]
    assert sum(piece.rows for piece in slices) == len(found)


def test_a_text_that_is_not_utf8_is_refused_by_the_parser():
    with pytest.raises(pa.ArrowInvalid):
        parse(b"caf\xe9,1\n", COMMA, names=("x", "y"), null_values=())
