"""The public face: its names, and what it costs to import."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import dataflow as flow

NAMES = (
    *("transformation", "validation", "enrichment", "lookup", "Service", "ALL", "Context", "Outcomes"),
    *("llm", "judge", "for_each", "waterfall", "best_of", "ServiceRegistry"),
    *("critical", "important", "optional"),
    *("Pipeline", "Job", "csv", "files", "jsonl", "parquet", "open", "why", "testing"),
    *("Outcome", "Status", "Invalid", "NotFound", "Skip", "Reject", "RetryLater"),
    *("errors", "DataflowError", "CriticalServiceFailed"),
    *("PerMillionTokens", "PerRecord", "JsonFormatter"),
    *("API", "Breaker", "Rate", "Retry", "api_key", "basic", "bearer", "oauth2_client"),
)
HEAVY = ["aiohttp", "httpx", "distributed", "dask", "bokeh", "pandas", "pyarrow", "numpy", "fsspec", "click", "rich"]


def test_the_public_names_are_pinned() -> None:
    assert sorted(flow.__all__) == sorted(NAMES)
    assert sorted(dir(flow)) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_is_there_and_says_what_it_is(name: str) -> None:
    value = getattr(flow, name)
    assert getattr(flow, name) is value
    assert name == "ALL" or inspect.getdoc(value)


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'transform'"):
        _ = flow.transform  # type: ignore[attr-defined]


def imported_by(code: str) -> set[str]:
    code = f"import sys; {code}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return set(done.stdout.split())


def test_importing_the_package_imports_no_library() -> None:
    assert imported_by("import dataflow").isdisjoint(HEAVY)


def test_declaring_a_pipeline_imports_neither_pandas_nor_dask() -> None:
    code = (
        "import dataflow as flow; "
        "name = flow.transformation(name='name', returns=str)(lambda name: name.upper()); "
        "flow.Pipeline('leads', [name, flow.lookup('ref', table='ref.parquet', on='name')])"
    )
    assert imported_by(code).isdisjoint({"pandas", "dask", "distributed", "bokeh", "fsspec", "rich", "click"})
