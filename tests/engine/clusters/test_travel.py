"""How the package gets to other processes, and which of them are refused."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from distributed import Client

from dataflow.engine.cluster import connect
from dataflow.engine.travel import mismatches, pack_package, package_digest
from dataflow.errors import ClusterError

ROOT = Path(__file__).parents[3]
HERE = {"python": "3.11.7.final.0", "distributed": "2026.8.0", "pyarrow": "26.0.1"}
HERE |= {"msgspec": "0.20.0", "datasketches": "5.2.0", "dask": "2026.8.0"}


def versions(*, scheduler: dict[str, str | None] | None = None, **workers: dict[str, str | None]) -> dict[str, Any]:
    return {
        "client": {"packages": HERE},
        "scheduler": {"packages": {**HERE, **(scheduler or {})}},
        "workers": {name: {"packages": {**HERE, **differing}} for name, differing in workers.items()},
    }


def arrive(folder: Path, *, path: Path, **given: str) -> list[str]:
    """What a process says that has imported the package and then meets another one with a module more."""
    buffer = io.BytesIO(pack_package().content)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("dataflow/marker.py", "WHERE = __file__")
    (folder / "sent.zip").write_bytes(buffer.getvalue())
    script = f"""
        import sys
        from pathlib import Path
        from dataflow.engine import travel

        folder = Path({str(folder)!r})
        given = {{"digest": "0" * 16, "version": travel.installed_version(), **{given!r}}}
        if given["digest"] == "same":
            given["digest"] = travel.pack_package().digest
        sys.modules["_dataflow_0123456789abcdef.job"] = sys
        print(travel.arrive((folder / "sent.zip").read_bytes(), folder=folder, **given))
        print(*[name for name in sys.modules if name.startswith(("dataflow", "_dataflow"))])
        from dataflow.marker import WHERE
        print(Path(WHERE).relative_to(folder))
    """
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(path), str(ROOT)])}
    command = [sys.executable, "-c", textwrap.dedent(script)]
    ran = subprocess.run(command, check=False, capture_output=True, text=True, env=env, cwd=folder)
    return ran.stdout.splitlines()


def test_small_differences_are_no_mismatch() -> None:
    assert mismatches(versions(scheduler={"python": "3.11.2.final.0"}, a={"pyarrow": "26.3.0"}, b={})) == []
    assert mismatches(versions(a={"msgspec": "0.21.3"})) == []


def test_every_package_that_differs_is_named_with_both_versions_and_its_place() -> None:
    found = mismatches(versions(scheduler={"distributed": "2026.3.0"}, a={"python": "3.12.1.final.0"}))
    assert found == [
        "python is 3.12.1.final.0 on worker a and 3.11.7.final.0 here",
        "distributed is 2026.3.0 on the scheduler and 2026.8.0 here",
    ]


def test_what_workers_need_and_lack_is_named_once_for_all_of_them() -> None:
    many = {f"w{index}": {"msgspec": None} for index in range(3)}
    assert mismatches(versions(**many)) == ["msgspec is missing on worker w0 and 2 more and 0.20.0 here"]


def test_a_dask_that_does_not_fit_its_distributed_is_named() -> None:
    assert mismatches(versions(scheduler={"dask": "2026.7.1"}, a={})) == [
        "dask is 2026.7.1 on the scheduler and 2026.8.0 here"
    ]


def test_workers_that_differ_in_different_ways_are_all_named() -> None:
    found = mismatches(
        versions(
            a={"pyarrow": "25.0.0"},
            b={"pyarrow": "24.0.0", "dask": "2026.3.0"},
            c={"pyarrow": "25.0.0"},
            d={},
        )
    )
    assert found == [
        "dask is 2026.3.0 on worker b and 2026.8.0 here",
        "pyarrow is 25.0.0 on worker a and 1 more and 26.0.1 here",
        "pyarrow is 24.0.0 on worker b and 26.0.1 here",
    ]


def test_without_workers_only_the_scheduler_is_compared() -> None:
    assert mismatches(versions()) == []
    assert len(mismatches(versions(scheduler={"distributed": "2026.3.0"}))) == 1


def test_the_scheduler_needs_no_arrow() -> None:
    assert mismatches(versions(scheduler={"pyarrow": None, "msgspec": None}, a={})) == []


def test_the_digest_follows_names_and_text_but_not_what_python_compiled(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("1")
    before = package_digest(tmp_path)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "a.pyc").write_text("x")
    assert package_digest(tmp_path) == before
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    assert package_digest(tmp_path) != before


def test_other_code_of_the_same_version_is_replaced_by_what_arrives(tmp_path: Path) -> None:
    said, loaded, marker = arrive(tmp_path, path=ROOT)
    assert (said, loaded) == ("None", "")
    assert marker == f"dataflow-{'0' * 16}/dataflow/marker.py"


def test_the_same_code_is_left_as_it_is(tmp_path: Path) -> None:
    said, loaded = arrive(tmp_path, path=ROOT, digest="same")
    assert said == "None"
    assert "dataflow.engine.travel" in loaded


def pretend_installed(folder: Path, *, name: str, version: str) -> Path:
    """Leave in a folder on the path what an installer leaves."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    return folder


def test_another_version_that_is_installed_is_refused_by_name(tmp_path: Path) -> None:
    path = pretend_installed(tmp_path / "site", name="dataflow", version="0.0.1")
    said, _ = arrive(tmp_path, path=path, version="0.2.0")
    assert said == "dataflow 0.0.1 is installed and the client has 0.2.0"


@pytest.mark.slow
def test_a_worker_with_another_arrow_is_refused_by_name(foreign: Any, until: Callable[..., None]) -> None:
    pretend_installed(foreign.folder / "path", name="pyarrow", version="13.0.0")
    with Client(foreign.address, set_as_default=False) as client:
        until(client.nthreads)
        with pytest.raises(ClusterError, match=r"pyarrow is 13\.0\.0 on worker tcp://127\.0\.0\.1:\d+ and"):
            connect(client)
