"""The rejects of a partition in a few lines."""

from __future__ import annotations

import pyarrow as pa

from dataflow.engine.rejected import EXAMPLES, summarize


def rejects(*rows: tuple[str, str, str | None]) -> pa.Table:
    return pa.table(
        {
            "service": pa.array([service for service, _, _ in rows], pa.string()),
            "reason": pa.array([reason for _, reason, _ in rows], pa.string()),
            "error": pa.array(["what somebody has said"] * len(rows), pa.string()),
            "plain": pa.array([error for _, _, error in rows], pa.string()),
            "id": pa.array([f"k{at}" for at in range(len(rows))], pa.string()),
            "source_file": pa.array(["folder/leads.csv"] * len(rows), pa.string()),
            "source_row": pa.array(range(1, len(rows) + 1), pa.int64()),
        }
    )


def test_nothing_rejected_is_nothing_said():
    assert summarize(rejects(), key=["id"]) == ()


def test_the_most_frequent_reason_stands_first_with_its_newest_records():
    table = rejects(("mail", "invalid", "no @"), *[("name", "failed", "late")] * 5)
    often, seldom = summarize(table, key=["id"])
    assert (often.service, often.reason, often.records) == ("name", "failed", 5)
    assert often.examples == (("k5", "late"), ("k4", "late"), ("k3", "late"))
    assert (seldom.records, seldom.examples) == (1, (("k0", "no @"),))
    assert len(often.examples) == EXAMPLES


def test_a_record_without_a_key_is_named_by_its_place():
    (one,) = summarize(rejects(("mail", "invalid", None)), key=[])
    assert one.examples == (("leads.csv, row 1", ""),)


def test_long_texts_and_many_reasons_are_cut():
    (one,) = summarize(rejects(("mail", "invalid", "x" * 10_000)), key=["id"])
    assert len(one.examples[0][1]) == 300
    assert len(summarize(rejects(*[("mail", f"r{at}", "e") for at in range(50)]), key=["id"])) == 20
