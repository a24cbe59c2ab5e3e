"""Partitions that wait for a slow API, beside each other in one process of one thread."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dataflow as flow
from dataflow.engine.turns import SIDE_BY_SIDE

sys.path.insert(0, str(Path(__file__).parents[2] / "jobs"))

from provider.serve import serve

PARTITIONS = 9


@pytest.mark.parametrize("settings", [{"threads": 1}, {"workers": 1}], ids=["a thread", "a worker"])
def test_four_partitions_wait_side_by_side(settings: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    for part in range(PARTITIONS):
        pq.write_table(pa.table({"domain": [f"{part}.example"]}), tmp_path / "source" / f"{part}.parquet")
    with serve(latency=2.5) as server:
        api = flow.API("turns", server.url, concurrency=None)
        company = api.get("company", "/v2/companies/{domain}", returns={"title": str}, select={"title": "name"})
        pipeline = flow.Pipeline("turns", [company])
        run = pipeline.run(str(tmp_path / "source"), output="out", catalog=tmp_path / "catalog", **settings)
        counts = server.counts()
    assert counts["calls"] == PARTITIONS == run.statistics["total_records"]
    assert counts["max_in_flight"] == SIDE_BY_SIDE
