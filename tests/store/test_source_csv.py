from __future__ import annotations

import os
from datetime import date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from source_reading import read_all

from dataflow.errors import SourceError
from dataflow.plan.partitions import Unreadable
from dataflow.store.sources import csv, read, read_table

INT = pa.int64()


@pytest.fixture
def write(tmp_path):
    def to(data, name="leads.csv"):
        path = tmp_path / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return path

    return to


@pytest.mark.parametrize(
    ("data", "records"),
    [
        pytest.param('a,b\n1,"x\ny"\n2,z\n', [("1", "x\ny"), ("2", "z")], id="newline within quotes"),
        pytest.param("\ufeffa,b\n1,2\n", [("1", "2")], id="byte order mark"),
        pytest.param('a,b\r\n1,2\r\n3,"q\r\nr"\r\n', [("1", "2"), ("3", "q\r\nr")], id="carriage returns"),
        pytest.param("a,b\r1,2\r3,4\r", [("1", "2"), ("3", "4")], id="old newlines"),
        pytest.param("a,b\n1,x\0y\n", [("1", "x\0y")], id="NUL"),
        pytest.param("a,b\n007,+49 30\n", [("007", "+49 30")], id="zip code and phone"),
        pytest.param("a,b\n99999999999999999999,1.10\n", [("99999999999999999999", "1.10")], id="long number"),
        pytest.param("a,b\n1,2", [("1", "2")], id="no newline at the end"),
        pytest.param('a,b\n5" pipe,"w"v\n', [('5" pipe', "wv")], id="stray quotes"),
        pytest.param('a,b\n"p" , "q"\n', [("p ", ' "q"')], id="spaces beside quotes stay"),
        pytest.param("a,b\n\n1,2\n\r\n\n3,4\n\n", [("1", "2"), ("3", "4")], id="blank lines"),
        pytest.param('a,b\n,""\nx,y\n', [(None, None), ("x", "y")], id="empty is null"),
        pytest.param("a,b\n", [], id="header only"),
        pytest.param("a,b", [], id="header without newline"),
        pytest.param("\n\na,b\n1,2\n", [("1", "2")], id="blank lines before the header"),
        pytest.param('"a\n1","b ""c"""\n1,2\n', [("1", "2")], id="quoted header"),
    ],
)
def test_text_comes_out_as_it_is_written(write, data, records):
    found = read_all(csv(write(data)))
    assert found.records == records
    assert found.rows == list(range(1, len(records) + 1))
    assert found.unreadable == ()


def test_names_of_a_quoted_header_are_kept_whole(write):
    assert read_all(csv(write('"a\n1","b ""c"""\n1,2\n'))).table.column_names == ["a\n1", 'b "c"']


def test_a_ragged_row_is_rejected_with_its_raw_text(write):
    found = read_all(csv(write('a,b\n1,2\n\n"x\ny"\n4,5,"6"\n7,8\n')))
    assert found.records == [("1", "2"), ("7", "8")]
    assert found.rows == [1, 4]
    assert found.unreadable == (
        Unreadable(row=2, column=None, error="the record has 1 fields, the file has 2 columns", raw='"x\ny"'),
        Unreadable(row=3, column=None, error="the record has 3 fields, the file has 2 columns", raw='4,5,"6"'),
    )


def test_a_cell_that_is_no_value_of_its_type_rejects_its_record_with_the_column_named(write):
    found = read_all(csv(write('a,b\n1,x\n\n9223372036854775808,"y, z"\r\n3,z\n')), {"a": INT})
    assert found.records == [(1, "x"), (3, "z")]
    assert found.rows == [1, 3]
    assert found.unreadable == (
        Unreadable(row=2, column="a", error="the text is no valid int64", raw='9223372036854775808,"y, z"'),
    )


def test_numbers_that_turn_into_text_late_stay_text_or_are_rejected_alone(write):
    path = write("a,b\n" + "1,2\n" * 100_500 + "x,2\n")
    assert read_all(csv(path)).table.column("a")[-1].as_py() == "x"
    typed = read_all(csv(path), {"a": INT}, target=100_000)
    assert [(record.row, record.raw) for record in typed.unreadable] == [(100_501, "x,2")]
    assert typed.table.num_rows == 100_500


