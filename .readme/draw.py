"""Draws the graph of the main job for the README: `python .readme/draw.py`."""

from pathlib import Path

from dataflow.engine.program import load, pack_file
from dataflow.faces.picture import explanation_svg

HERE = Path(__file__).parent
job = load(pack_file(HERE.parent / "jobs" / "data_processing.py"))
(HERE / "leads.svg").write_text(explanation_svg(job.explain(), opaque=True))
