"""The files of a source: what a path, folder, glob or URL stands for, by one rule for all of them.

A name that is written out is always read. What a search finds is read unless its name is hidden, and not where a
table format says elsewhere which files count.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dataflow.errors import SourceError
from dataflow.plan.partitions import SourceFile
from dataflow.store.filesystem import (
    describe,
    describe_found,
    each,
    filesystem,
    is_remote,
    local_path,
    natural,
    shown,
    translated,
)
from dataflow.store.wildcards import ANY_DEPTH, fixed_part, is_hidden, is_wild, matches, means

Names = Callable[[str], Iterable[str]]

_LOGS = {"_delta_log": "Delta", ".hoodie": "Hudi"}


def find(path: str) -> tuple[SourceFile, ...]:
    """The files behind one file path, folder, glob or URL, in natural order.

    A folder is searched with its sub-folders. Names that begin with `.` or `_` are left out, in a folder and by
    the wildcards of a glob, unless that character is written out.

    Raises:
        SourceError: Nothing is there, it may not be read, a folder is partitioned by `name=value`, is a table of
            Delta, Iceberg or Hudi, or holds itself by a link.
    """
    with translated(path):
        found = _find_remote(path) if is_remote(path) else _find_local(local_path(path))
    if not found:
        raise SourceError(f"{shown(path)}: no file is there; hidden files and names with `_` in front do not count")
    return tuple(sorted(found, key=lambda file: natural(file.path)))


def _find_local(path: str) -> list[SourceFile]:
    if Path(path).is_dir():
        files = list(_walk(path, trail=()))
    elif os.path.lexists(path) or not is_wild(path):
        return [describe(path)]
    else:
        root, pattern = fixed_part(path)
        found = list(dict.fromkeys(_expand(root or "/", pattern, trail=())))
        files = [one for one in found if not Path(one).is_dir()]
        if not files:
            files = [file for folder in found for file in _walk(folder, trail=())]
    _refuse_tables(files, names=_names_in)
    return [describe(file) for file in files]


def _walk(folder: str, *, trail: tuple[str, ...]) -> Iterator[str]:
    trail = _entered(folder, trail)
    for name, is_folder in _entries(folder):
        if is_hidden(name):
            continue
        if not is_folder:
            yield f"{folder}/{name}"
            continue
        _refuse_partitioned(f"{folder}/{name}")
        yield from _walk(f"{folder}/{name}", trail=trail)


def _expand(folder: str, pattern: Sequence[str], *, trail: tuple[str, ...]) -> Iterator[str]:
    """What a pattern means in a folder: files, and folders where it ends in them."""
    if not pattern:
        yield folder
        return
    part, rest = pattern[0], pattern[1:]
    if not Path(folder).is_dir():
        return
    if not is_wild(part):
        path = f"{folder.rstrip('/')}/{part}"
        if os.path.lexists(path):
            yield from _expand(path, rest, trail=trail)
        return
    trail = _entered(folder, trail)
    if part == ANY_DEPTH and rest:
        yield from _expand(folder, rest, trail=())
    for name, is_folder in _entries(folder):
        path = f"{folder.rstrip('/')}/{name}"
        if not means(part, name):
            continue
        if part != ANY_DEPTH:
            yield from _expand(path, rest, trail=trail)
        elif is_folder:
            yield from _expand(path, pattern, trail=trail)
        elif not rest:
            yield path


def _entries(folder: str) -> list[tuple[str, bool]]:
    with os.scandir(folder) as entries:
        return [(entry.name, entry.is_dir()) for entry in entries]


def _names_in(folder: str) -> list[str]:
    return os.listdir(folder) if os.path.isdir(folder) else []  # noqa: PTH112, PTH208 - a Path keeps its name for good


def _entered(folder: str, trail: tuple[str, ...]) -> tuple[str, ...]:
    """The folders on the way with this one, by where they really are; a link back to one of them is refused."""
    real = os.path.realpath(folder)
    if real in trail:
        raise SourceError(
            f"{folder}: is a link to {real}, which holds it; remove the link, or name the files by a glob"
        )
    return (*trail, real)


def _refuse_partitioned(folder: str) -> None:
    if "=" in folder.rsplit("/", 1)[-1]:
        raise SourceError(
            f"{shown(folder)}: folders named `column=value` hold a column in their name, which is not read; "
            "name the files by a glob such as `folder/*/*.parquet` if that column is not needed"
        )


def _refuse_tables(files: Iterable[str], *, names: Names) -> None:
    """Refuse files of a table whose own log says which of them, and which of their rows, still count.

    Args:
        files: What a search has found.
        names: The names right in a folder; none where there is no such folder.
    """
    for folder in dict.fromkeys(_table_root(file.rpartition("/")[0]) for file in files):
        kind = next((kind for log, kind in _LOGS.items() if names(f"{folder}/{log}")), None)
        if kind is None and any(one.endswith(".metadata.json") for one in names(f"{folder}/metadata")):
            kind = "Iceberg"
        if kind is not None:
            raise SourceError(
                f"{shown(folder)}: is a table of {kind}, whose files also hold rows that were removed; read it with "
                f"{_READERS[kind]} and give its Arrow table as the source, or write each file out that you mean"
            )


_READERS = {
    "Delta": "deltalake (`DeltaTable(path).to_pyarrow_table()`)",
    "Iceberg": "pyiceberg (`table.scan().to_arrow()`)",
    "Hudi": "hudi (`HudiTableBuilder`)",
}


def _table_root(folder: str) -> str:
    """The folder that would be the table's where files lie in this one: above `column=value` and `data`."""
    above, _, name = folder.rpartition("/")
    while above and ("=" in name or name == "data"):
        folder = above
        above, _, name = folder.rpartition("/")
    return folder


