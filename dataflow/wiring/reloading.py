"""A job loaded once more, in a process of its own: what is another there is another at each loading.

Such are the clock, chance, the number of a process and the order of a set. A worker only asks this where its job is
not what the client has planned.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from typing import Any

from dataflow.engine.program import Program, load, loaded_from, loaded_with
from dataflow.engine.variables import Variables
from dataflow.plan.graph import Graph
from dataflow.plan.pipeline import Job, Pipeline
from dataflow.store.catalog import Catalog
from dataflow.store.schemas import schema_of_text
from dataflow.wiring.agreeing import agreed, require_agreed
from dataflow.wiring.binding import bind_pipeline, lookup_tables
from dataflow.wiring.looking import look_at

_PATIENCE = 60.0
"""Seconds for one loading."""
_MARK = "agreed: "
_CODE = f"""
import pickle, sys
path, given = pickle.load(sys.stdin.buffer)
sys.path[:] = path
from {__name__} import tell
tell(*given)
"""


def confirm(pipeline: Pipeline, graph: Graph, setup: Mapping[str, Any], *, where: str) -> None:
    """Refuse to work on another job than the one that was planned.

    Args:
        pipeline: As it was loaded here.
        graph: The same, bound.
        setup: What `make_setup` made, with what was agreed.
        where: The address of this worker.

    Raises:
        DeclarationError: It names what differs.
    """
    again = partial(agreed_again, pipeline, setup)
    require_agreed(setup["agreed"], graph, looks=look_at(pipeline)[0], where=where, again=again)


def agreed_again(pipeline: Pipeline, setup: Mapping[str, Any]) -> dict[str, Any] | None:
    """What `agreed` gives of a job that is loaded anew; None where that does not work.

    Args:
        pipeline: As it was loaded in this process.
        setup: What `make_setup` made.
    """
    program = loaded_from(pipeline)
    if program is None:
        return None
    given = program, {name: setup[name] for name in ("schema", "catalog", "binding")}, dict(loaded_with(program))
    try:
        done = subprocess.run(
            [sys.executable, "-c", _CODE],
            input=pickle.dumps((sys.path, given)),
            # Workers are often given the same order of sets by their nannies.
            env={**os.environ, "PYTHONHASHSEED": "random"},
            capture_output=True,
            timeout=_PATIENCE,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        # The caller refuses the job then, and says why.
        return None
    lines = [line for line in done.stdout.decode(errors="replace").splitlines() if line.startswith(_MARK)]
    found: dict[str, Any] | None = json.loads(lines[-1].removeprefix(_MARK)) if lines else None
    return found


def tell(program: Program, setup: Mapping[str, Any], variables: Variables) -> None:
    """Load a job and write what is agreed of it to the standard output."""
    loaded = load(program, variables)
    pipeline: Any = loaded.pipeline if isinstance(loaded, Job) else loaded
    tables = lookup_tables(pipeline, Catalog(setup["catalog"]))
    graph = bind_pipeline(pipeline, schema_of_text(setup["schema"]), tables, **setup["binding"])
    sys.stdout.write(f"\n{_MARK}{json.dumps(agreed(graph, looks=look_at(pipeline)[0]))}\n")
