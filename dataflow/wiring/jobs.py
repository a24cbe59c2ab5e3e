"""Finds the job that a command names: a file, a name in a file, or a name in a module."""

from __future__ import annotations

import ast
import importlib.util
import json
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dataflow.engine.arrow import keep_pandas_out
from dataflow.engine.program import DEFAULT_NAMES, Program, load, pack_file
from dataflow.errors import DeclarationError
from dataflow.plan.pipeline import Job, Pipeline
from dataflow.store.catalog import Catalog
from dataflow.store.filesystem import is_remote
from dataflow.store.sources import Source
from dataflow.store.sources.source import format_by_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """How a command named its job, as typed, so that the same job can be found again; plain JSON values.

    Attributes:
        job: `jobs/x.py`, `x.py:name` or `module:name`.
        folder: Where the command was given.
        source: Another source than the job's.
        output: Another output.
        parameters: What was set.
    """

    job: str
    folder: str
    source: str | None
    output: str | None
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A job and how it travels.

    Attributes:
        job: The job; its source is None where the command names a pipeline and no source.
        program: Its source, for workers; None to pack it.
        parameters: What was set for it.
        reference: How the command named it; None where it came from Python.
    """

    job: Job
    program: Program | None
    parameters: dict[str, Any]
    reference: Reference | None


def find_job(
    text: str, *, source: str | None = None, output: str | None = None, parameters: Mapping[str, str] | None = None
) -> Found:
    """The job behind `jobs/x.py`, `x.py:name` or `module:name`.

    Args:
        text: What the command names.
        source: Another source than the job's; where the job is a function with a parameter `source`, it gets it.
        output: Another output.
        parameters: Arguments of a job that is a function, as texts: a parameter annotated `str` gets the text,
            others what the text means as JSON, or else the text.

    Raises:
        DeclarationError: There is no such file or name, it is neither a Job nor a Pipeline, or it fails; the
            message names file and line.
    """
    keep_pandas_out()
    reference = Reference(
        job=text, folder=str(Path.cwd()), source=source, output=output, parameters=dict(parameters or {})
    )
    path, name = _locate(text)
    known = job_parameters(path, name)
    given = {key: _typed(key, value, known.get(key)) for key, value in (parameters or {}).items()}
    arguments = given
    if source is not None and "source" in known:
        arguments, source = {**given, "source": source}, None
    program = pack_file(path, name, parameters=arguments)
    loaded = load(program)
    job = as_job(loaded, text, source=source, output=output)
    return Found(job=job, program=program, parameters=given, reference=reference)


def require_source(found: Found, text: str) -> Job:
    """The job, where it has a source to run on.

    Raises:
        DeclarationError: The command names a pipeline, and no source.
    """
    if found.job.source is None:
        raise DeclarationError(f"{text} is a pipeline; say what to run it on with --source")
    return found.job


def _locate(text: str) -> tuple[Path, str | None]:
    path, colon, name = text.rpartition(":")
    if not colon or Path(text).exists():
        path, name = text, ""
    if Path(path).suffix == ".py" or Path(path).exists():
        if not Path(path).is_file():
            raise DeclarationError(f"there is no job file {path}")
        return Path(path), name or None
    return _module_file(path, text), name or None


def _module_file(module: str, text: str) -> Path:
    """The file of a module; the current folder counts, as it does for `python -m`."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        spec = None
    except Exception as error:
        raise DeclarationError(
            f"{text!r}: a package around {module} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    finally:
        sys.path.remove(here)
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        raise DeclarationError(f"{text!r} is no job: there is neither a file nor a module {module}")
    return Path(spec.origin)


def job_parameters(path: Path, name: str | None) -> dict[str, str | None]:
    """The parameters of a job that is a function, with their annotations, read off the file without running it."""
    try:
        tree = ast.parse(path.read_text())
    except (OSError, SyntaxError, ValueError):
        return {}
    defined = {one.name: one for one in tree.body if isinstance(one, ast.FunctionDef)}
    assigned = {target.id for one in tree.body for target in _targets(one) if isinstance(target, ast.Name)}
    entry = name or next((one for one in DEFAULT_NAMES if one in assigned or one in defined), "")
    function = defined.get(entry)
    if function is None:
        return {}
    listed = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return {one.arg: ast.unparse(one.annotation) if one.annotation else None for one in listed}


def _targets(statement: ast.stmt) -> list[ast.expr]:
    if isinstance(statement, ast.Assign):
        return statement.targets
    return [statement.target] if isinstance(statement, ast.AnnAssign) else []


def _typed(name: str, text: str, annotation: str | None) -> Any:
    kinds = {one.strip() for one in (annotation or "").strip("'\"").split("|")}
    if "str" in kinds:
        return text
    value: Any = text
    with suppress(json.JSONDecodeError):
        value = json.loads(text)
    expected = {"int": int, "float": (int, float), "bool": bool}.get(annotation or "", object)
    if not isinstance(value, expected) or (isinstance(value, bool) and annotation in ("int", "float")):  # type: ignore[arg-type]
        raise DeclarationError(f"the job's parameter `{name}` is {annotation}, which {text!r} is not")
    return value


def as_job(loaded: Any, text: str, *, source: str | None = None, output: str | None = None) -> Job:
    """What a program stands for as a job, with another source or output where these are given.

    Raises:
        DeclarationError: It is neither a Job nor a Pipeline.
    """
    if isinstance(loaded, Pipeline):
        return Job(loaded, source=source, output=output or f"{loaded.name}-output")
    if not isinstance(loaded, Job):
        raise DeclarationError(f"{text} is a {type(loaded).__name__}; a job file defines a Job or a Pipeline")
    return Job(
        loaded.pipeline,
        source=loaded.source if source is None else other_path(loaded.source, source),
        output=output or loaded.output,
        key=loaded.key,
        max_failures=loaded.max_failures,
        min_found=loaded.min_found,
        deadline=loaded.deadline,
        budget=loaded.budget,
        record_budget=loaded.record_budget,
        environ=loaded.environ,
        partition_size=loaded.partition_size,
    )


def other_path(given: Any, path: str) -> Any:
    """The job's own source with its options at another path; the bare path where these options do not fit it."""
    told = format_by_name(path)
    if not isinstance(given, Source) or (told and given.format and told != given.format):
        return path
    is_place = is_remote(path) or Path(path).exists() or any(one in path for one in "*?[")
    is_dataset = Path(path).is_dir() and Catalog(Path(path).parent).has(Path(path).name)
    # The name or the folder of a dataset has a format of its own.
    return replace(given, paths=(path,)) if told or (is_place and not is_dataset) else path
