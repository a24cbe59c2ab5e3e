"""Which local modules a file imports: found by reading the code, without running it.

Local are the files next to the job file and in its project that are neither installed nor part of Python.
The same rule that finds a module in folders (`locate`) finds it again among shipped files on a worker.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import sys
import tokenize
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dataflow.errors import DeclarationError

_ROOT_MARKERS = ("pyproject.toml", "setup.py", "setup.cfg", ".git")
_BY_NAME = {"import_module", "__import__"}
_INSTALLED = {"site-packages", "dist-packages"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTree:
    """A job file and the local modules that it imports, as text.

    Attributes:
        root: The folder that all paths are relative to.
        search: Folders below the root in which a module is looked for, in this order.
        file: The job file, relative to the root.
        module: Dotted name of its module.
        files: Relative path and text of each file, sorted.
        libraries: Top-level names of what is imported from elsewhere, sorted.
    """

    root: str
    search: tuple[str, ...]
    file: str
    module: str
    files: tuple[tuple[str, str], ...]
    libraries: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """Where a module is: a file, or the folders of a namespace package."""

    file: str | None
    folders: tuple[str, ...]
    package: bool


def collect(path: Path) -> SourceTree:
    """The file and everything local that it imports, directly or not.

    Raises:
        DeclarationError: A file cannot be read or parsed; the message names it and the line.
    """
    path = path.resolve()
    home = _top_package(path)
    root = _project_root(home)
    places = [path.parent, home, root / "src", root]
    search = tuple(dict.fromkeys(_relative(place, root) for place in places if place.is_dir()))
    walk = _Walk(root=root, search=search)
    module = walk.begin(path, home=home)
    return SourceTree(
        root=str(root),
        search=search,
        file=_relative(path, root),
        module=module,
        files=tuple(sorted(walk.files.items())),
        libraries=tuple(sorted(walk.libraries)),
    )


def locate(
    name: str,
    *,
    search: Sequence[str],
    is_file: Callable[[str], bool],
    is_folder: Callable[[str], bool],
) -> Located | None:
    """Find a dotted module name in folders as Python would; a regular package hides namespaces."""
    folders = tuple(search)
    found: Located | None = None
    for part in name.split("."):
        found = _locate_part(part, folders=folders, is_file=is_file, is_folder=is_folder)
        if found is None:
            return None
        folders = found.folders
    return found


def _locate_part(
    part: str,
    *,
    folders: Sequence[str],
    is_file: Callable[[str], bool],
    is_folder: Callable[[str], bool],
) -> Located | None:
    for folder in folders:
        below = _join(folder, part)
        if is_file(init := _join(below, "__init__.py")):
            return Located(file=init, folders=(below,), package=True)
        if is_file(below + ".py"):
            return Located(file=below + ".py", folders=(), package=False)
    spaces = tuple(below for folder in folders if is_folder(below := _join(folder, part)))
    return Located(file=None, folders=spaces, package=True) if spaces else None


def module_name(file: str) -> str:
    """An importable name for a job file's stem, which may hold any characters."""
    name = re.sub(r"\W", "_", PurePosixPath(file).stem)
    return name if name.isidentifier() else f"_{name}"


def is_local(file: str | None) -> bool:
    """Whether a module's file belongs to the user: neither installed, nor Python's, nor dataflow's."""
    if not file or not file.endswith(".py"):
        return False
    path = Path(file)
    ours = Path(__file__).parent.parent
    return (
        _INSTALLED.isdisjoint(path.parts)
        and not path.is_relative_to(ours)
        and not path.is_relative_to(os.path.dirname(os.__file__))  # noqa: PTH120 - a string, as os gives it
    )


