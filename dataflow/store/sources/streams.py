"""Packed data of several streams one after the other, as it is where files were joined: all of them are read.

Behind a stream stands another one, zeros that fill up a block, or the end. Anything else is damage: what follows it
would be lost. gzip and zstd are read by libraries that see to it themselves. What the bytes mean is not known here.
"""

from __future__ import annotations

import bz2
import lzma
from collections.abc import Callable
from typing import BinaryIO

_BLOCK = 1 << 16
_WORD = 4
"""Zeros between streams of xz come in fours, by section 2.2 of its format."""


class Streams:
    """The text of all streams of one file, read forwards.

    Args:
        raw: The file, at its beginning.
        open_stream: Gives what unpacks the next stream.
        padding: Zeros behind a stream come in so many.
    """

    def __init__(
        self, raw: BinaryIO, open_stream: Callable[[], bz2.BZ2Decompressor | lzma.LZMADecompressor], *, padding: int = 1
    ) -> None:
        self._raw = raw
        self._open = open_stream
        self._padding = padding
        self._stream: bz2.BZ2Decompressor | lzma.LZMADecompressor | None = None

    def read(self, size: int) -> bytes:
        """The next bytes of the text, so many at most; none only at the end.

        Raises:
            EOFError: The file ends within a stream.
            OSError: What unpacks a stream cannot, or what stands behind one begins none.
        """
        while True:
            if self._stream is None or self._stream.eof:
                if not (begun := self._behind()) and self._stream is not None:
                    return b""
                self._stream = self._open()
            elif self._stream.needs_input:
                if not (begun := self._raw.read(_BLOCK)):
                    raise EOFError("the file ends within a stream")
            else:
                begun = b""
            if text := self._stream.decompress(begun, size):
                return text

    def _behind(self) -> bytes:
        """The bytes behind a stream, without the zeros; none where the file has ended."""
        held = b"" if self._stream is None else self._stream.unused_data
        zeros = 0
        while True:
            # Only behind a stream zeros are padding.
            left = held if self._stream is None else held.lstrip(b"\0")
            zeros += len(held) - len(left)
            if left or not (held := self._raw.read(_BLOCK)):
                break
        if zeros % self._padding:
            raise OSError(f"{zeros:,} zeros stand behind a stream, which is no padding")
        return left


def streams_of_bz2(raw: BinaryIO) -> Streams:
    """The streams of a file of bzip2."""
    return Streams(raw, bz2.BZ2Decompressor)


def streams_of_xz(raw: BinaryIO) -> Streams:
    """The streams of a file of xz."""
    return Streams(raw, lzma.LZMADecompressor, padding=_WORD)
