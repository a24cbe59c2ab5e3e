"""The bytes of one text file and the offsets at which it can be entered.

Offsets count bytes of the file itself wherever it can be entered in the middle, else bytes of its inflated
(and, for encodings such as UTF-16, transcoded) text. Records and columns are not known here.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import BinaryIO

from dataflow.errors import SourceError
from dataflow.plan.partitions import SourceFile
from dataflow.store.filesystem import is_enterable, open_file, plain_name, read_range, shown, translated
from dataflow.store.sources.encodings import misencoded, transparent, utf8_share
from dataflow.store.sources.foreign import foreign_by_bytes, is_binary
from dataflow.store.sources.sequential import BLOCK, PackedFile, SequentialReader, read_in_order

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2", ".xz": "xz"}
_MAGIC = {b"\x1f\x8b": ".gz", b"\x28\xb5\x2f\xfd": ".zst", b"BZh": ".bz2", b"\xfd7zXZ": ".xz"}
_SURE = 1.25


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFile:
    """One file of text.

    Attributes:
        path: As in `SourceFile.path`.
        fingerprint: As in `SourceFile.fingerprint`.
        encoding: The normalised name of its encoding.
        packed: The same file where it can only be read from its beginning, else None.
    """

    path: str
    fingerprint: str
    encoding: str
    packed: PackedFile | None

    def opening(self, size: int) -> bytes:
        """The first `size` bytes, fewer only where the file ends before."""
        if self.packed is None or not self.packed.changes_text:
            return read_range(self.path, 0, stop=size)
        with closing(SequentialReader(self.packed)) as reader:
            return reader.read(size)

    def blocks(self, start: int = 0) -> Iterator[bytes]:
        """All bytes from `start` on, `BLOCK` at a time."""
        with closing(self._open()) as reader:
            _read(self.path, reader, size=start)
            while block := _read(self.path, reader, size=BLOCK):
                yield block

    def slice(self, start: int, stop: int, *, limit: int) -> bytes:
        """The bytes from `start` to `stop`, -1 meaning the end.

        Args:
            start: Offset of the first byte.
            stop: Offset behind the last byte, or -1.
            limit: Bytes that a packed file may give to the end; more is refused.
        """
        if self.packed is None:
            return read_range(self.path, start, stop=stop)
        size = limit if stop < 0 else stop - start
        return read_in_order(self.packed, start, size=size, whole=stop < 0)

    def to_utf8(self, data: bytes, *, offset: int) -> bytes:
        """The bytes, which stand at `offset`, as UTF-8; a file that is UTF-8 already passes unchecked.

        Raises:
            SourceError: A byte has no meaning in the encoding; the message names the line.
        """
        if self.encoding == "utf-8":
            return data
        try:
            return data.decode(self.encoding).encode()
        except UnicodeError as error:
            raise self.misencoded(offset + getattr(error, "start", 0)) from error

    def checked(self, blocks: Iterable[bytes], *, offset: int, final: bool = True) -> Iterator[bytes]:
        """The same blocks, each looked at for bytes that are not in the encoding.

        Args:
            blocks: Bytes from `offset` on.
            offset: Where they begin.
            final: Whether they go on to the end of the text, so that no character may be open behind them.
        """
        decoder = codecs.getincrementaldecoder(self.encoding)()
        for block in blocks:
            self._decode(decoder, block, offset=offset)
            offset += len(block)
            yield block
        if final:
            self._decode(decoder, b"", offset=offset)

    def _decode(self, decoder: codecs.IncrementalDecoder, block: bytes, *, offset: int) -> None:
        held = len(decoder.getstate()[0])
        if block.isascii() and not held:
            return
        try:
            decoder.decode(block, final=not block)
        except UnicodeError as error:
            raise self.misencoded(offset - held + getattr(error, "start", 0)) from error

    def misencoded(self, position: int) -> SourceError:
        """The error for a byte at this offset that is not in the encoding; reads the file up to there."""
        lines, offset = 1, 0
        for block in self.blocks():
            lines += block[: max(position - offset, 0)].count(b"\n")
            offset += len(block)
            if offset >= position:
                break
        return misencoded(self.path, self.encoding, line=lines, share=utf8_share(self.blocks()))

    def refuse_disguised(self, opening: bytes) -> None:
        """Raise a `SourceError` where the first bytes tell of a compression that the name does not, or of no text."""
        if not is_binary(opening):
            return
        disguise = next((end for magic, end in _MAGIC.items() if opening.startswith(magic)), None)
        if (self.packed is None or self.packed.compression is None) and disguise:
            raise SourceError(
                f"{shown(self.path)}: holds {disguise} data though its name does not say so; rename or unpack it"
            )
        if self.packed is None or self.packed.transcode is None:
            foreign = foreign_by_bytes(self.path, opening)
            if foreign:
                raise SourceError(f"{shown(self.path)}: {foreign}")

    def _open(self) -> BinaryIO | SequentialReader:
        return open_file(self.path) if self.packed is None else SequentialReader(self.packed)


def text_file(path: str, *, fingerprint: str, encoding: str = "utf-8", structure: str = "\r\n") -> TextFile:
    """The file as text.

    Args:
        path: As in `SourceFile.path`; the end of its name tells the compression.
        fingerprint: As in `SourceFile.fingerprint`.
        encoding: The normalised name of its encoding.
        structure: The ASCII characters by which its format finds records: newlines, delimiter, quote.
    """
    last = plain_name(path).lower()
    compression = next((name for end, name in COMPRESSIONS.items() if last.endswith(end)), None)
    transcode = None if transparent(encoding, structure) else encoding
    packed = None
    if compression or transcode or not is_enterable(path):
        packed = PackedFile(path=path, fingerprint=fingerprint, compression=compression, transcode=transcode)
    return TextFile(path=path, fingerprint=fingerprint, encoding="utf-8" if transcode else encoding, packed=packed)


def expected_size(file: TextFile, found: SourceFile) -> int:
    """Bytes of text in the whole file: its size, or for a packed one an estimate from its first block."""
    if file.packed is None or not file.packed.changes_text:
        return found.size
    with closing(SequentialReader(file.packed)) as reader:
        first = len(reader.read(BLOCK))
        return first if first < BLOCK else int(_SURE * found.size * first / max(reader.consumed, 1))


def _read(path: str, reader: BinaryIO | SequentialReader, *, size: int) -> bytes:
    with translated(path):
        return reader.read(size)
