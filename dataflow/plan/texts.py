"""The text of a job's files, as far as it means something: without comments, docstrings and layout."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import CodeType

from dataflow.plan.bytecode import constant_text

_QUIET = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Global, ast.Pass)


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """What is counted beside the code of a service that cannot be seen into wholly.

    Attributes:
        files: A digest of each file of the job and of the local modules that it imports, by its path.
        acting: Those that do something when they are loaded, beside giving names to values.
        process: Takes the place of the files where there are none, as in a notebook; it holds in one process only.
    """

    files: Mapping[str, str] = field(default_factory=dict)
    acting: tuple[str, ...] = ()
    process: str = ""

    @property
    def digest(self) -> str:
        """Of all of it."""
        text = repr([sorted(self.files.items()), self.process])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_texts(files: Iterable[tuple[str, str]]) -> Texts:
    """What the files of a job say.

    Args:
        files: Path and text of each.
    """
    read = {path: _read(text) for path, text in files}
    return Texts(
        files={path: digest for path, (digest, _) in read.items()},
        acting=tuple(path for path, (_, acts) in read.items() if acts),
    )


@lru_cache(maxsize=512)
def _read(text: str) -> tuple[str, bool]:
    """A digest of what a text does, and whether it acts when it is loaded."""
    try:
        tree = ast.parse(text)
        acts = any(_acts(one) for one in tree.body)
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                _drop_docstring(node)
        told = _told(compile(tree, "", "exec", dont_inherit=True, optimize=0))
    except (SyntaxError, ValueError, RecursionError):
        acts, told = True, text
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:16], acts


def _drop_docstring(node: ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
    first = node.body[0] if node.body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        node.body[0] = ast.copy_location(ast.Pass(), first)


def _told(code: CodeType) -> str:
    """All that a code object does."""
    parts = [code.co_name, code.co_code.hex(), code.co_exceptiontable.hex(), str(code.co_flags)]
    parts += [*code.co_names, "/", *code.co_varnames, "/", *code.co_freevars, "/", *code.co_cellvars, "/"]
    parts += [_told(one) if isinstance(one, CodeType) else constant_text(one) for one in code.co_consts]
    return " ".join([str(len(parts)), *parts])


def _acts(statement: ast.stmt) -> bool:
    """Whether a statement of a module does more than to define, to import and to give names to values."""
    match statement:
        case ast.Expr(value=ast.Constant()):
            return False
        case ast.Assign(targets=targets):
            return any(not _is_name(one) for one in targets)
        case ast.AnnAssign(target=target) | ast.AugAssign(target=target):
            return not _is_name(target)
        case ast.If(test=test) if _is_for_main(test):
            return False
        case ast.If(body=body, orelse=others):
            return any(map(_acts, [*body, *others]))
        case ast.Try(body=body, handlers=handlers, orelse=others, finalbody=last):
            inside = [one for handler in handlers for one in handler.body]
            return any(map(_acts, [*body, *inside, *others, *last]))
    return not isinstance(statement, _QUIET)


def _is_name(target: ast.expr) -> bool:
    return isinstance(target, ast.Name) or (
        isinstance(target, (ast.Tuple, ast.List)) and all(map(_is_name, target.elts))
    )


def _is_for_main(test: ast.expr) -> bool:
    """Whether it is `__name__ == "__main__"`, which is not so where a job is loaded."""
    return isinstance(test, ast.Compare) and isinstance(test.left, ast.Name) and test.left.id == "__name__"
