"""Files appear whole or not at all, on a local path and in an object store."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest
from committing import broken_at

from dataflow.errors import StoreError
from dataflow.store.files import Files, LocalFiles, files_at, is_temporary, rooted, translated


@pytest.fixture(params=["local", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path) if request.param == "local" else f"memory://{uuid4().hex}"


@pytest.fixture
def files(place: str) -> Files:
    return files_at(place)


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def full() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_written_file_reads_back_and_can_change(files: Files, place: str) -> None:
    files.write(f"{place}/a.json", b"one")
    files.write(f"{place}/a.json", b"two")
    assert files.read(f"{place}/a.json") == b"two"
    assert files.sizes(place) == {"a.json": 3}


def test_a_file_is_created_only_once(files: Files, place: str) -> None:
    assert files.create(f"{place}/a.json", b"first")
    assert not files.create(f"{place}/a.json", b"second")
    assert dict(files.read_all(place)) == {"a.json": b"first"}


def test_of_many_that_create_a_file_one_succeeds(tmp_path: Path) -> None:
    files = LocalFiles()
    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(lambda number: files.create(f"{tmp_path}/a", b"%d" % number), range(64)))
    assert won.count(True) == 1
    assert files.read(f"{tmp_path}/a") == b"%d" % won.index(True)
    assert names_in(tmp_path) == ["a"]


def test_an_object_whose_put_was_answered_too_late_is_known_as_ones_own() -> None:
    place = f"memory://{uuid4().hex}"
    files = files_at(place)
    assert files.create(f"{place}/a", b"mine")
    assert files.create(f"{place}/a", b"mine")


def test_folders_and_files_of_what_is_not_there_are_empty(files: Files, place: str) -> None:
    assert files.sizes(f"{place}/none") == {}
    assert files.folders(f"{place}/none") == []
    assert dict(files.read_all(f"{place}/none")) == {}
    files.remove(f"{place}/none")


def test_files_and_folders_are_told_apart(files: Files, place: str) -> None:
    files.make(f"{place}/b/c")
    files.write(f"{place}/b/c/d", b"1")
    files.write(f"{place}/a", b"12")
    assert files.sizes(place) == {"a": 2}
    assert files.folders(place) == ["b"]


def test_a_copied_file_has_both_paths_and_a_target_that_exists_stays(files: Files, place: str) -> None:
    files.write(f"{place}/a", b"1")
    files.copy([(f"{place}/a", f"{place}/b")])
    files.remove(f"{place}/a")
    assert dict(files.read_all(place)) == {"b": b"1"}


def test_a_placed_folder_holds_just_the_named_files(files: Files, place: str) -> None:
    files.make(f"{place}/run", f"{place}/meta")
    files.write(f"{place}/run/a", b"1")
    files.write(f"{place}/run/orphan", b"2")
    manifest = (f"{place}/meta/m", b"{}")
    files.place([(f"{place}/run/a", "a")], folder=f"{place}/v1", staging=f"{place}/run/version", manifest=manifest)
    assert dict(files.read_all(f"{place}/v1")) == {"a": b"1"}
    assert files.read(f"{place}/meta/m") == b"{}"


def test_an_object_that_an_earlier_attempt_left_in_the_folder_goes() -> None:
    place = f"memory://{uuid4().hex}"
    files = files_at(place)
    files.write(f"{place}/run/a", b"1")
    files.write(f"{place}/v1/orphan", b"2")
    files.place([(f"{place}/run/a", "a")], folder=f"{place}/v1", staging="", manifest=(f"{place}/m", b"{}"))
    assert dict(files.read_all(f"{place}/v1")) == {"a": b"1"}


def test_a_link_points_to_what_it_was_told_last(tmp_path: Path) -> None:
    files = LocalFiles()
    files.point(f"{tmp_path}/latest", "v1")
    files.point(f"{tmp_path}/latest", "v2")
    assert (tmp_path / "latest").readlink() == Path("v2")


def test_a_file_system_without_symbolic_links_does_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "no")

    monkeypatch.setattr(os, "symlink", refuse)
    LocalFiles().point(f"{tmp_path}/latest", "v1")
    assert names_in(tmp_path) == []


def test_a_folder_on_a_file_system_without_hard_links_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "no")

    monkeypatch.setattr(os, "link", refuse)
    LocalFiles().write(f"{tmp_path}/a", b"1")
    LocalFiles().copy([(f"{tmp_path}/a", f"{tmp_path}/b")])
    assert (tmp_path / "b").read_bytes() == b"1"
    assert (tmp_path / "b").stat().st_nlink == 1


@pytest.mark.parametrize("operation", ["write", "create"])
def test_a_full_disk_at_any_moment_leaves_the_old_file_or_the_new_one(tmp_path: Path, operation: str) -> None:
    files = LocalFiles()
    for number in range(1, 20):
        path = tmp_path / f"{operation}{number}"
        if operation == "write":
            path.write_bytes(b"old")
        try:
            with broken_at(number, full) as passed:
                getattr(files, operation)(str(path), b"new")
        except OSError:
            assert not path.exists() or path.read_bytes() in (b"old", b"new")
        if passed() < number:
            break
    assert number > 3
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize(("operation", "appears"), [("write", "replace"), ("create", "link")])
def test_data_is_on_disk_before_the_file_appears_and_its_folder_before_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str, appears: str
) -> None:
    seen: list[str] = []
    sync, appear = os.fsync, getattr(os, appears)

    def synced(opened: int) -> None:
        seen.append("folder" if Path(f"/proc/self/fd/{opened}").resolve() == tmp_path else "data")
        sync(opened)

    def appeared(*args: object) -> None:
        seen.append("appears")
        appear(*args)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, appears, appeared)
    getattr(LocalFiles(), operation)(f"{tmp_path}/a", b"1")
    assert seen == ["data", "appears", "folder"]


def test_a_placed_folder_is_on_disk_before_it_appears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    sync, rename = os.fsync, os.rename
    files = LocalFiles()
    files.write(f"{tmp_path}/a", b"1")

    def synced(opened: int) -> None:
        seen.append(Path(f"/proc/self/fd/{opened}").resolve().name)
        sync(opened)

    def renamed(*args: str) -> None:
        seen.append("appears")
        rename(*args)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", renamed)
    staging = f"{tmp_path}/run/version"
    manifest = (f"{tmp_path}/meta/m", b"")
    files.make(f"{tmp_path}/meta")
    files.place([(f"{tmp_path}/a", "a")], folder=f"{tmp_path}/v1", staging=staging, manifest=manifest)
    position = seen.index("appears")
    assert {"version", "meta"} <= set(seen[:position])
    assert seen[position:] == ["appears", tmp_path.name, "run"]


def test_what_an_earlier_attempt_has_staged_does_not_get_into_the_folder(tmp_path: Path) -> None:
    files = LocalFiles()
    files.make(f"{tmp_path}/staging")
    files.write(f"{tmp_path}/staging/orphan", b"2")
    files.write(f"{tmp_path}/a", b"1")
    manifest = (f"{tmp_path}/m", b"")
    files.place([(f"{tmp_path}/a", "a")], folder=f"{tmp_path}/v1", staging=f"{tmp_path}/staging", manifest=manifest)
    assert dict(files.read_all(f"{tmp_path}/v1")) == {"a": b"1"}


def test_a_folder_that_is_removed_is_gone_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "v1"
    folder.mkdir()
    (folder / "a").touch()
    unlink = os.unlink

    def watched(*args: object, **options: object) -> None:
        assert not folder.exists()
        unlink(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "unlink", watched)
    LocalFiles().remove(str(folder))
    assert names_in(tmp_path) == []


def test_temporary_files_are_no_files_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / ".a.json.123abc.tmp").write_bytes(b"{")
    (tmp_path / "a.json").write_bytes(b"{}")
    assert dict(LocalFiles().read_all(str(tmp_path))) == {"a.json": b"{}"}
    assert [name for name in LocalFiles().sizes(str(tmp_path)) if is_temporary(name)] == [".a.json.123abc.tmp"]


def test_the_error_for_a_full_disk_says_what_where_and_what_to_try() -> None:
    words = "committing: No space left on device at /disk/a; free some space"
    with pytest.raises(StoreError, match=words), translated("committing"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/disk/a")


@pytest.mark.parametrize(
    ("root", "expected"),
    [("/a/b/", "/a/b"), ("file:///a/b", "/a/b"), ("s3://bucket/a/", "s3://bucket/a"), (Path("/a"), "/a")],
)
def test_a_root_is_written_in_one_way(root: str | Path, expected: str) -> None:
    assert rooted(root) == expected


def test_a_local_catalog_imports_neither_fsspec_nor_pandas_nor_dask() -> None:
    code = (
        "import sys; from dataflow.store.catalog import Catalog; Catalog('/nowhere').datasets(); "
        "print(sorted({'fsspec', 'pandas', 'dask', 'distributed', 'pyarrow.dataset'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