def test_ragged_and_unfit_records_are_listed_in_their_order(write):
    found = read_all(csv(write("a,b\nx,1\n2\n3,3\ny,4\n5\n")), {"a": INT})
    assert [record.row for record in found.unreadable] == [1, 2, 4, 5]
    assert found.rows == [3]


def test_a_field_of_ten_megabytes_is_read(write):
    found = read_all(csv(write(b"a,b\n1," + b"x" * 10_000_000 + b'\n2,"' + b"y" * 9_000_000 + b'"\n')), target=1 << 20)
    assert [len(record[1]) for record in found.records] == [10_000_000, 9_000_000]
    assert len(found.plan.specs) == 2


@pytest.mark.parametrize("target", [1 << 26, 64])
def test_latin1_bytes_are_an_error_that_names_line_and_way_out(write, target):
    path = write(b"a,b\n" + b"1,ok\n" * 40_000 + b'2,"caf\xe9\n"\n')
    with pytest.raises(SourceError, match=r'leads\.csv, line 40002: .*try encoding="latin-1"'):
        read_all(csv(path), target=target)


@pytest.mark.parametrize("target", [1 << 26, 64])
def test_a_line_of_latin1_among_lines_of_utf8_is_no_reason_to_read_all_as_latin1(write, target):
    path = write(b"a,b\n" + "1,café\n".encode() * 40_000 + b"2,caf\xe9\n" + "3,é\n".encode())
    with pytest.raises(SourceError, match=r"line 40002: .* utf-8; of 40,002 lines beyond ASCII 1 are no UTF-8"):
        read_all(csv(path), target=target)


def test_latin1_bytes_in_a_ragged_record_are_an_error_too(write):
    with pytest.raises(SourceError, match="line 40002: the bytes are not utf-8"):
        read_all(csv(write(b"a,b\n" + b"1,ok\n" * 40_000 + b"caf\xe9\n")))


def test_bytes_that_are_not_utf8_near_the_beginning_are_found_when_planned(write):
    with pytest.raises(SourceError, match="line 1: the bytes are not utf-8"):
        csv(write(b"na\xefve,b\n")).plan({}, target_bytes=1 << 26)


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-16-le", "utf-8-sig", "gb18030", "shift_jis"])
@pytest.mark.parametrize("target", [1 << 20, 300])
def test_a_given_encoding_is_read_in_slices_too(write, encoding, target):
    word = "日本" if encoding in ("gb18030", "shift_jis") else "café"
    text = "name,b\n" + "".join(f'{word}{i},"x\ny"\n' for i in range(100))
    found = read_all(csv(write(text.encode(encoding)), encoding=encoding), target=target)
    assert found.records == [(f"{word}{i}", "x\ny") for i in range(100)]
    assert found.rows == list(range(1, 101))


def test_bytes_outside_of_a_given_encoding_name_their_line(write):
    with pytest.raises(SourceError, match=r"line 3: the bytes are not ascii"):
        read_all(csv(write(b"a,b\n1,2\n3,\xe9\n"), encoding="ascii"))
    with pytest.raises(SourceError, match=r"line 3: the bytes are not utf-16"):
        read_all(csv(write("a\nb\nc".encode("utf-16") + b"\x00\xd8\x00"), encoding="utf-16"))


def test_utf16_without_being_told_says_what_it_is(write):
    with pytest.raises(SourceError, match='try encoding="utf-16"'):
        read_all(csv(write("a,b\n1,2\n".encode("utf-16"))))
    with pytest.raises(SourceError, match='try encoding="utf-16-le"'):
        read_all(csv(write("a,b\n1,2\n".encode("utf-16-le"))))


def test_an_unknown_encoding_is_refused_at_once():
    with pytest.raises(SourceError, match="encoding 'latin-9000' is not known"):
        csv("x.csv", encoding="latin-9000")
    with pytest.raises(SourceError, match="encoding 'base64' is not known"):
        csv("x.csv", encoding="base64")


def test_a_header_that_has_names_twice_is_refused_until_names_are_given(write):
    path = write("id,mail,mail,id\n1,2,3,4\n")
    with pytest.raises(
        SourceError, match=r"the header has `id`, `mail` more than once; give all 4 .* names=\[\.\.\.\]"
    ):
        read_all(csv(path))
    assert read_all(csv(path, names=["a", "b", "c", "d"])).records == [("1", "2", "3", "4")]


