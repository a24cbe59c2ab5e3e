"""How a job travels: a `Program` holds all that another process needs to make the same object.

A job file travels as source with the local modules it imports; what was defined interactively travels as one
pickle. Either is loaded once per process. Nothing here knows Dask.
"""

from __future__ import annotations

import base64
import difflib
import functools
import hashlib
import inspect
import io
import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from dataflow.engine.imports import SourceTree, collect, is_local
from dataflow.engine.loader import PREFIX, blame, import_tree
from dataflow.engine.variables import NONE, Variables, digest_of, in_place
from dataflow.errors import DeclarationError

DEFAULT_NAMES = ("job", "pipeline")
"""What is looked for in a job file when no name is given, in this order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A job in a form that travels and is the same wherever it is loaded.

    Attributes:
        kind: `source` for a file, `blob` for interactive definitions.
        entry: The name of the object in the job file; empty for the default names and for a blob.
        parameters: Arguments of an entry that is a function, in the order given; plain JSON values.
        tree: The files of a `source`, else None.
        blob: The pickle of a `blob`, else empty.
        hash: 16 hex digits over all of this; names the modules of a `source`.
        environ: A digest of the variables that it is loaded with, or empty.
    """

    kind: Literal["source", "blob"]
    entry: str = ""
    parameters: tuple[tuple[str, Any], ...] = ()
    tree: SourceTree | None = None
    blob: bytes = b""
    hash: str = ""
    environ: str = ""

    def __post_init__(self) -> None:
        if not self.hash:
            object.__setattr__(self, "hash", self._digest())

    def _digest(self) -> str:
        tree = asdict(self.tree) if self.tree else None
        blob = base64.b64encode(self.blob).decode()
        given = [self.environ] if self.environ else []
        text = json.dumps([self.kind, self.entry, self.parameters, tree, blob, *given])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def given(self, variables: Variables) -> Program:
        """The same program to be loaded with these variables, which makes another one of it."""
        return replace(self, environ=digest_of(variables), hash="") if variables else self

    @property
    def libraries(self) -> tuple[str, ...]:
        """Top-level names of the libraries that the source imports; empty for a blob, where nobody knows."""
        return self.tree.libraries if self.tree else ()


def pack_file(path: str | Path, name: str | None = None, *, parameters: Mapping[str, Any] | None = None) -> Program:
    """Pack a job file and the local modules that it imports; nothing is run.

    Args:
        path: The job file.
        name: A job, a pipeline or a function that returns one; by default `job`, then `pipeline`.
        parameters: Arguments for the function, plain JSON values.

    Raises:
        DeclarationError: A file cannot be read or parsed.
    """
    return Program(
        kind="source",
        entry=name or "",
        parameters=tuple((parameters or {}).items()),
        tree=collect(Path(path)),
    )


def pack_object(value: object) -> Program:
    """Pack an object that this process holds.

    What was loaded from a program, or stands under a name in a local module, travels as that source; what was
    defined in a notebook, a prompt or a script travels as a pickle, its functions and their modules included.

    Raises:
        DeclarationError: The object holds something that cannot be pickled.
    """
    for program, loaded in list(_loaded.values()):
        if loaded is value:
            return program
    if named := _find_by_name(value):
        return pack_file(named[0], named[1])
    return Program(kind="blob", blob=_pickle(value))


def load(program: Program, variables: Variables = NONE) -> Any:
    """The object that a program stands for; made once per process, the same object ever after.

    Args:
        program: The program.
        variables: What stands in the environment while it is loaded; `program.given` has made it one of its own.

    Raises:
        DeclarationError: The code fails while it is imported (the message names file and line), or the entry
            is missing or does not take the parameters.
    """
    with _loading:
        if program.hash not in _loaded:
            with in_place(variables):
                _loaded[program.hash] = (program, _make(program))
            _given[program.hash] = variables
        return _loaded[program.hash][1]


_loaded: dict[str, tuple[Program, object]] = {}
_given: dict[str, Variables] = {}
# Partition tasks run on several threads; an import must happen once.
_loading = threading.RLock()


def _make(program: Program) -> object:
    if program.tree is None:
        return _unpickle(program.blob)
    try:
        return _run_source(program, tree=program.tree)
    except (Exception, SystemExit) as error:
        raise blame(error, tree=program.tree) from error


