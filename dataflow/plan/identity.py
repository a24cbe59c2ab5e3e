"""What a declaration says, as plain values: the same for two that say the same, in whichever process and order.

Keys of answers and fingerprints of plans are made of it. Names of classes do not count, what their authors wrote to
check or change what they are given does. Secrets count by name; their values are not known here.
"""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
from collections.abc import Iterable, Mapping
from types import FunctionType
from typing import Any

import pyarrow as pa

from dataflow.plan.code import code_digest, stable
from dataflow.services.api import API
from dataflow.services.types import Declared

_HOOKS = ("__new__", "__init__", "__post_init__", "__setattr__", "model_post_init")
"""Methods of a record type that decide what becomes of the values that it is given."""
_DECORATED = ("validators", "field_validators", "root_validators", "model_validators")
_INSTALLED = ("<string>", "site-packages", "dist-packages")
"""What the file of a function holds that no user has written: dataclasses make theirs out of a text."""


def api_identity(api: API, headers: Mapping[str, str] | None = None) -> list[Any]:
    """Which account is asked, and what its provider sees of it.

    Args:
        api: The account.
        headers: Those of a request, which go before its own.
    """
    sent = {name.lower(): value for name, value in [*api.headers.items(), *(headers or {}).items()]}
    auth = api.auth
    known = None if auth is None else [auth.scheme.value, auth.secrets, auth.place.lower(), auth.token_url, auth.scope]
    return [api.name, api.url, sorted(sent.items()), known]


def type_identity(declared: Declared) -> list[Any]:
    """What a type says of its values, down to the last field."""
    said: list[Any] = [declared.nullable]
    if declared.fields is not None:
        defaults = _defaults(declared.model)
        fields = [
            [name, type_identity(one), name in declared.optional, defaults.get(name)]
            for name, one in sorted(declared.fields.items())
        ]
        return [*said, "record", fields, _rules(declared.model)]
    if declared.item is not None:
        return [*said, "dict" if pa.types.is_map(declared.arrow) else "list", type_identity(declared.item)]
    if declared.among:
        return [*said, "one of", sorted(map(repr, declared.among))]
    return [*said, str(declared.arrow)]


def value_identity(value: Any) -> str:
    """A text for a value that an author gave; another one where it holds something else."""
    if isinstance(value, Mapping):
        pairs = sorted((value_identity(key), value_identity(one)) for key, one in value.items())
        return f"{{{', '.join(f'{key}: {one}' for key, one in pairs)}}}"
    if isinstance(value, (list, tuple)):
        return f"{type(value).__name__}({', '.join(map(value_identity, value))})"
    if isinstance(value, FunctionType):
        return f"{value.__qualname__} {code_digest(value)}"
    if type(value).__module__.partition(".")[0] in ("numpy", "pandas", "pyarrow", "polars"):
        # Their texts leave out what is long.
        return hashlib.sha256(pickle.dumps(value, protocol=5)).hexdigest()[:16]
    state = getattr(value, "__dict__", None)
    mute = getattr(type(value), "__repr__", None) is object.__repr__
    if mute and isinstance(state, dict) and not isinstance(value, type):
        return f"{type(value).__qualname__}{value_identity(state)}"
    return stable(value)


def _defaults(model: Any) -> dict[str, str]:
    """What stands for each field that an answer leaves out; one that is made each time counts by what makes it."""
    if hasattr(model, "model_fields"):
        listed = [(name, one.default, one.default_factory) for name, one in model.model_fields.items()]
        return {name: _default(one, made) for name, one, made in listed if not model.model_fields[name].is_required()}
    if dataclasses.is_dataclass(model):
        absent = dataclasses.MISSING
        fields = [
            (one.name, one.default, None if one.default_factory is absent else one.default_factory)
            for one in dataclasses.fields(model)
        ]
        return {name: _default(one, made) for name, one, made in fields if one is not absent or made is not None}
    return {name: _default(one, None) for name, one in getattr(model, "_field_defaults", {}).items()}


def _default(value: Any, made: Any) -> str:
    return value_identity(value) if made is None else f"made by {value_identity(made)}"


def _rules(model: Any) -> list[Any]:
    """What a class has to say about its values beside their types."""
    if model is None or model is dict:
        return []
    written = [
        [name, code_digest(found)]
        for name in _HOOKS
        for base in getattr(model, "__mro__", ())
        if isinstance(found := vars(base).get(name), FunctionType) and _is_written(found)
    ]
    return [*written, *_constraints(model)]


def _constraints(model: Any) -> Iterable[Any]:
    """Those of a pydantic model: its settings, its validators, and what its fields say beside a type."""
    if not hasattr(model, "model_fields"):
        return
    decorated = getattr(model, "__pydantic_decorators__", None)
    for kind in _DECORATED:
        for name, one in sorted(getattr(decorated, kind, {}).items()):
            yield [kind, name, stable(getattr(one, "info", None)), code_digest(one.func)]
    if model.model_config:
        yield ["settings", stable(model.model_config)]
    for name, one in sorted(model.model_fields.items()):
        said = [stable(one.alias), stable(one.validation_alias), *map(_metadata, one.metadata)]
        if said != ["None", "None"]:
            yield [name, *said]


def _metadata(one: Any) -> str:
    function = getattr(one, "func", None)
    return stable(one) if not callable(function) else f"{type(one).__qualname__} {code_digest(function)}"


def _is_written(function: FunctionType) -> bool:
    return not any(part in function.__code__.co_filename for part in _INSTALLED)