def test_a_column_without_a_name_is_called_by_its_place(write):
    found = read_all(csv(write(",a, ,\n0,1,2,3\n")))
    assert found.table.column_names == ["column_1", "a", "column_3", "column_4"]
    assert "no name for `column_1`, `column_3`, `column_4`" in found.plan.notes[0]


def test_a_generated_name_that_is_taken_is_refused(write):
    with pytest.raises(SourceError, match="`column_1` is taken"):
        read_all(csv(write(",column_1\n")))


def test_a_headerless_file_has_the_given_names(write):
    found = read_all(
        csv(write("1,Köln,\\N\n2,,x\n"), header=False, names=["id", "city", "code"], null_values=("", "\\N"))
    )
    assert found.table.to_pylist() == [
        {"id": "1", "city": "Köln", "code": None},
        {"id": "2", "city": None, "code": "x"},
    ]


def test_a_headerless_file_needs_names():
    with pytest.raises(SourceError, match="header=False needs names="):
        csv("x.csv", header=False)


@pytest.mark.parametrize("header", [True, False])
def test_names_that_do_not_fit_the_file_are_refused(write, header):
    with pytest.raises(SourceError, match=r"names= has 2 names, the .* has 3 fields"):
        read_all(csv(write("a,b,c\n"), header=header, names=["a", "b"]))


def test_null_words_are_an_option_and_one_word_may_stand_alone(write):
    path = write('a,b\n\\N,"NULL"\n,x\n')
    assert read_all(csv(path, null_values=("\\N", "NULL"))).records == [(None, None), ("", "x")]
    assert read_all(csv(path, null_values="\\N")).records == [(None, "NULL"), ("", "x")]
    assert read_all(csv(path, null_values=())).records == [("\\N", "NULL"), ("", "x")]


@pytest.mark.parametrize("delimiter", [";", "\t", "|", "^"])
def test_other_delimiters(write, delimiter):
    text = "a,b\n1,'x,y'\n'5' ,2\n".replace(",", delimiter).replace(f"x{delimiter}y", f"x{delimiter}\ny")
    found = read_all(csv(write(text), delimiter=delimiter, quote="'"), target=5)
    assert found.records == [("1", f"x{delimiter}\ny"), ("5 ", "2")]


def test_tsv_has_tabs_unless_told_otherwise(write):
    path = write("a\tb\n1\t2,3\n", name="leads.tsv")
    assert read_all(csv(path)).records == [("1", "2,3")]
    assert read_all(csv(path, delimiter=",", names=["x"])).unreadable[0].raw == "1\t2,3"


def test_without_a_quote_character_quotes_are_ordinary(write):
    found = read_all(csv(write('a,b\n"x,y"\n"open,z\n'), quote=None), target=5)
    assert found.records == [('"x', 'y"'), ('"open', "z")]


@pytest.mark.parametrize("options", [{"delimiter": ";;"}, {"delimiter": "\n"}, {"quote": "“"}, {"delimiter": '"'}])
def test_delimiters_and_quotes_that_cannot_be_are_refused(options):
    with pytest.raises(SourceError, match=r"delimiter|quote"):
        csv("x.csv", **options)


@pytest.mark.parametrize("target", [1 << 20, 64])
@pytest.mark.parametrize("end", ["", "\n", '""', "\n5,6\n"])
def test_a_quote_that_is_never_closed_is_named_by_its_row(write, target, end):
    path = write("a,b\n" + "1,2\n" * 30 + '3,"open' + end)
    with pytest.raises(SourceError, match=r"leads\.csv, row 31: a quote opens in this record and is never closed"):
        read_all(csv(path), target=target)


def test_a_single_column_can_be_ragged_and_unclosed_too(write):
    assert read_all(csv(write("a\n1\n2,3\n"))).unreadable[0].raw == "2,3"
    with pytest.raises(SourceError, match="row 2"):
        read_all(csv(write('a\n1\n"2\n')))


def test_an_empty_file_has_no_header(write):
    with pytest.raises(SourceError, match="is empty, so it has no header"):
        read_all(csv(write("")))
    with pytest.raises(SourceError, match="is empty, so it has no header"):
        read_all(csv(write("\n\n")))


def test_an_empty_file_with_given_names_has_no_records(write):
    plan = csv(write(""), header=False, names=["a"]).plan({"a": INT}, target_bytes=10)
    assert (plan.specs, plan.schema) == ((), pa.schema([("a", INT)]))


