"""A server in a process of its own that closes connections as it is told to, and counts the requests that it has read.

Arguments: after how many seconds an idle connection is closed, and how every tenth request ends: `answered`, or
`dropped` after it was read. It prints its port, and on GET /count says how many requests there were.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys

IDLE, ENDS = float(sys.argv[1]), sys.argv[2]
COUNTED = {"requests": 0}


async def read(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    if lengths:
        await reader.readexactly(int(lengths[0]))
    return head


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    idle = None
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, TimeoutError):
        while idle is None or idle > 0:
            head = await asyncio.wait_for(read(reader), idle)
            body = b'{"name": "x"}'
            if head.startswith(b"GET /count "):
                body = str(COUNTED["requests"]).encode()
            else:
                COUNTED["requests"] += 1
                if ENDS == "dropped" and COUNTED["requests"] % 10 == 0:
                    break
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
            writer.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
            idle = IDLE
    writer.close()


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