class _Walk:
    """One walk over the imports of a job file; collects as it goes."""

    def __init__(self, *, root: Path, search: tuple[str, ...]) -> None:
        self.root = root
        self.search = search
        self.files: dict[str, str] = {}
        self.libraries: set[str] = set()

    def begin(self, path: Path, *, home: Path) -> str:
        """Collect the job file with its imports and return the name of its module."""
        package = ".".join(path.parent.relative_to(home).parts)
        stem = module_name(path.name)
        for above in self._packages_of(package):
            self._add(above, package=package)
        self._add(_relative(path, self.root), package=package)
        return f"{package}.{stem}" if package else stem

    def _packages_of(self, package: str) -> Iterator[str]:
        parts = package.split(".") if package else []
        for count in range(1, len(parts) + 1):
            if (found := self._locate(".".join(parts[:count]))) and found.file:
                yield found.file

    def _add(self, file: str, *, package: str) -> None:
        if file in self.files:
            return
        self.files[file] = text = _read(self.root / file)
        tree = _parse(text, self.root / file)
        for name in _imported(tree, package=package):
            self._follow(name)
        for name in _spelt(tree):
            if self._ours(name.partition(".")[0]):
                self._follow(name)

    def _follow(self, name: str) -> None:
        head = name.partition(".")[0]
        if not self._ours(head):
            self.libraries.add(head)
            return
        parts = name.split(".")
        for count in range(1, len(parts) + 1):
            prefix = ".".join(parts[:count])
            found = self._locate(prefix)
            if found is None:
                return
            if found.file:
                self._add(found.file, package=prefix if found.package else prefix.rpartition(".")[0])

    def _ours(self, head: str) -> bool:
        if head in sys.stdlib_module_names or head == "dataflow":
            return False
        found = self._locate(head)
        if found is None:
            return False
        if found.file is None:
            # A mere folder, such as `datasets/`, never hides an installed package of the same name.
            return not _installed(head)
        return _INSTALLED.isdisjoint((self.root / found.file).parts)

    def _locate(self, name: str) -> Located | None:
        return locate(
            name,
            search=self.search,
            is_file=lambda path: (self.root / path).is_file(),
            is_folder=lambda path: (self.root / path).is_dir(),
        )


def _imported(tree: ast.Module, *, package: str) -> Iterator[str]:
    """Every dotted name that an import statement may refer to, attributes of modules among them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, package=package)
            if base:
                yield base
                yield from (f"{base}.{alias.name}" for alias in node.names if alias.name != "*")
            else:
                yield from (alias.name for alias in node.names if alias.name != "*")


def _spelt(tree: ast.Module) -> set[str]:
    """Every text of a file that imports by name, such as `import_module("rules")`, as far as it may be such a name."""
    nodes = list(ast.walk(tree))
    if _BY_NAME.isdisjoint(getattr(one, "attr", getattr(one, "id", None)) for one in nodes):
        return set()
    texts = {one.value for one in nodes if isinstance(one, ast.Constant) and isinstance(one.value, str)}
    return {text for text in texts if all(part.isidentifier() for part in text.split("."))}


def _absolute(node: ast.ImportFrom, *, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".") if package else []
    above = parts[: len(parts) - node.level + 1]
    return ".".join([*above, *([node.module] if node.module else [])])


def _installed(head: str) -> bool:
    try:
        spec = importlib.util.find_spec(head)
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.origin is not None


def _read(path: Path) -> str:
    try:
        with tokenize.open(path) as file:
            return file.read()
    except (OSError, SyntaxError, UnicodeDecodeError) as error:
        raise DeclarationError(f"{path} cannot be read as Python: {error}") from error


def _parse(text: str, path: Path) -> ast.Module:
    try:
        return ast.parse(text, filename=str(path))
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        where = f"{path}, line {line}" if line else str(path)
        reason = getattr(error, "msg", str(error))
        raise DeclarationError(f"{where}: {reason}") from error


def _top_package(path: Path) -> Path:
    """The folder from which the file is imported: its own, or the parent of its outermost package."""
    folder = path.parent
    while (folder / "__init__.py").is_file():
        folder = folder.parent
    return folder


def _project_root(home: Path) -> Path:
    for folder in (home, *home.parents):
        if any((folder / marker).exists() for marker in _ROOT_MARKERS):
            return folder
    cwd = Path.cwd()
    return cwd if home.is_relative_to(cwd) else home


def _relative(path: Path, root: Path) -> str:
    relative = path.relative_to(root).as_posix()
    return "" if relative == "." else relative


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
