"""The public form of the statistics of a run, as a dict that a notebook can show.

Plain JSON values under the documented names; nothing is counted here.
"""

from __future__ import annotations

from typing import Any


class Report(dict[str, Any]):
    """Statistics by name, a dict in all that it does; a notebook shows it as a table with small pictures."""

    def _repr_html_(self) -> str:
        from dataflow.faces.counts import statistics_html

        return statistics_html(self)
