"""Files that are something else than their reader takes: told by their first bytes, else by their name; pure.

Each has a sentence that says what it is and how it can be a source.
"""

from __future__ import annotations

from dataclasses import dataclass

from dataflow.store.filesystem import plain_name

_WORKBOOK_PARTS = (b"[Content_Types].xml", b"xl/", b"content.xmlmimetype", b"mimetypeapplication/vnd.oasis")

_LOWEST_OF_TEXT, _LOOK = 9, 1 << 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of file.

    Attributes:
        words: What a file of it is, and what to do, behind its path.
        ends: How names of such files end.
        magic: With what such files begin.
    """

    words: str
    ends: tuple[str, ...] = ()
    magic: tuple[bytes, ...] = ()


_WORKBOOK = Kind(
    words="is a workbook of a spreadsheet; save its sheet as CSV, or give pandas.read_excel(...) as the source",
    ends=(".xlsx", ".xlsm", ".xls", ".xlsb", ".ods"),
    magic=(b"\xd0\xcf\x11\xe0",),
)
_ARCHIVE = Kind(
    words="is a zip archive; unpack it, or name a file in it as zip://NAME.csv::PATH.zip",
    ends=(".zip",),
    magic=(b"PK\x03\x04",),
)
_KINDS = (
    _ARCHIVE,
    _WORKBOOK,
    Kind(words="is a tar archive; unpack it", ends=(".tar", ".tgz", ".tar.gz", ".tar.zst", ".tar.bz2", ".tar.xz")),
    Kind(words="is a Parquet file; use flow.parquet", magic=(b"PAR1",)),
    Kind(
        words="is an encrypted Parquet file, for which no key can be given; write it without encryption",
        magic=(b"PARE",),
    ),
    Kind(
        words="is an Arrow file; give pyarrow.feather.read_table(...) as the source",
        ends=(".arrow", ".feather", ".ipc"),
        magic=(b"ARROW1",),
    ),
    Kind(words="is an ORC file; give pyarrow.orc.read_table(...) as the source", ends=(".orc",), magic=(b"ORC",)),
    Kind(words="is an Avro file; write it as Parquet or JSON lines", ends=(".avro",), magic=(b"Obj\x01",)),
    Kind(
        words="is an SQLite database; give pandas.read_sql(...) as the source",
        ends=(".db", ".sqlite", ".sqlite3"),
        magic=(b"SQLite format 3\0",),
    ),
    Kind(words="is a PDF document; extract its table first", ends=(".pdf",), magic=(b"%PDF-",)),
)


def foreign_by_name(path: str) -> str | None:
    """What is said of a file whose name tells a kind that is no source."""
    name = plain_name(path).lower()
    return next((kind.words for kind in _KINDS if name.endswith(kind.ends)), None)


def is_binary(opening: bytes) -> bool:
    """Whether the first bytes are those of no text; a header may well begin with ORC or BZh."""
    return any(byte < _LOWEST_OF_TEXT for byte in opening[:_LOOK])


def foreign_by_bytes(path: str, opening: bytes) -> str | None:
    """What is said of a file that begins like a kind that is no text; None where it does not."""
    if not is_binary(opening):
        return None
    kind = next((kind for kind in _KINDS if opening.startswith(kind.magic)), None)
    if kind is _ARCHIVE and (foreign_by_name(path) == _WORKBOOK.words or any(p in opening for p in _WORKBOOK_PARTS)):
        kind = _WORKBOOK
    return None if kind is None else kind.words


def unreadable_parquet(path: str, opening: bytes, *, problem: str) -> str:
    """What is said of a file that pyarrow cannot read as Parquet.

    Args:
        path: As in `SourceFile.path`.
        opening: Its first bytes.
        problem: The words of pyarrow.
    """
    if opening.startswith(b"PARE") or "crypt" in problem:
        return "is an encrypted Parquet file, for which no key can be given; write it without encryption"
    if not opening.startswith(b"PAR1"):
        foreign = foreign_by_bytes(path, opening)
        return foreign or "is cut off, damaged or no Parquet file; fetch or write it again"
    if "precision" in problem or "not implemented" in problem.lower() or "Unsupported" in problem:
        return f"has a type that cannot be read ({problem.splitlines()[0]}); write that column with another one"
    return "is cut off, damaged or no Parquet file; fetch or write it again"
