"""The operations on a catalog in an object store, behind fsspec; beside them `files` holds those on a local path."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import pyarrow as pa

from dataflow.store.inplace import InPlace, ObjectPlace

_TOGETHER = 256
"""Objects that are asked for at once: enough to hide the way to the store, few enough to hold."""


class ObjectFiles:
    """An object store behind fsspec: objects appear whole, folders are only prefixes, nothing can be renamed.

    `create` is exclusive where the store and its fsspec driver offer a conditional put (S3 does, and the memory
    file system in its process); elsewhere it looks first.
    """

    def __init__(self, url: str) -> None:
        from fsspec.core import url_to_fs

        self._remote, _ = url_to_fs(url)

    def make(self, *folders: str) -> None:
        pass

    def write(self, path: str, data: bytes | pa.Buffer) -> None:
        self._remote.pipe_file(path, _plain(data))

    def show(self, path: str, data: bytes | pa.Buffer) -> None:
        self.write(path, data)

    def create(self, path: str, data: bytes | pa.Buffer) -> bool:
        try:
            self._remote.pipe_file(path, _plain(data), mode="create")
        except FileExistsError:
            # A put whose answer was lost is sent again by the driver, and finds itself.
            return self.read(path) == _plain(data)
        return True

    def change(self, path: str, data: bytes) -> InPlace:
        return ObjectPlace(partial(self.write, path), data)

    def read(self, path: str) -> bytes:
        return bytes(self._remote.cat_file(path))

    def read_all(self, folder: str) -> Iterator[tuple[str, bytes]]:
        names = list(self.sizes(folder))
        for start in range(0, len(names), _TOGETHER):
            found = self._remote.cat([f"{folder}/{name}" for name in names[start : start + _TOGETHER]])
            yield from ((path.rpartition("/")[2], bytes(data)) for path, data in found.items())

    def source(self, path: str) -> Any:
        return self._remote.open(path, "rb")

    def sizes(self, folder: str) -> dict[str, int]:
        return {name: info["size"] for name, info in self._listed(folder) if info["type"] == "file"}

    def folders(self, folder: str) -> list[str]:
        return [name for name, info in self._listed(folder) if info["type"] == "directory"]

    def _listed(self, folder: str) -> Iterator[tuple[str, dict[str, Any]]]:
        self._remote.invalidate_cache(folder)
        try:
            found = self._remote.ls(folder, detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return
        for info in sorted(found, key=lambda info: str(info["name"])):
            yield str(info["name"]).rstrip("/").rpartition("/")[2], info

    def copy(self, pairs: Sequence[tuple[str, str]]) -> None:
        if pairs:
            sources, targets = zip(*pairs, strict=True)
            self._remote.copy(list(sources), list(targets), on_error="raise")

    def place(
        self, pairs: Sequence[tuple[str, str]], *, folder: str, staging: str, manifest: tuple[str, bytes]
    ) -> None:
        there = self.sizes(folder)
        wanted = {name for _, name in pairs}
        self.remove(*(f"{folder}/{name}" for name in there if name not in wanted))
        self.copy([(source, f"{folder}/{name}") for source, name in pairs if name not in there])
        self.create(*manifest)

    def point(self, path: str, target: str) -> None:
        pass

    def remove(self, *paths: str) -> None:
        for path in paths:
            self._remote.invalidate_cache(path)
            with suppress(FileNotFoundError):
                self._remote.rm(path, recursive=True)


def _plain(data: bytes | pa.Buffer) -> bytes:
    return data if isinstance(data, bytes) else data.to_pybytes()
