from __future__ import annotations

import json
from datetime import date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from source_reading import read_all

from dataflow.errors import SourceError
from dataflow.store.sources import jsonl
from dataflow.store.sources.shapes import Shape


@pytest.fixture
def write(tmp_path):
    def to(*lines, name="leads.jsonl"):
        path = tmp_path / name
        path.write_bytes(b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines))
        return path

    return to


def types(found):
    return dict(zip(found.table.schema.names, map(str, found.table.schema.types), strict=True))


def rejected(found):
    return [(record.row, record.column, record.raw) for record in found.unreadable]


def test_all_keys_of_all_lines_become_columns_in_order_of_appearance(write):
    found = read_all(jsonl(write('{"b":1,"a":"x"}', '{"c":true}', '{"a":null,"b":2,"d":null}')))
    assert found.table.to_pylist() == [
        {"b": 1, "a": "x", "c": None, "d": None},
        {"b": None, "a": None, "c": True, "d": None},
        {"b": 2, "a": None, "c": None, "d": None},
    ]
    assert types(found) == {"b": "int64", "a": "string", "c": "bool", "d": "string"}


def test_nested_values_become_structs_and_lists(write):
    found = read_all(jsonl(write('{"a":{"x":[1]}}', '{"a":{"y":null,"x":[null,2.5]}}', '{"a":null}', '{"a":{"x":[]}}')))
    assert str(found.table.schema.field("a").type) == "struct<x: list<item: double>, y: string>"
    assert [record["a"] for record in found.table.to_pylist()] == [
        {"x": [1.0], "y": None},
        {"x": [None, 2.5], "y": None},
        None,
        {"x": [], "y": None},
    ]


@pytest.mark.parametrize(
    ("values", "kind", "read"),
    [
        (["1", "2.5"], "double", [1.0, 2.5]),
        (["9007199254740993", "2.50"], "string", ["9007199254740993", "2.50"]),
        (["9007199254740993", "-1"], "int64", [9007199254740993, -1]),
        (["18446744073709551616", "1"], "string", ["18446744073709551616", "1"]),
        (["1", '"01"'], "string", ["1", "01"]),
        (["true", "1"], "string", ["true", "1"]),
        (['{"a": 1.10}', "[1, 2]"], "string", ['{"a": 1.10}', "[1, 2]"]),
        (["{}", "{}"], "string", ["{}", "{}"]),
        (["null", "null"], "string", [None, None]),
        (["[]", "[null]"], "list<item: string>", [[], [None]]),
        (['[1,"a"]', "[2]"], "list<item: string>", [["1", "a"], ["2"]]),
        (['{"k":[1]}', '{"k":{"z":"w"}}'], "struct<k: string>", [{"k": "[1]"}, {"k": '{"z":"w"}'}]),
        (["1e400", '"x"'], "string", ["1e400", "x"]),
    ],
)
def test_one_type_holds_all_values_without_loss(write, values, kind, read):
    found = read_all(jsonl(write(*(f'{{"v": {value}}}' for value in values))), target=1)
    assert types(found) == {"v": kind}
    assert found.table.column("v").to_pylist() == read
    assert found.unreadable == ()


def test_a_column_that_becomes_text_is_noted_with_its_path(write):
    found = read_all(jsonl(write('{"a":{"b":[1]}}', '{"a":{"b":["x"]}}')))
    assert found.plan.notes == (
        "`a.b[]` mixes numbers and text; it is read as text, values that are no strings as their JSON text",
    )


