"""The example topics are what their script makes."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

DATASETS = Path(__file__).parents[2] / "datasets"
MAKE_TOPICS = runpy.run_path(str(DATASETS / "make_topics.py"))


def test_the_script_makes_the_committed_bytes() -> None:
    assert MAKE_TOPICS["files"]()["topics.jsonl"] == (DATASETS / "topics.jsonl").read_bytes()


def test_there_are_fifty_different_topics_for_five_channels() -> None:
    topics = [json.loads(line) for line in (DATASETS / "topics.jsonl").read_text().splitlines()]
    assert len({topic["topic"] for topic in topics}) == len({topic["topic_id"] for topic in topics}) == 50
    assert all(len(topic["channels"]) == 5 for topic in topics)
    assert all(topic["keywords"] for topic in topics)