def _run_source(program: Program, *, tree: SourceTree) -> object:
    module = import_tree(tree, hash=program.hash)
    name, value = _entry(module, program=program)
    where = f"`{name}` in {module.__file__}"
    if inspect.isroutine(value):
        return _call(value, parameters=dict(program.parameters), where=where)
    if program.parameters:
        given = ", ".join(key for key, _ in program.parameters)
        raise DeclarationError(f"{where} is no function, so it takes no parameters (given: {given})")
    return value


def _entry(module: ModuleType, *, program: Program) -> tuple[str, object]:
    for name in [program.entry] if program.entry else DEFAULT_NAMES:
        if hasattr(module, name):
            return name, getattr(module, name)
    if not program.entry:
        raise DeclarationError(
            f"{module.__file__} defines neither `job` nor `pipeline`; say which name to run as FILE:NAME"
        )
    close = difflib.get_close_matches(program.entry, [n for n in vars(module) if not n.startswith("_")], n=1)
    hint = f"; did you mean `{close[0]}`?" if close else ""
    raise DeclarationError(f"{module.__file__} has no `{program.entry}`{hint}")


def _call(function: Callable[..., object], *, parameters: dict[str, Any], where: str) -> object:
    signature = inspect.signature(function)
    try:
        signature.bind_partial(**parameters)
        signature.bind(**parameters)
    except TypeError as error:
        raise DeclarationError(f"{where} takes {signature}: {error}") from error
    return function(**parameters)


def loaded_from(pipeline: object) -> Program | None:
    """The program that a pipeline, or the job around it, was loaded from in this process; None for any other."""
    for program, loaded in list(_loaded.values()):
        if pipeline in (loaded, getattr(loaded, "pipeline", None)):
            return program
    return None


def loaded_with(program: Program) -> Variables:
    """What stood in the environment while a program was loaded in this process."""
    return _given.get(program.hash, NONE)


def found_in(pipeline: object) -> str | None:
    """The file of the local module in which a pipeline, or a job around it, stands under a name; None without one."""
    for module in _local_modules():
        for held in list(vars(module).values()):
            if held is pipeline or (type(held).__name__ == "Job" and getattr(held, "pipeline", None) is pipeline):
                return str(module.__file__)
    return None


def _find_by_name(value: object) -> tuple[str, str] | None:
    for module in _local_modules():
        spec = module.__spec__
        # A module that is still being imported would run itself again wherever it is loaded.
        if spec is None or spec.name.startswith(PREFIX) or getattr(spec, "_initializing", False):
            continue
        for name, held in list(vars(module).items()):
            if held is value:
                return str(module.__file__), name
    return None


def _local_modules() -> list[ModuleType]:
    """The user's own modules in this process; `__main__` is not among them."""
    return [
        module
        for name, module in list(sys.modules.items())
        if isinstance(module, ModuleType)
        and name == module.__name__ != "__main__"
        and is_local(getattr(module, "__file__", None))
    ]


def _pickle(value: object) -> bytes:
    import cloudpickle

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, _CACHED) and _by_value(obj.__module__):
                return _cached, (obj.__wrapped__, obj.cache_parameters())
            return super().reducer_override(obj)

    buffer = io.BytesIO()
    try:
        with _pickled_by_value(_local_modules()):
            Pickler(buffer).dump(value)
    except Exception as error:
        raise DeclarationError(
            f"the definitions cannot travel to worker processes: {error}; "
            "create what cannot be pickled inside the service, or put the definitions into a file"
        ) from error
    return buffer.getvalue()


_CACHED = type(functools.lru_cache(int))


def _cached(function: Callable[..., Any], parameters: Mapping[str, Any]) -> Any:
    """Wrap a function again as `functools.lru_cache` had; a cache itself cannot be pickled."""
    return functools.lru_cache(**parameters)(function)


def _by_value(module: str) -> bool:
    return module == "__main__" or is_local(getattr(sys.modules.get(module), "__file__", None))


@contextmanager
def _pickled_by_value(modules: list[ModuleType]) -> Iterator[None]:
    import cloudpickle

    known = cloudpickle.list_registry_pickle_by_value()
    added = [module for module in modules if module.__name__ not in known]
    for module in added:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in added:
            cloudpickle.unregister_pickle_by_value(module)


def _unpickle(blob: bytes) -> object:
    import pickle

    try:
        return pickle.loads(blob)
    except Exception as error:
        raise DeclarationError(
            f"the definitions cannot be loaded here: {type(error).__name__}: {error}; "
            "workers need the same libraries as the process that defines the job"
        ) from error
