"""Partition specs are plain data with an identity that lasts."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from dataflow.plan.partitions import PartitionSpec, known_rows, number_specs

SPEC = PartitionSpec(index=3, path="/data/leads.csv", fingerprint="f1", start=0, stop=100)


def test_a_spec_survives_json() -> None:
    assert PartitionSpec.from_dict(json.loads(json.dumps(SPEC.to_dict()))) == SPEC


@pytest.mark.parametrize("change", [{"path": "/data/other.csv"}, {"fingerprint": "f2"}, {"start": 1}, {"stop": -1}])
def test_another_slice_has_another_identity(change: dict[str, object]) -> None:
    assert replace(SPEC, identity="", **change).identity != SPEC.identity


@pytest.mark.parametrize("change", [{"index": 9}, {"rows": 5}, {"first_row": 7}, {"size": 1}])
def test_what_is_only_an_estimate_or_a_place_in_the_plan_is_no_part_of_the_identity(change: dict[str, object]) -> None:
    assert replace(SPEC, identity="", **change).identity == SPEC.identity


def test_the_identity_is_the_same_in_every_process_and_release() -> None:
    assert SPEC.identity == "b0fb2bc6140c4ffe"


def test_specs_are_numbered_in_order_and_keep_their_identity() -> None:
    numbered = number_specs([SPEC, replace(SPEC, start=100, stop=-1, identity="")])
    assert [spec.index for spec in numbered] == [0, 1]
    assert numbered[0].identity == SPEC.identity


def test_rows_are_known_only_where_every_slice_is_counted() -> None:
    counted = replace(SPEC, rows=5)
    assert (known_rows([counted, counted]), known_rows([counted, SPEC]), known_rows([])) == (10, None, 0)