def test_an_empty_file_among_others_is_passed_over(write, tmp_path):
    write("a,b\n1,2\n", name="1.csv")
    write("", name="2.csv")
    assert read_all(csv(tmp_path)).records == [("1", "2")]


def test_files_may_order_their_columns_differently_and_lack_some(write, tmp_path):
    write("a,b\n1,2\n", name="1.csv")
    write("b,c,a\n3,4,5\n", name="2.csv")
    found = read_all(csv(tmp_path), {"c": INT})
    assert found.records == [("1", "2", None), ("5", "3", 4)]
    assert found.plan.notes == ("not in every file and null elsewhere: `c`",)


@pytest.mark.parametrize("target", [1 << 20, 50])
def test_slices_hold_together_what_the_whole_holds(write, target):
    text = "a,b\n" + "".join(f'{i},"x\n""{i}"""\n' if i % 3 else f"{i}\n\n" for i in range(200))
    found = read_all(csv(write(text)), {"a": INT}, target=target)
    assert found.records == [(i, f'x\n"{i}"') for i in range(200) if i % 3]
    assert found.rows == [i + 1 for i in range(200) if i % 3]
    assert [(record.row, record.raw) for record in found.unreadable] == [(i + 1, str(i)) for i in range(0, 200, 3)]
    assert len(found.plan.specs) == 1 or len(found.plan.specs) > 20


def test_small_files_are_one_slice_that_is_not_counted_and_large_ones_are_counted(write):
    path = write("a,b\n" + "1,2\n" * 1000)
    (whole,) = csv(path).plan({}, target_bytes=4004).specs
    assert (whole.start, whole.stop, whole.rows) == (4, -1, -1)
    two = csv(path).plan({}, target_bytes=3999).specs
    assert [spec.rows for spec in two] == [500, 500]
    assert [spec.first_row for spec in two] == [1, 501]
    assert [spec.size for spec in two] == [2000, 2000]


def test_slices_of_an_unchanged_file_keep_their_identity(write):
    path = write("a,b\n" + "1,2\n" * 1000)
    one, other = (csv(path).plan({}, target_bytes=500) for _ in range(2))
    assert one == other
    assert len({spec.identity for spec in one.specs}) == len(one.specs) > 5


def test_a_file_that_has_changed_since_it_was_planned_is_refused(write):
    path = write("a,b\n1,2\n")
    plan = csv(path).plan({}, target_bytes=100)
    path.write_text("a,b\n1,3\n")
    os.utime(path, ns=(1, 1))
    with pytest.raises(SourceError, match="has changed since the run was planned"):
        read(plan.options, plan.specs[0], schema=plan.schema)


def test_types_come_from_the_schema_then_from_the_first_reader_else_text(write):
    path = write("i,d,f,b,t,m,s\n+1,2024-02-29,1e3,TRUE,2024-01-31T10:00:00,1.10,5\n")
    wanted = {"i": INT, "d": pa.date32(), "f": pa.float64(), "b": pa.bool_(), "t": pa.timestamp("us"), "m": INT}
    (record,) = read_all(csv(path, schema={"m": Decimal}), wanted).records
    moment = datetime(2024, 1, 31, 10)
    assert record == (1, date(2024, 2, 29), 1000.0, True, moment, Decimal("1.10"), "5")


def test_a_schema_takes_annotations_arrow_types_and_arrow_schemas(write):
    path = write("a,b\n1,2\n")
    for schema in ({"a": int, "b": pa.int8()}, pa.schema([("a", INT), ("b", pa.int8())])):
        assert read_all(csv(path, schema=schema)).table.schema.types == [INT, pa.int8()]


def test_a_schema_for_a_column_that_is_not_there_asks_the_likely_question(write):
    with pytest.raises(SourceError, match=r"names `emial`, .* did you mean `email`"):
        read_all(csv(write("email,b\n"), schema={"emial": str}))


def test_a_type_that_text_cannot_be_is_refused_in_the_schema_and_noted_when_wanted(write):
    path = write("a,b\nx,y\n")
    with pytest.raises(SourceError, match="text cannot be read as list"):
        read_all(csv(path, schema={"a": list[str]}))
    found = read_all(csv(path), {"a": pa.list_(pa.string())})
    assert found.records == [("x", "y")]
    assert "stays text" in found.plan.notes[0]


