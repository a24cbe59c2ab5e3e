from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import dataflow as flow
from dataflow.engine.arrow import keep_pandas_out
from dataflow.errors import DeclarationError
from dataflow.faces.drafts import draft_job

ROOT = Path(__file__).parents[2]
TEXT = "string"

LEADS = [(name, TEXT) for name in ("lead_id", "name", "email", "company")]
NASTY = (
    "e-mail",
    "class",
    "1st",
    "Größe",
    "",
    "two words",
    'a "quote"',
    "it's",
    "is_valid",
    "job",
    "re",
    "None",
    "a\nb",
)
SOURCES = {
    "leads": (LEADS, "leads.csv"),
    "nasty": ([(name, TEXT) for name in NASTY], "nasty.csv"),
    "nasty lines": ([(name, TEXT) for name in NASTY], "nasty.jsonl"),
    "email twice": ([("email", TEXT), ("e-mail", TEXT), ("E mail", TEXT), ("domain", TEXT)], "x.csv"),
    "numbers": ([("x", "int64"), ("when", "timestamp[us]")], "numbers.parquet"),
    "day": ([("day", "date32[day]")], "days.parquet"),
    "price": ([("price", "decimal128(10, 2)")], "prices.parquet"),
    "nested": ([("tags", "list<item: string>")], "nested.parquet"),
    "long": ([("long column name " * 20, TEXT), ("y" * 300, "struct<" + "a: int64, " * 50 + ">")], "long.csv"),
    "many": ([(f"column {at}", TEXT) for at in range(300)], "many.csv"),
    "semicolons": ([('Nr;"E-Mail";Ort', TEXT)], "export.csv"),
    "odd path": (LEADS, "C:\\new\\\"old\" 'data'.csv"),
    "reserved only": ([("is_valid", TEXT)], "x.csv"),
}


def drafted(name: str, title: str = "leads") -> str:
    columns, source = SOURCES[name]
    return draft_job(columns, source=source, name=title)


def loaded(text: str) -> Any:
    keep_pandas_out()
    module = ModuleType("a_draft")
    sys.modules["a_draft"] = module
    exec(compile(text, "a_draft.py", "exec"), vars(module))
    return module.job


@pytest.mark.parametrize("name", SOURCES)
def test_a_draft_declares_a_job(name):
    job = loaded(drafted(name))
    assert isinstance(job, flow.Job)
    assert job.output == "leads-processed"


@pytest.mark.parametrize("name", SOURCES)
def test_a_draft_passes_ruff(name):
    ruff = shutil.which("ruff", path=str(Path(sys.executable).parent)) or shutil.which("ruff")
    if ruff is None:
        pytest.skip("ruff is not installed")
    for command in (
        ["check", "--select", "E4,E7,E9,F"],
        ["check", "--config", str(ROOT / "pyproject.toml")],
        ["format", "--check"],
    ):
        settings = ["--isolated"] if "--config" not in command else ["--ignore", "E501,D103"]
        found = subprocess.run(
            [ruff, *command, *settings, "--stdin-filename", "draft.py", "-"],
            input=drafted(name),
            capture_output=True,
            text=True,
            check=False,
        )
        assert found.returncode == 0, found.stdout + found.stderr


def test_lines_are_short_enough_to_read():
    for name in SOURCES.keys() - {"long", "nasty", "nasty lines"}:
        assert max(map(len, drafted(name).splitlines())) <= 88


def test_a_draft_cleans_and_judges_addresses():
    pipeline = loaded(drafted("leads")).pipeline
    record = {"lead_id": "1", "name": "A", "company": "B"}
    good = pipeline.call({**record, "email": " A@B.Example "}).data
    assert (good["email"], good["domain"], good["is_valid"]) == ("a@b.example", "b.example", True)
    assert not pipeline.call({**record, "email": "nobody"}).data["is_valid"]


def test_a_column_that_is_no_identifier_is_read_and_written_under_its_name():
    data = (
        loaded(drafted("nasty lines"))
        .pipeline.call(
            {**dict.fromkeys([name for name in NASTY if name != "is_valid"], "x"), "e-mail": " A@B.Example "}
        )
        .data
    )
    assert data["e-mail"] == "a@b.example"
    assert "e_mail" not in data


def test_text_without_an_address_is_tidied_and_must_be_there():
    text = draft_job([("two words", TEXT)], source="x.jsonl", name="x")
    pipeline = loaded(text).pipeline
    assert pipeline.call({"two words": "  a   b "}).data["two words"] == "a b"
    assert not pipeline.call({"two words": "   "}).data["is_valid"]


def test_numbers_must_be_there():
    pipeline = loaded(drafted("numbers")).pipeline
    assert pipeline.call({"x": 1, "when": None}).data["is_valid"]


@pytest.mark.parametrize("name", ["nasty", "reserved only"])
def test_delimited_text_gets_other_names_for_what_a_run_writes(name):
    job = loaded(drafted(name))
    names = job.source.options["names"]
    assert "is_valid" not in names
    assert "is_valid_" in names


def test_other_formats_are_told_what_to_rename():
    assert '"is_valid"' in drafted("nasty lines")
    assert "rename it before" in drafted("nasty lines")


def test_a_file_with_another_delimiter_is_seen_through():
    text = drafted("semicolons")
    assert loaded(text).source.options["delimiter"] == ";"
    assert 'columns={"e_mail": "E-Mail"}' in text


def test_the_key_is_guessed_from_names_or_left_out():
    assert loaded(drafted("leads")).keys == ("lead_id",)
    assert loaded(drafted("numbers")).keys == ()


def test_an_existing_domain_is_not_overwritten():
    assert "def domain" not in drafted("email twice")


def test_names_that_no_dataset_can_have_are_mended():
    assert loaded(drafted("leads", "my leads (new)!")).output == "my-leads-new-processed"
    assert loaded(drafted("leads", "...")).output == "records-processed"


def test_the_same_columns_give_the_same_draft():
    assert drafted("nasty") == drafted("nasty")


def test_a_source_without_columns_is_refused():
    with pytest.raises(DeclarationError, match="no columns"):
        draft_job([], source="empty.csv", name="empty")


def test_a_draft_runs_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("nasty.csv").write_text(
        'lead_id,e-mail,class,is_valid,"a ""quote""",Größe\n1, A@B.Example ,x,yes,q,2\n2,nobody,x,no,q,2\n'
    )
    names = ["lead_id", "e-mail", "class", "is_valid", 'a "quote"', "Größe"]
    job = loaded(draft_job([(name, TEXT) for name in names], source="nasty.csv", name="nasty"))
    table = job.run().to_arrow()
    assert table.column("e-mail").to_pylist() == ["a@b.example", "nobody"]
    assert table.column("is_valid").to_pylist() == [True, False]
    assert table.column("is_valid_").to_pylist() == ["yes", "no"]
