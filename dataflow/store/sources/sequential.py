"""Files that can only be read from their beginning: packed ones, encodings decoded in order, what is sent only whole.

A reader that stands behind one slice is kept, so that the next slice of the file goes on from there: slices
read in order cost one pass over the file for each process. Whoever reads no more closes them: a run that ends, a
look at the first records, the process. Text files that can be entered anywhere are not
the business of this module.
"""

from __future__ import annotations

import atexit
import codecs
import gzip
import lzma
import threading
import zlib
from dataclasses import dataclass
from typing import Any, BinaryIO

from dataflow.errors import SourceError
from dataflow.store.filesystem import open_file, shown, translated
from dataflow.store.sources.encodings import misencoded
from dataflow.store.sources.streams import streams_of_bz2, streams_of_xz

BLOCK = 1 << 20
"""Bytes that are read at a time; with the arrays of a scanner they fit the second-level cache."""

_DAMAGE = (OSError, EOFError, zlib.error, lzma.LZMAError)
_IDLE_READERS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedFile:
    """One file that can only be read from its beginning.

    Attributes:
        path: As in `SourceFile.path`.
        fingerprint: As in `SourceFile.fingerprint`.
        compression: `gzip`, `zstd`, `bz2`, `xz` or None.
        transcode: The encoding to be turned into UTF-8 on the way, or None to leave the bytes alone.
    """

    path: str
    fingerprint: str
    compression: str | None
    transcode: str | None

    @property
    def changes_text(self) -> bool:
        """Whether its text is not the bytes of the file as they are."""
        return self.compression is not None or self.transcode is not None


class SequentialReader:
    """Reads the text of a packed file forwards; `position` counts bytes of text.

    Args:
        file: The file, opened at once.
    """

    def __init__(self, file: PackedFile) -> None:
        self.file = file
        self.position = 0
        self._held = b""
        self._lines = self._unpacked = 0
        self._begun = False
        self._raw = open_file(file.path)
        self._inflated = _inflate(file.compression, self._raw)
        self._decoder = codecs.getincrementaldecoder(file.transcode)() if file.transcode else None

    @property
    def consumed(self) -> int:
        """Bytes on disk that were read so far."""
        return self._raw.tell()

    def read(self, size: int) -> bytes:
        """The next `size` bytes of the text, fewer only at its end.

        Raises:
            SourceError: The file is cut off, damaged, or not in its encoding.
        """
        parts, held = [self._held], len(self._held)
        while held < size and (block := self._block()):
            parts.append(block)
            held += len(block)
        data = b"".join(parts)
        self._held = data[size:]
        self.position += min(size, len(data))
        return data[:size] if self._held else data

    def skip_to(self, position: int) -> None:
        """Read on to this offset and forget what was read."""
        while self.position < position and self.read(min(BLOCK, position - self.position)):
            pass

    def close(self) -> None:
        """Close the file."""
        self._raw.close()

    def _block(self) -> bytes:
        data = self._inflate_block()
        if self._decoder is None:
            return data
        while not (text := self._decode(data)) and data:
            data = self._inflate_block()
        return text

    def _inflate_block(self) -> bytes:
        path = self.file.path
        if self.file.compression is None:
            with translated(path):
                return self._raw.read(BLOCK)
        try:
            data = bytes(self._inflated.read(BLOCK))
        except _DAMAGE as error:
            raise SourceError(
                f"{shown(path)}: the {self.file.compression} data is cut off or damaged "
                f"behind {self._unpacked:,} bytes of text; fetch the file again"
            ) from error
        self._unpacked += len(data)
        return data

    def _decode(self, data: bytes) -> bytes:
        decoder, encoding = self._decoder, self.file.transcode
        if decoder is None or encoding is None:
            return data
        try:
            text = decoder.decode(data, final=not data)
        except UnicodeError as error:
            before = data[: getattr(error, "start", 0)].decode(encoding, errors="ignore")
            raise misencoded(self.file.path, encoding, line=self._lines + before.count("\n") + 1) from error
        if text and not self._begun:
            self._begun, text = True, text.removeprefix("\ufeff")
        self._lines += text.count("\n")
        return text.encode()


def read_in_order(file: PackedFile, start: int, *, size: int, whole: bool) -> bytes:
    """The text from `start` on, going on with a reader that stands before it where this process has one.

    Args:
        file: The file.
        start: Offset of the first byte of text.
        size: Bytes to read.
        whole: Whether the text must end there; so a file that inflates without end is refused, not read.
    """
    reader = _borrow(file, start)
    try:
        reader.skip_to(start)
        data = reader.read(size)
        if whole:
            _expect_end(reader, size)
    except BaseException:
        reader.close()
        raise
    if whole or len(data) < size:
        reader.close()
    else:
        _give_back(reader)
    return data


def close_idle(path: str | None = None) -> None:
    """Close the readers that wait for a next slice; whoever would have gone on with one begins anew.

    Args:
        path: As in `SourceFile.path`; None for those of all files.
    """
    with _idle_lock:
        waiting = [reader for reader in _idle if path in (None, reader.file.path)]
        for reader in waiting:
            _idle.remove(reader)
    for reader in waiting:
        reader.close()


def _expect_end(reader: SequentialReader, size: int) -> None:
    if reader.read(1):
        raise SourceError(
            f"{shown(reader.file.path)}: inflates to more than {size:,} bytes, far more than its beginning told; "
            "pack it as several smaller files"
        )


def _inflate(compression: str | None, raw: BinaryIO) -> Any:
    if compression == "gzip":
        return gzip.GzipFile(fileobj=raw)
    if compression == "bz2":
        return streams_of_bz2(raw)
    if compression == "xz":
        return streams_of_xz(raw)
    if compression == "zstd":
        import pyarrow as pa

        return pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd")
    return raw


# The one state of this module: readers that wait in the middle of their file for the next slice.
_idle: list[SequentialReader] = []
_idle_lock = threading.Lock()
atexit.register(close_idle)


def _borrow(file: PackedFile, start: int) -> SequentialReader:
    with _idle_lock:
        fitting = [reader for reader in _idle if reader.file == file and reader.position <= start]
        if fitting:
            nearest = max(fitting, key=lambda reader: reader.position)
            _idle.remove(nearest)
            return nearest
    return SequentialReader(file)


def _give_back(reader: SequentialReader) -> None:
    with _idle_lock:
        _idle.append(reader)
        surplus = [_idle.pop(0) for _ in range(len(_idle) - _IDLE_READERS)]
    for unused in surplus:
        unused.close()
