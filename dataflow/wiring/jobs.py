"""Finds the job that a command names: a file, a name in a file, or a name in a module."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from dataflow.engine.program import Program, load, pack_file
from dataflow.errors import DeclarationError
from dataflow.plan.pipeline import Job, Pipeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A job and how it travels.

    Attributes:
        job: The job.
        program: Its source, for workers.
        parameters: What was set for it.
    """

    job: Job
    program: Program
    parameters: dict[str, Any]


def find_job(
    text: str, *, source: str | None = None, output: str | None = None, parameters: Mapping[str, Any] | None = None
) -> Found:
    """The job behind `jobs/x.py`, `x.py:name` or `module:name`.

    Args:
        text: What the command names.
        source: Another source than the job's; where the job is a function with a parameter `source`, it gets it.
        output: Another output.
        parameters: Arguments of a job that is a function.

    Raises:
        DeclarationError: There is no such file or name, or it is neither a Job nor a Pipeline.
    """
    path, name = _locate(text)
    given = dict(parameters or {})
    program = pack_file(path, name, parameters=given)
    if source is not None and takes_source(path, name):
        program = pack_file(path, name, parameters={**given, "source": source})
        source = None
    loaded = load(program)
    return Found(job=_as_job(loaded, text, source=source, output=output), program=program, parameters=given)


def _locate(text: str) -> tuple[Path, str | None]:
    path, colon, name = text.rpartition(":")
    if not colon or Path(text).exists():
        path, name = text, ""
    if Path(path).suffix == ".py" or Path(path).exists():
        if not Path(path).is_file():
            raise DeclarationError(f"there is no job file {path}")
        return Path(path), name or None
    try:
        spec = importlib.util.find_spec(path)
    except (ImportError, ValueError):
        spec = None
    if spec is None or spec.origin is None:
        raise DeclarationError(f"{text!r} is no job: there is neither a file nor a module {path}")
    return Path(spec.origin), name or None


def takes_source(path: Path, name: str | None) -> bool:
    """Whether the job is a function with a parameter `source`, read off the file without running it."""
    try:
        tree = ast.parse(path.read_text())
    except (OSError, SyntaxError, UnicodeDecodeError):
        return False
    functions = {one.name: one for one in tree.body if isinstance(one, ast.FunctionDef)}
    found = functions.get(name or "job")
    return found is not None and "source" in {one.arg for one in (*found.args.args, *found.args.kwonlyargs)}


def _as_job(loaded: Any, text: str, *, source: str | None, output: str | None) -> Job:
    if isinstance(loaded, Pipeline):
        if source is None:
            raise DeclarationError(f"{text} is a pipeline; say what to run it on with --source")
        return Job(loaded, source=source, output=output or f"{loaded.name}-output")
    if not isinstance(loaded, Job):
        raise DeclarationError(f"{text} is a {type(loaded).__name__}; a job file defines a Job or a Pipeline")
    chosen = loaded.source if source is None else _other_path(loaded.source, source)
    return Job(
        loaded.pipeline,
        source=chosen,
        output=output or loaded.output,
        key=loaded.key,
        max_failures=loaded.max_failures,
    )


def _other_path(given: Any, path: str) -> Any:
    """The job's own source with its options, at another path; or the bare path where the job had one."""
    if is_dataclass(given) and not isinstance(given, type) and "path" in {one.name for one in fields(given)}:
        return replace(given, path=path)
    return path
