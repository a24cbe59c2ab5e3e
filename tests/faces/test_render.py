from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest

import dataflow as flow
from dataflow.faces import render
from dataflow.faces.datasets import dataset_html
from dataflow.faces.view import DatasetView, RunView
from dataflow.wiring.result import Metadata, Result

EVIL = "<script>alert(1)</script>"
REPORT = {
    "total_records": 3,
    "valid_records": 2,
    "rejected_records": 1,
    "services": {EVIL: {"succeeded": 2, "failed": 1, "errors": {EVIL: 1}, "duration": {"max": 0.5}}},
}
RUN = RunView(
    id="r1",
    dataset="leads",
    version=3,
    path=f"/data/{EVIL}",
    status="published",
    done=4,
    partitions=4,
    statistics=REPORT,
    notes=(EVIL,),
    warnings=(EVIL,),
)
DATASET = DatasetView(
    name="leads",
    version=3,
    path="/data/leads/v3",
    rows=2,
    rejected=1,
    parts=1,
    bytes=10,
    key=(EVIL,),
    columns=((EVIL, "int64"),),
)
METADATA = Metadata(
    execution_id="e",
    total_duration=0.1,
    services_executed=1,
    success_count=1,
    failure_count=0,
    failures=(),
    completeness=None,
    cost=0.0,
    rejected=EVIL,
)
RESULT = Result(
    data={EVIL: EVIL, "x": None, "validations": [{"validator": "v", "is_valid": False, "errors": [EVIL]}]},
    metadata=METADATA,
)


@flow.transformation
def email(email: str) -> str:
    return email


def pages() -> dict[str, str]:
    hostile = flow.Pipeline(EVIL, [email.with_(columns={"email": EVIL})])
    return {
        "run": render.run_html(RUN),
        "dataset": dataset_html(DATASET),
        "statistics": render.statistics_html(REPORT),
        "result": render.result_html(RESULT),
        "table": render.table_html([EVIL], [[EVIL], [[EVIL]]]),
        "pipeline": render.pipeline_html(hostile),
    }


@pytest.mark.parametrize("name", list(pages()))
def test_data_never_becomes_markup(name, tags):
    page = pages()[name]
    assert "&lt;script&gt;" in page
    assert not {"script", "img"} & tags(page).seen


@pytest.mark.parametrize("name", list(pages()))
def test_every_element_is_closed(name, tags):
    assert tags(pages()[name]).open == []


def test_columns_of_a_table_are_aligned():
    assert render.table_text(["name", "n"], [[None, 1], ["東京", 10]]) == ("name   n\n────  ──\n       1\n東京  10")


def test_text_is_flush_left_and_numbers_are_flush_right():
    text = render.table_text(["zip", "count"], [["01067", 7]])
    assert text.splitlines()[2] == "01067      7"


def test_a_table_without_rows_is_its_head():
    assert render.table_text(["a", "b"], []) == "a  b\n─  ─"


def test_a_long_cell_is_shortened():
    row = render.table_text(["raw"], [["x" * 1000]]).splitlines()[2]
    assert row == "x" * (render.CELL - 1) + "…"


def test_a_value_cannot_steer_the_terminal():
    text = render.table_text(["a\x1b[2J"], [["x\r\x1b]0;owned\x07"], ["two\nlines"]])
    assert "\x1b" not in text
    assert "\r" not in text
    assert len(text.splitlines()) == 4


def test_statistics_are_a_line_and_a_table():
    report = {**REPORT, "services": {"email": REPORT["services"][EVIL] | {"errors": {"KeyError": 1}}}}
    assert render.statistics_text(report).splitlines() == [
        "3 records, 2 valid, 1 rejected",
        "service  succeeded  failed  slowest",
        "───────  ─────────  ──────  ───────",
        "email            2       1   500 ms",
        "email failed: KeyError 1",
    ]


def test_statistics_without_services_are_one_line():
    assert render.statistics_text({"total_records": 0}) == "0 records"


def test_a_run_says_where_it_stands_and_where_its_output_is():
    text = render.run_text(replace(RUN, path="/data/leads/v3", notes=("n",), warnings=("w",)))
    assert text.startswith("published leads@v3 by run r1\npath: /data/leads/v3\n3 records")
    assert text.endswith("note: n\nwarning: w")


def test_a_run_that_is_not_done_says_how_far_it_is():
    view = RunView(id="r1", dataset="leads", status="stopped", done=12, partitions=100)
    assert render.run_text(view) == "stopped leads by run r1, 12 of 100 partitions"
    assert "12 of 100 partitions" in render.run_html(view)


def test_a_page_says_why_a_run_has_stopped():
    view = RunView(id="r1", dataset="leads", status="stopped", reason=f"too many {EVIL}", done=1, partitions=2)
    assert "too many &lt;script&gt;" in render.run_html(view)
    assert "<progress" not in render.run_html(view)


def test_a_live_run_has_a_bar():
    page = render.run_html(RunView(id="r1", dataset="leads", done=1, partitions=4))
    assert '<progress value="1" max="4"' in page


def test_a_dataset_tells_how_much_and_where():
    lines = render.dataset_text(replace(DATASET, key=("id",), columns=(("id", "int64"),))).splitlines()
    assert lines[:3] == [
        "leads@v3: 2 records, 1 rejected, 1 column, 1 part (10 B)",
        "path:    /data/leads/v3",
        "key:     id",
    ]
    assert lines[-1] == "id      int64"


def test_a_notebook_lists_the_first_columns_of_a_very_wide_dataset():
    page = dataset_html(replace(DATASET, columns=tuple((f"c{at}", "int64") for at in range(70))))
    assert "c59<" in page
    assert "c60<" not in page
    assert "and 10 more columns" in page


def test_null_differs_from_the_text_null():
    page = render.table_html((), [[None, "null"]])
    assert page.count("null</span>") == 1
    assert page.count(">null</td>") == 1


def test_a_result_shows_why_a_run_would_reject_it():
    page = render.result_html(replace(RESULT, metadata=replace(METADATA, rejected="email: KeyError")))
    assert "a run rejects this record" in page
    assert "email: KeyError" in page


def test_an_explanation_is_a_picture_a_table_and_its_notes(leads, tags):
    page = render.explanation_html(replace(leads, notes=("mind the gap",)))
    assert {"svg", "table", "details"} <= tags(page).seen
    assert "mind the gap" in page
    assert "email_syntax, name_given" in page


def test_a_pipeline_shows_its_graph():
    page = flow.Pipeline("leads", [email])._repr_html_()
    assert "<svg" in page
    assert "email@1" in page


def test_a_pipeline_that_cannot_be_bound_yet_lists_its_services(tmp_path):
    facts = flow.lookup("facts", table=tmp_path / "missing.parquet", on="email")
    page = render.pipeline_html(flow.Pipeline("leads", [email, facts]))
    assert "<svg" not in page
    assert "facts" in page
    assert "no graph" in page


def test_a_repr_does_not_wait_for_the_network():
    facts = flow.lookup("facts", table="http://192.0.2.1/facts.parquet", on="email")
    page = render.pipeline_html(flow.Pipeline("leads", [facts]))
    assert "a lookup reads from a URL" in page


def test_a_lookup_in_memory_is_drawn():
    facts = flow.lookup("facts", table=pa.table({"email": ["a"], "fact": ["b"]}), on="email")
    assert "fact@1" in render.pipeline_html(flow.Pipeline("leads", [facts]))
