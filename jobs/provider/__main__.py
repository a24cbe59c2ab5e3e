"""The command line: starts the provider, says on stdout where it listens, and runs until it is ended.

python -m jobs.provider --port 8080 --latency 0.05 --rate 100/s
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from typing import Any

import uvicorn

from .app import Provider
from .settings import SETTINGS
from .wire import OpenProtocol

IDLE = 600
"""Seconds that an idle connection is kept, longer than clients keep theirs."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Listen and serve."""
    parser = _parser()
    given = parser.parse_args(arguments)
    options = {name: value for name in SETTINGS if (value := getattr(given, name)) is not None}
    try:
        provider = Provider(options | given.settings)
    except ValueError as error:
        parser.error(str(error))
    listener = listen(given.host, given.port)
    host, port = listener.getsockname()[:2]
    print(f"http://{host}:{port}", flush=True)
    if given.until_stdin_closes:
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    config = uvicorn.Config(
        provider,
        http=OpenProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=1024,
        timeout_keep_alive=IDLE,
        timeout_graceful_shutdown=0,
    )
    uvicorn.Server(config).run([listener])


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    The protocol is named, since asyncio turns Nagle's algorithm off only where it reads TCP; without that each
    answer waits 40 ms.
    """
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(address)
    listener.listen(1024)
    return listener


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m jobs.provider", description="Plays third-party APIs.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: a free one (the default)")
    parser.add_argument("--settings", type=_object, default={}, help="JSON: all settings, also paths and keys")
    parser.add_argument("--until-stdin-closes", action="store_true", help="end when the process that started it does")
    for name, setting in SETTINGS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", help=setting.about.replace("%", "%%"))
    return parser


def _object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("not a JSON object")
    return value


def _end_with_stdin() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
