"""Dask collections: the same function over every partition, lazy, with the right `meta`.

What the function does is not known here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol


class Applied(Protocol):
    """What is mapped over the partitions of a collection."""

    def frame(self, frame: Any, schema: Any) -> Any:
        """A pandas partition under the schema of all partitions."""

    def empty(self, meta: Any) -> tuple[Any, Any]:
        """An empty result for an empty partition, and the schema; calls no service."""

    def records(self, records: Any) -> list[dict[str, Any]]:
        """A partition of dicts."""


def kind_of(data: Any) -> Literal["pandas", "dask", "bag", "other"]:
    """What kind of collection it is, without importing the library that made it."""
    names = {(one.__module__.partition(".")[0], one.__name__) for one in type(data).__mro__}
    if ("pandas", "DataFrame") in names:
        return "pandas"
    if names & {("dask", "DataFrame"), ("dask_expr", "DataFrame")} or (
        hasattr(data, "dask") and hasattr(data, "map_partitions") and hasattr(data, "columns")
    ):
        return "dask"
    return "bag" if ("dask", "Bag") in names else "other"


def map_frames(data: Any, applied: Applied) -> Any:
    """A lazy Dask DataFrame of the results."""
    meta, schema = applied.empty(data._meta)
    return data.map_partitions(applied.frame, schema, meta=meta, enforce_metadata=False)


def each_frame(data: Any, function: Callable[[Any, int], None]) -> None:
    """Call the function with each partition of a Dask DataFrame and its place, where its tasks are computed."""
    import dask

    call = dask.delayed(function)
    dask.compute(*(call(part, at) for at, part in enumerate(data.to_delayed())))


def map_records(data: Any, applied: Applied) -> Any:
    """A lazy Dask Bag of the results."""
    return data.map_partitions(applied.records)