def test_one_column_with_other_delimiters_in_its_name_is_noted(write):
    assert "another delimiter= may be meant" in read_all(csv(write("a;b\n1;2\n"))).plan.notes[0]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "-20", ""], INT),
        (["007", "1"], pa.string()),
        (["+49", "1"], pa.string()),
        (["1.5", "0.25", "3.0", "1e-05", "1e+16"], pa.float64()),
        (["1.10"], pa.string()),
        (["1", "1.5"], pa.string()),
        (["9007199254740993.0"], pa.string()),
        (["99999999999999999999"], pa.string()),
        (["true", "false"], pa.bool_()),
        (["True"], pa.string()),
        (["2024-02-29"], pa.date32()),
        (["2024-02-30"], pa.string()),
        (["", ""], pa.string()),
        (["1", "2", "x"], pa.string()),
    ],
)
@pytest.mark.parametrize("target", [1 << 20, 12])
def test_types_are_inferred_only_where_every_value_reads_back_to_the_same_text(write, values, kind, target):
    path = write("k,v\n" + "".join(f"k,{value}\n" for value in values))
    assert read_all(csv(path, infer=True), target=target).table.schema.field("v").type == kind


def test_what_is_declared_is_not_inferred(write):
    found = read_all(csv(write("a,b,c\n1,2,3\n"), infer=True, schema={"a": str}), {"b": pa.float64()})
    assert found.records == [("1", 2.0, 3)]


def test_reference_data_with_an_unreadable_record_is_refused(write):
    with pytest.raises(SourceError, match=r"row 2: the record has 1 fields"):
        read_table(csv(write("a,b\n1,2\n3\n")))
    assert read_table(csv(write("a,b\n1,2\n"), infer=True)).to_pylist() == [{"a": 1, "b": 2}]


def test_compressed_data_under_a_plain_name_is_told(write):
    with pytest.raises(SourceError, match=r"holds \.gz data though its name does not say so"):
        read_all(csv(write(b"\x1f\x8b\x08abc")))


def test_a_header_without_an_end_is_refused(write):
    with pytest.raises(SourceError, match="the first line does not end within 16 MB"):
        read_all(csv(write(b'a,"' + b"b" * (17 << 20))))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param('id,"name,city\n' + "1,a,b\n" * 5000, id="never closed"),
        pytest.param('id,"name,city', id="never closed, and nothing behind it"),
        pytest.param('id,"name,city\n1,a,b\n2,"x",c\n3,d,e\n', id="closed by a later quote"),
        pytest.param('id,"name,city\n1,a,6"\n2,b,c\n3,d,e\n', id="closed by a sign for inches"),
        pytest.param('id,"name,city\r1,a,b\r2,"x",c\r', id="old newlines"),
    ],
)
def test_a_quote_in_the_header_swallows_no_records(write, data):
    with pytest.raises(SourceError, match=r"leads.csv: a quote \(\"\) in the header is not closed .* quote=None"):
        read_all(csv(write(data)))
    assert read_all(csv(write(data), quote=None)).plan.schema.names == ["id", '"name', "city"]


@pytest.mark.parametrize(
    ("data", "names"),
    [
        ('id,"First\nName",z\n1,a,b\n', ["id", "First\nName", "z"]),
        ('"a" ,b\n1,2\n', ["a ", "b"]),
        ('5" pipe,b\n1,2\n', ['5" pipe', "b"]),
        ('id,"First, or\nLast"\n1,"a"\n', ["id", "First, or\nLast"]),
        ('"all\nof it"\n', ["all\nof it"]),
    ],
)
def test_a_name_may_have_quotes_and_lines_of_its_own(write, data, names):
    assert read_all(csv(write(data))).plan.schema.names == names


@pytest.mark.parametrize("target", [pa.decimal128(38, 9), pa.decimal128(38, 2)])
def test_a_decimal_with_too_many_digits_rejects_its_record_and_no_other(tmp_path, target):
    path = tmp_path / "a.csv"
    path.write_text(f"a,b\n{2**128 + 1},x\n1.10,y\n{'1' * 45},z\n{'0' * 40}2,w\n")
    found = read_all(csv(path, schema={"a": target}))
    assert found.records == [(Decimal("1.10"), "y"), (Decimal(2), "w")]
    assert [(record.row, record.column) for record in found.unreadable] == [(1, "a"), (3, "a")]