@pytest.mark.parametrize(
    "line",
    [
        b'{"a":1',
        b"[1]",
        b"5",
        b"nonsense",
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":1} x',
        b'{"a":1,"t":"\xff"}',
        b'{"unknown":"\xff"}',
        b'{"t":"\\ud800"}',
        b'{"unknown":"\\ud800"}',
        b'{"t":"a\tb"}',
        b'{"deep":' + b"[" * 201 + b"]" * 201 + b"}",
        b'{"deep":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_a_line_that_is_no_record_is_rejected_alone_with_its_raw_text(write, line):
    found = read_all(jsonl(write('{"a":1,"t":"x"}', "", line, '{"a":3}')))
    assert [record[0] for record in found.records] == [1, 3]
    assert found.rows == [1, 3]
    assert rejected(found) == [(2, found.unreadable[0].column, line.decode(errors="backslashreplace"))]


def test_nesting_up_to_two_hundred_is_read_and_brackets_in_text_do_not_count(write):
    deep = "[" * 199 + "1" + "]" * 199
    found = read_all(jsonl(write(f'{{"d":{deep}}}', '{"t":"' + '[{\\"' * 300 + '"}')))
    assert found.unreadable == ()
    assert found.table.num_rows == 2


def test_values_that_do_not_fit_what_is_declared_are_rejected_with_the_column(write):
    lines = ['{"a":1}', '{"a":1.5}', '{"a":"7"}', '{"a":true}', '{"a":9223372036854775808}', '{"a":null}', "{}"]
    found = read_all(jsonl(write(*lines)), {"a": pa.int64()})
    assert found.table.column("a").to_pylist() == [1, None, None]
    assert rejected(found) == [(row, "a", lines[row - 1]) for row in (2, 3, 4, 5)]
    assert found.unreadable[0].error == "expected int | null, got float"


def test_an_integer_past_the_exact_ones_is_no_floating_point_number(write):
    found = read_all(jsonl(write('{"a":9007199254740992}', '{"a":9007199254740993}', '{"a":0.1}')), {"a": pa.float64()})
    assert found.table.column("a").to_pylist() == [9007199254740992.0, 0.1]
    assert rejected(found) == [(2, "a", '{"a":9007199254740993}')]


def test_dates_times_and_decimals_come_from_text(write):
    lines = [
        '{"d":"2024-02-29","t":"2024-02-29 10:00:00","m":1.10}',
        '{"d":"2024-02-30","m":2}',
        '{"m":"3.5"}',
        '{"d":5}',
    ]
    wanted = {"d": pa.date32(), "t": pa.timestamp("us"), "m": pa.decimal128(10, 2)}
    found = read_all(jsonl(write(*lines)), wanted)
    assert found.records == [
        (date(2024, 2, 29), datetime(2024, 2, 29, 10), Decimal("1.10")),
        (None, None, Decimal("3.50")),
    ]
    assert rejected(found) == [(2, "d", lines[1]), (4, "d", lines[3])]


def test_a_value_that_only_arrow_refuses_is_rejected_alone(write):
    lines = ['{"u":[1.5],"v":1}', '{"u":[1.2345],"v":2}', '{"u":null,"v":18446744073709551616}', '{"v":3}']
    wanted = {"u": pa.list_(pa.decimal128(4, 2)), "v": pa.uint64()}
    found = read_all(jsonl(write(*lines)), wanted)
    assert found.records == [([Decimal("1.50")], 1), (None, 3)]
    assert rejected(found) == [(2, "u", lines[1]), (3, "v", lines[2])]


def test_numbers_wanted_as_text_are_their_json_text(write):
    found = read_all(jsonl(write('{"zip":1.10}', '{"zip":"01234"}', '{"zip":null}')), {"zip": pa.string()})
    assert found.table.column("zip").to_pylist() == ["1.10", "01234", None]


def test_the_schema_is_stronger_than_what_is_wanted_and_than_the_values(write):
    found = read_all(jsonl(write('{"a":1,"b":2}'), schema={"a": float, "z": int}), {"a": pa.int64()})
    assert types(found) == {"a": "double", "b": "int64", "z": "int64"}
    assert found.plan.notes == ("no record has `z`; it is null",)


def test_objects_read_as_a_smaller_declared_one_say_what_is_left_out(write):
    found = read_all(jsonl(write('{"a":{"x":1,"y":2}}')), {"a": pa.struct([("x", pa.int64())])})
    assert found.table.column("a").to_pylist() == [{"x": 1}]
    assert found.plan.notes == ("`a` keeps only the declared keys of its objects, not y",)


def test_without_inference_the_columns_are_those_of_the_schema(write):
    path = write('{"a":1,"b":2}', '{"a":"x"}', "{}")
    found = read_all(jsonl(path, schema={"a": str}, infer=False))
    assert found.records == [("1",), ("x",), (None,)]
    assert found.plan.specs[0].rows == -1
    assert [spec.rows for spec in jsonl(path, schema={"a": str}, infer=False).plan({}, target_bytes=12).specs] == [
        1,
        1,
        1,
    ]


def test_without_inference_a_schema_is_needed():
    with pytest.raises(SourceError, match="infer=False needs schema"):
        jsonl("x.jsonl", infer=False)


def test_a_type_that_json_has_not_is_refused(write):
    with pytest.raises(SourceError, match="JSON cannot be read as binary"):
        read_all(jsonl(write("{}"), schema={"a": bytes}))


def test_slices_are_cut_at_newlines_and_know_their_rows(write):
    lines = [json.dumps({"i": i, "t": "x\ny" * (i % 5)}) if i % 7 else "" for i in range(300)]
    found = read_all(jsonl(write(*lines)), target=500)
    assert found.table.column("i").to_pylist() == [i for i in range(300) if i % 7]
    assert found.rows == list(range(1, 258))
    assert len(found.plan.specs) > 10


def test_a_byte_order_mark_and_carriage_returns_do_not_matter(write):
    found = read_all(jsonl(write(b'\xef\xbb\xbf{"a":1}\r', b' {"a":2} \r', b"\r", b'{"a":3}')))
    assert found.records == [(1,), (2,), (3,)]


def test_a_line_longer_than_a_block_is_read(write):
    found = read_all(jsonl(write('{"a":"' + "x" * 10_000_000 + '"}', '{"a":"y"}')), target=1000)
    assert [len(record[0]) for record in found.records] == [10_000_000, 1]


@pytest.mark.parametrize("text", ['[{"a":1},\n{"a":2}]', " \n [1]"])
def test_a_json_array_is_refused_with_a_way_out(write, text):
    with pytest.raises(SourceError, match="holds one JSON array; write one object a line"):
        read_all(jsonl(write(text, name="leads.json")))


def test_one_object_spread_over_lines_is_refused(write):
    with pytest.raises(SourceError, match="none of 3 lines holds a JSON object"):
        read_all(jsonl(write("{", '"a": 1', "}")))


def test_utf16_is_refused(write):
    with pytest.raises(SourceError, match="is UTF-16"):
        read_all(jsonl(write('{"a":1}'.encode("utf-16"))))


@pytest.mark.parametrize("text", [b"", b"\n \n"])
def test_a_file_without_records_has_the_columns_that_are_wanted(write, text):
    found = read_all(jsonl(write(text), schema={"b": str}), {"a": pa.int64()})
    assert types(found) == {"b": "string", "a": "int64"}
    assert found.table.num_rows == 0


def test_objects_without_any_key_have_the_columns_that_are_wanted_or_are_refused(write):
    assert read_all(jsonl(write("{}", "{}")), {"a": pa.int64()}).records == [(None,), (None,)]
    with pytest.raises(SourceError, match="no object has any key"):
        read_all(jsonl(write("{}")))


def test_the_last_of_two_equal_keys_holds(write):
    assert read_all(jsonl(write('{"a":1,"a":2}'))).records == [(2,)]


def test_keys_that_are_data_do_not_become_thousands_of_columns(write):
    crowd = json.dumps({"m": {f"k{i}": i for i in range(2001)}})
    found = read_all(jsonl(write(crowd)))
    assert types(found) == {"m": "string"}
    assert len(json.loads(found.records[0][0])) == 2001
    with pytest.raises(SourceError, match="more than 2,000 different keys"):
        read_all(jsonl(write(json.dumps({f"k{i}": i for i in range(2001)}))))


def test_files_of_one_source_share_one_schema(write, tmp_path):
    write('{"a":1}', name="1.jsonl")
    write('{"a":2.5,"b":{"c":1}}', name="2.jsonl")
    write('{"b":{"d":"x"}}', name="3.jsonl")
    found = read_all(jsonl(tmp_path))
    assert types(found) == {"a": "double", "b": "struct<c: int64, d: string>"}
    assert [record[0] for record in found.records] == [1.0, 2.5, None]


def test_shapes_merge_to_what_one_shape_would_have_seen():
    values = [{"a": 1}, {"a": [1, {"b": 2**60}]}, {"a": None, "c": {"d": 0.5}}, {"c": {"d": 2**60, "e": [True]}}]
    whole, left, right = Shape(), Shape(), Shape()
    for number, value in enumerate(values):
        whole.observe(value)
        (left if number < 2 else right).observe(value)
    left.merge(right)
    assert left == whole


@pytest.mark.parametrize("quoted", [True, False])
@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize(
    "target", [pa.decimal128(38, 9), pa.decimal128(38, 2), pa.decimal32(9, 2), pa.decimal256(76, 2)]
)
def test_a_decimal_with_too_many_digits_rejects_its_record_and_no_other(write, target, *, nested, quoted):
    numbers = [str(2**128 + 1), str(2**256 + 1), "1" * 45, "1" * 90, "1.10", "-0.5", "1.125"]
    cells = [f'"{number}"' if quoted else number for number in numbers]
    lines = [f'{{"a":{{"x":{cell}}}}}' if nested else f'{{"a":{cell}}}' for cell in cells]
    found = read_all(jsonl(write(*lines), schema={"a": pa.struct([("x", target)]) if nested else target}))
    fitting = {
        row: Decimal(number)
        for row, number in enumerate(numbers, 1)
        if abs(Decimal(number)) < Decimal(10) ** (target.precision - target.scale)
        and -Decimal(number).as_tuple().exponent <= target.scale
    }
    assert dict(zip(found.rows, [one["x"] if nested else one for (one,) in found.records], strict=True)) == fitting
    assert sorted([*fitting, *(record.row for record in found.unreadable)]) == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize(
    "line", ['{"a\\ud800":1,"b":2}', '{"b":{"\\udfff":1}}', '{"b":[{"x":"\\ud800"}]}', '{"c":"\\ud83d"}']
)
def test_half_a_character_in_a_key_or_a_value_rejects_its_record_alone(write, line):
    found = read_all(jsonl(write('{"b":1}', line, '{"b":3}')))
    assert found.table.to_pylist() == [{"b": 1}, {"b": 3}]
    assert [(record.row, record.raw) for record in found.unreadable] == [(2, line)]


def test_keys_of_any_script_keep_their_values_however_they_are_written(write):
    lines = [
        '{"größe":1,"a":{"名":[{"é":"x"}],"b":2}}',
        '{"gr\\u00f6\\u00dfe":2,"\\ud83d\\ude00":1.5,"a":null}',
        '{"größe":"x"}',
    ]
    for schema in ({}, {"größe": pa.int64()}):
        found = read_all(jsonl(write(*lines[: 2 + len(schema)]), schema=schema))
        assert found.table.to_pylist() == [
            {"größe": 1, "a": {"名": [{"é": "x"}], "b": 2}, "😀": None},
            {"größe": 2, "a": None, "😀": 1.5},
        ]
        assert [(record.row, record.column) for record in found.unreadable] == [(3, "größe")] * len(schema)
    mixed = read_all(jsonl(write('{"a":{"é":1}}', '{"a":{"é":"x"}}')))
    assert mixed.table.to_pylist() == [{"a": {"é": "1"}}, {"a": {"é": "x"}}]