def _find_remote(path: str) -> list[SourceFile]:
    system, name = filesystem(path)
    if "::" in path:
        return [describe(path)]
    if is_wild(name) and not system.exists(name):
        found = _meant(name, system.glob(name, detail=True))
        if not _files(found):
            found = {key: info for folder in found for key, info in _below(system, folder).items()}
    elif system.isdir(name):
        found = _below(system, name)
    else:
        return [describe(path)]
    files = _files(found)
    _refuse_tables(files, names=lambda folder: _names_at(system, folder))
    return each(lambda one: _described(system.unstrip_protocol(one[0]), one[1]), list(files.items()), remote=True)


def _described(path: str, info: Mapping[str, Any]) -> SourceFile:
    """The file as its listing describes it; an index page of a web server tells names alone."""
    return describe(path) if info.get("size") is None else describe_found(path, info)


def _files(found: Mapping[str, Any]) -> dict[str, Any]:
    """Those that are files, without the empty markers that object stores keep for folders."""
    return {key: one for key, one in found.items() if one.get("type") != "directory" and not key.endswith("/")}


def _meant(pattern: str, found: Mapping[str, Any]) -> dict[str, Any]:
    parts = [part for part in pattern.split("/") if part]
    return {key: info for key, info in found.items() if matches(parts, [one for one in key.split("/") if one])}


def _below(system: Any, folder: str) -> dict[str, Any]:
    """The files of a folder and its sub-folders without the hidden ones."""
    visible = {}
    for name, info in system.find(folder, detail=True).items():
        parts = name[len(folder) :].strip("/").split("/")
        if any(is_hidden(part) for part in parts):
            continue
        for part in parts[:-1]:
            _refuse_partitioned(f"{folder.rstrip('/')}/{part}")
        visible[name] = info
    return visible


def _names_at(system: Any, folder: str) -> list[str]:
    if not system.isdir(folder):
        return []
    return [str(name).rstrip("/").rsplit("/", 1)[-1] for name in system.ls(folder, detail=False)]
