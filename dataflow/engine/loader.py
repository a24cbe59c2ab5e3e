"""Imports shipped source files as modules of their own, so that two versions live in one process.

Every file of a `SourceTree` becomes a module below one name that holds the hash. Import statements inside
these files find their shipped neighbours first; everything else is Python's business.
"""

from __future__ import annotations

import builtins
import importlib
import sys
import traceback
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from dataflow.engine.imports import Located, SourceTree, locate
from dataflow.errors import DataflowError, DeclarationError
from dataflow.plan.modules import SHIPPED

PREFIX = SHIPPED


def import_tree(tree: SourceTree, *, hash: str) -> ModuleType:  # noqa: A002 - the word used everywhere
    """Import the job file of a tree and return its module; what is imported already stays as it is.

    Whatever the code raises comes through; `blame` turns it into an error with file and line.
    """
    prefix = PREFIX + hash
    if not any(isinstance(finder, _Finder) and finder.prefix == prefix for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder(prefix, tree=tree))
    return importlib.import_module(f"{prefix}.{tree.module}")


def blame(error: BaseException, *, tree: SourceTree) -> DataflowError:
    """The error to raise for what a job file raised: names the innermost line of the user's own code."""
    if isinstance(error, DataflowError) and not isinstance(error, DeclarationError):
        return error
    return DeclarationError(_place(error, files=_filenames(tree)) + _describe(error))


def _place(error: BaseException, *, files: Collection[str]) -> str:
    if isinstance(error, SyntaxError) and error.filename in files:
        return f"{error.filename}, line {error.lineno}: "
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename in files:
            return f"{frame.filename}, line {frame.lineno}: "
    return ""


def _filenames(tree: SourceTree) -> frozenset[str]:
    return frozenset(str(Path(tree.root) / file) for file, _ in tree.files)


def _describe(error: BaseException) -> str:
    if isinstance(error, DeclarationError):
        return str(error)
    if isinstance(error, ModuleNotFoundError):
        return f"{error}; install it, or put the module next to the job file"
    return f"{type(error).__name__}: {error}"


class _Finder(MetaPathFinder, InspectLoader):
    """Finds and loads the modules of one tree."""

    def __init__(self, prefix: str, *, tree: SourceTree) -> None:
        self.prefix = prefix
        self.tree = tree
        self.texts = dict(tree.files)

    @cached_property
    def folders(self) -> frozenset[str]:
        return frozenset(parent.as_posix() for file in self.texts for parent in Path(file).parents if parent.name)

    @cached_property
    def scope(self) -> dict[str, Any]:
        """The builtins of shipped modules, whose `__import__` knows their neighbours."""
        return {**vars(builtins), "__import__": self.import_name}

    def import_name(
        self,
        name: str,
        globals: Mapping[str, object] | None = None,  # noqa: A002 - the signature of __import__
        locals: Mapping[str, object] | None = None,  # noqa: A002
        fromlist: Sequence[str] = (),
        level: int = 0,
    ) -> ModuleType:
        head = name.partition(".")[0]
        if level or not self.ours(head):
            return builtins.__import__(name, globals, locals, fromlist, level)
        module = builtins.__import__(f"{self.prefix}.{name}", globals, locals, fromlist, 0)
        return module if fromlist else sys.modules[f"{self.prefix}.{head}"]

    def ours(self, head: str) -> bool:
        return head not in self.tree.libraries and self.locate(head) is not None

    def locate(self, name: str) -> Located | None:
        if name == self.tree.module:
            return Located(file=self.tree.file, folders=(), package=False)
        return locate(
            name,
            search=self.tree.search,
            is_file=self.texts.__contains__,
            is_folder=self.folders.__contains__,
        )

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == self.prefix:
            return ModuleSpec(fullname, None, is_package=True)
        if not fullname.startswith(self.prefix + "."):
            return None
        found = self.locate(fullname.removeprefix(self.prefix + "."))
        if found is None:
            return None
        if found.file is None:
            return ModuleSpec(fullname, None, is_package=True)
        spec = ModuleSpec(fullname, self, origin=self.filename(found.file), is_package=found.package)
        spec.has_location = True
        return spec

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["__builtins__"] = self.scope
        exec(self.get_code(module.__name__), module.__dict__)

    def get_code(self, fullname: str) -> CodeType:
        found = self.locate(fullname.removeprefix(self.prefix + "."))
        if found is None or found.file is None:
            raise ImportError(f"{fullname} has no source", name=fullname)
        return compile(self.texts[found.file], self.filename(found.file), "exec", dont_inherit=True)

    def get_source(self, fullname: str) -> str | None:
        found = self.locate(fullname.removeprefix(self.prefix + "."))
        return self.texts[found.file] if found and found.file else None

    def filename(self, file: str) -> str:
        return str(Path(self.tree.root) / file)
