"""Whether versions fit: an answer of a cluster in, findings out."""

from __future__ import annotations

from typing import Any

import pytest

from dataflow.engine.travel import mismatches
from dataflow.wiring.doctor.findings import Finding, Level
from dataflow.wiring.doctor.versions import installed, judge_cluster, judge_here

SAME = {
    "python": "3.12.4.final.0",
    "dataflow": "0.1.0",
    "dask": "2026.8.0",
    "distributed": "2026.8.0",
    "pyarrow": "26.0.1",
    "pandas": "3.1.1",
    "msgspec": "0.22.0",
    "datasketches": "5.2.0",
    "bokeh": "3.9.2",
    "prometheus_client": None,
}


def judged(scheduler: dict[str, Any] | None = None, **workers: dict[str, Any]) -> list[Finding]:
    versions = {
        "client": {"packages": SAME},
        "scheduler": {"packages": SAME | (scheduler or {})},
        "workers": {name: {"packages": SAME | others} for name, others in workers.items()},
    }
    return judge_cluster(versions, refused=mismatches(versions))


def test_the_same_versions_are_one_line() -> None:
    fine, *_ = judged(a={}, b={})
    assert str(fine) == "ok       versions: those of the scheduler and of 2 workers fit"


@pytest.mark.parametrize(
    ("others", "level", "fact"),
    [
        ({"python": "3.11.9.final.0"}, Level.PROBLEM, "python is 3.11.9.final.0 on worker a and 3.12.4.final.0 here"),
        ({"distributed": "2026.3.0"}, Level.PROBLEM, "distributed is 2026.3.0 on worker a and 2026.8.0 here"),
        ({"pyarrow": None}, Level.PROBLEM, "pyarrow is missing on worker a and 26.0.1 here"),
        ({"dataflow": "0.0.9"}, Level.PROBLEM, "dataflow is 0.0.9 on worker a and 0.1.0 here"),
        ({"dask": "2026.3.0"}, Level.PROBLEM, "dask is 2026.3.0 on worker a and 2026.8.0 here"),
        ({"pandas": None}, Level.WARNING, "pandas is missing on worker a and 3.1.1 here"),
    ],
)
def test_a_difference_is_named_with_both_versions_and_the_place(
    others: dict[str, Any], level: Level, fact: str
) -> None:
    found = judged(a=others, b={})
    assert [(one.level, one.fact) for one in found if one.subject == "versions"] == [(level, fact)]


def test_a_cluster_without_dataflow_is_fine_since_a_run_brings_it() -> None:
    assert judged({"dataflow": None}, a={"dataflow": None})[0].level is Level.OK


def test_what_the_page_and_the_metrics_need_is_information() -> None:
    _, page, metrics = judged(a={})
    assert str(page) == "ok       the live page: bokeh 3.9.2 is on the scheduler"
    assert (metrics.level, metrics.advice) == (Level.OK, "install it there for metrics")


def test_what_is_here_is_told_without_a_cluster() -> None:
    (found,) = judge_here(installed())
    assert found.fact.startswith("python 3.")
    assert "pyarrow" in found.fact
    assert "pandas is not installed" in judge_here({"python": "3.12.4"})[0].fact
