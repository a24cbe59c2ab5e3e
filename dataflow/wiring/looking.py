"""Where the code of a job is looked at: its files, and what was seen of it when it was loaded.

What is seen in code, and what of it counts, is decided in `plan`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from dataflow.engine.imports import collect, is_local
from dataflow.engine.program import found_in, loaded_from
from dataflow.errors import DeclarationError
from dataflow.plan.code import Looks
from dataflow.plan.fingerprint import reasons, unseen
from dataflow.plan.graph import Graph
from dataflow.plan.pipeline import Pipeline
from dataflow.plan.texts import Texts, read_texts

_PROCESS = uuid.uuid4().hex
_loaded: WeakKeyDictionary[Pipeline, Looks] = WeakKeyDictionary()


def look_at(pipeline: Pipeline) -> tuple[Looks, Texts]:
    """How the code of a pipeline is looked at, and the files that it is in.

    What was loaded from files is looked at once: its services may change what they work with, and that is no edit.
    What somebody holds is looked at anew each time, since it may have been edited.
    """
    program = loaded_from(pipeline)
    if program is not None and program.tree is not None:
        return _loaded.setdefault(pipeline, Looks()), read_texts(program.tree.files)
    files = _files_of(pipeline)
    if files is None:
        return Looks(serials=True), Texts(process=_PROCESS)
    return Looks(), read_texts(files.items())


def said_of_unseen(graph: Graph, looks: Looks) -> list[str]:
    """A sentence for each value that cannot be seen into."""
    return [
        f"`{name}` cannot be seen into (service {', '.join(services)}); raise version= when it changes"
        for name, services in unseen(graph, looks).items()
    ]


def differences(
    plan: Mapping[str, Any],
    fingerprints: Mapping[str, str],
    texts: Texts,
    *,
    hidden: Sequence[str] = (),
    values: Mapping[str, Mapping[str, str]] | None = None,
) -> list[str]:
    """What has changed since a plan was written, as people call it.

    Args:
        plan: As it was written.
        fingerprints: Those of the job by now.
        texts: Its files by now.
        hidden: The values that cannot be seen into.
        values: Digests of the values that the code of each service names by now.
    """
    before = plan.get("texts", {})
    edited = [name for name in dict.fromkeys([*before, *texts.files]) if before.get(name) != texts.files.get(name)]
    names = " and ".join(f"`{name}`" for name in hidden)
    why = f", since {names} cannot be seen into" if hidden else ""
    text = f"the text of {', '.join(edited)}{why}" if edited else f"it cannot be told in another process{why}"
    code = _unedited(plan.get("values", {}), values or {}) if texts.files and not edited else {}
    return reasons(plan["fingerprints"], fingerprints, text=text, code=code)


def _unedited(before: Mapping[str, Mapping[str, str]], after: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """What is said of a service whose code is another one though nobody has edited a file, by its name."""
    told: dict[str, str] = {}
    for service, now in after.items():
        then = before.get(service, {})
        names = " and ".join(f"`{name}`" for name, one in now.items() if then.get(name, one) != one)
        if names:
            told[service] = (
                f"each loading of its file gives another {names}, such as the clock or chance do; "
                "read it from flow.Context in the service (run, started_at), or give it as a parameter (--set)"
            )
    return told


def _files_of(pipeline: Pipeline) -> dict[str, str] | None:
    """The text of the files that define a pipeline, with the local modules that they import; None without files."""
    named = found_in(pipeline)
    paths = {named} if named is not None else set(_places(pipeline))
    files: dict[str, str] = {}
    for path in sorted(path for path in paths if path is not None):
        with suppress(DeclarationError):
            files |= dict(collect(Path(path)).files)
    return files if files and None not in paths else None


def _places(pipeline: Pipeline) -> Iterator[str | None]:
    """The file of each function of a pipeline; None for what was typed in."""
    for service in pipeline.every:
        code = getattr(service.function, "__code__", None)
        if code is not None:
            is_file = is_local(code.co_filename) and Path(code.co_filename).is_file()
            yield code.co_filename if is_file else None
