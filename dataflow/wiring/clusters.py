"""Makes the cluster that a command names as `MODULE:CALLABLE`: the code is found, called, and blamed by name.

What is done with the cluster then is the business of `engine.foreign`.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from dataflow.engine.imports import is_local
from dataflow.errors import ClusterError, DataflowError, DeclarationError

_WAYS = "give MODULE:CALLABLE or FILE.py:CALLABLE, such as my_clusters:make"
_NAME = "_dataflow_clusters"
"""The module that a file becomes: its own name may belong to another one."""


def check_name(text: str) -> None:
    """See that a text can name a callable.

    Raises:
        DeclarationError: It cannot.
    """
    place, _, name = text.rpartition(":")
    if not place or not name.isidentifier():
        raise DeclarationError(f"{text!r} names no cluster; {_WAYS}")


def make_cluster(text: str) -> Any:
    """Call what `MODULE:CALLABLE` or `FILE.py:CALLABLE` names, without arguments, and return the cluster it gives.

    A module is looked for in the current folder too, as `python -m` does; a file finds the modules next to it.

    Raises:
        DeclarationError: There is no such file, module or name, it cannot be imported, takes arguments, or gives
            something else than a cluster.
        ClusterError: It has failed; the message names it and, for a file, the line.
    """
    from dataflow.engine.foreign import is_cluster

    check_name(text)
    place, _, name = text.rpartition(":")
    path = Path(place)
    is_file = path.suffix == ".py" or path.is_file()
    with _first_on_path(path.resolve().parent if is_file else Path.cwd()):
        module = _run_file(path, text) if is_file else _import(place, text)
        made = _call(_callable(module, name, text=text), text)
    if inspect.iscoroutine(made):
        made.close()
    if not is_cluster(made):
        raise DeclarationError(f"{text} gives a {type(made).__name__}, which is no cluster; let it return the cluster")
    return made


@contextmanager
def _first_on_path(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _run_file(path: Path, text: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(_NAME, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise DeclarationError(f"{text!r} names no cluster: there is no file {path}; {_WAYS}")
    module = importlib.util.module_from_spec(spec)
    # Classes that are defined there look for their module by its name.
    sys.modules[_NAME] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise _unimportable(text, error) from error
    return module


def _import(name: str, text: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise DeclarationError(
                f"{text!r} names no cluster: there is no module {error.name}; install it, or {_WAYS}"
            ) from error
        raise _unimportable(text, error) from error
    except (Exception, SystemExit) as error:
        raise _unimportable(text, error) from error


def _unimportable(text: str, error: BaseException) -> DataflowError:
    return DeclarationError(f"the module of {text} cannot be imported: {_told(error)}")


def _callable(module: ModuleType, name: str, *, text: str) -> Callable[[], Any]:
    if not hasattr(module, name):
        close = difflib.get_close_matches(name, [one for one in vars(module) if not one.startswith("_")], n=1)
        hint = f"; did you mean `{close[0]}`?" if close else ""
        raise DeclarationError(f"{text}: {module.__file__} has no `{name}`{hint}")
    found = getattr(module, name)
    if not callable(found):
        raise DeclarationError(f"{text} is a {type(found).__name__}; name a function that makes a cluster")
    try:
        inspect.signature(found).bind()
    except TypeError as error:
        raise DeclarationError(f"{text} is called without arguments: {error}; give them defaults") from error
    except ValueError:
        # Some callables that are not written in Python do not say what they take.
        pass
    return found  # type: ignore[no-any-return]


def _call(make: Callable[[], Any], text: str) -> Any:
    try:
        return make()
    except DataflowError:
        raise
    except ImportError as error:
        raise DeclarationError(f"{text} cannot be called: {_told(error)}; install what it needs") from error
    except (Exception, SystemExit) as error:
        raise ClusterError(f"{text} has failed: {_told(error)}") from error


def _told(error: BaseException) -> str:
    """What an error says, after the innermost line of the user's own code, where there is one."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}: {type(error).__name__}: {error.msg}"
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if is_local(frame.filename)]
    place = f"{own[-1].filename}, line {own[-1].lineno}: " if own else ""
    return f"{place}{type(error).__name__}: {error}"
