"""Bodies: the bytes of an answer without their packing, within a limit, and its text in UTF-8.

A status that is no success says by itself what it means, so a body that cannot be read never stands in for it.
How a body is packed and what its text is in is known in `encodings` and `charsets`; what it says, in `answering`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import aiohttp

from dataflow.engine.http.attempts import Answer, AttemptError
from dataflow.engine.http.charsets import BadCharset, charset_of, in_utf8, is_wide
from dataflow.engine.http.encodings import BadEncoding, CutOff, TooLong, is_packed, unpack, unpack_undeclared
from dataflow.policies.retry import Attempt

UNREADABLE = "unreadable answer"
"""The reason of a call whose answer is in an encoding or a charset that is not known, or that it is not in."""

_CHUNK = 64 * 1024
_OPENING, _NUL = (b"{", b"["), b"\0"


async def read_body(response: aiohttp.ClientResponse, *, most: int) -> bytes:
    """The whole body, unpacked where it says that it is packed; without bytes it is empty whatever it says.

    Raises:
        AttemptError: The answer is a success whose body is too long, ends early or cannot be unpacked.
        aiohttp.ClientPayloadError: It is a success whose body was cut on its way.
    """
    length, packed = response.content_length, "Content-Encoding" in response.headers
    try:
        if length is not None and length <= most:
            found: bytes = await response.read()
        else:
            found = await _received(response, most=most)
        if not found or not packed:
            return found
        declared = ", ".join(response.headers.getall("Content-Encoding"))
        return _readable(lambda: unpack(found, declared, most=most), status=response.status, most=most)
    except (AttemptError, aiohttp.ClientPayloadError):
        if is_success(response.status):
            raise
        return b""


async def _received(response: aiohttp.ClientResponse, *, most: int) -> bytes:
    """The bytes as they were sent, where their number is not known, or too large."""
    if response.content_length is not None and not response.content.at_eof():
        # The answer to a HEAD tells the length of a body that it does not have.
        raise too_long(most, status=response.status)
    found = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK):
        found += chunk
        if len(found) > most:
            raise too_long(most, status=response.status)
    return bytes(found)


def legible(answer: Answer, *, most: int) -> Answer:
    """The answer with its text in UTF-8, and unpacked where it is packed and does not say so.

    Args:
        answer: As it came; it is given back itself where there is nothing to do.
        most: Bytes at most that it may have when it is unpacked.

    Raises:
        AttemptError: It is a success in a charset that is not known, or that it is not in.
    """
    body = answer.body
    charset = charset_of(answer.headers.get("Content-Type"))
    if charset is None and (_begins_as_json(body) or not (is_packed(body) or is_wide(body))):
        return answer

    def read() -> bytes:
        whole = unpack_undeclared(body, most=most) if is_packed(body) else body
        return in_utf8(whole, charset)

    try:
        return dataclasses.replace(answer, body=_readable(read, status=answer.status, most=most))
    except AttemptError:
        if is_success(answer.status):
            raise
        return answer


def _begins_as_json(body: bytes) -> bool:
    """Whether it is what nearly all answers are: no packing and no wide charset begins like that."""
    return body[:1] in _OPENING and body[1:2] != _NUL


def is_success(status: int) -> bool:
    """Whether a status says that the body is what was asked for."""
    return 200 <= status < 300


def too_long(most: int, *, status: int) -> AttemptError:
    """The error for an answer over the limit."""
    return AttemptError(
        "answer too long",
        f"the answer is longer than {most:,} bytes; raise max_answer= of the API if it should be",
        attempt=Attempt.REFUSED,
        status=status,
    )


def _readable(read: Callable[[], bytes], *, status: int, most: int) -> bytes:
    """What is read, with every fault of the body as that of an attempt: the provider is well."""
    try:
        return read()
    except TooLong as error:
        raise too_long(most, status=status) from error
    except CutOff as error:
        raise AttemptError("answer cut off", str(error), attempt=Attempt.REFUSED, again="repeatable") from error
    except (BadEncoding, BadCharset) as error:
        raise AttemptError(UNREADABLE, str(error), attempt=Attempt.REFUSED, status=status) from error
