"""Shows a run while it runs: live lines on a terminal, a bar in a notebook, else one line for what matters.

It listens to events, writes to the stream it was given and never to stdout. `rich` and IPython are imported only
when something is really shown, and nothing here may stop a run.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from html import escape
from types import TracebackType
from typing import Any, Self, TextIO

from dataflow.faces.pace import calls, phrases
from dataflow.faces.texts import counted, printable
from dataflow.faces.traffic import Diary
from dataflow.outcomes import Event
from dataflow.telemetry.pace import Pace

DELAY = 0.4
"""Seconds before a terminal shows the line: a run that is over by then needs none, and does not wait for `rich`."""

_BETWEEN = 0.25
"""Seconds between two updates of a notebook."""

_DUMB = ("dumb", "unknown")
"""Terminals in which no line can be written over."""

_FOR_WATCHERS = ("shown", "resumed", "retried", "stopping")
"""Events that are said only to somebody who is watching."""

_MESSAGES = 10
"""Messages that a notebook keeps below the bar."""

Clock = Callable[[], float]


class Progress:
    """Listens to the events of a run and shows them; give it as `on_event=` and close it after the run."""

    def __init__(self, display: _Lines, clock: Clock) -> None:
        self.pace = Pace()
        self._display = display
        self._clock = clock
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Take note of an event."""
        with self._lock:
            self.pace = self.pace.after(event, self._clock())
        text = _sentence(event)
        if text:
            self._display.say(text, live=event.kind in _FOR_WATCHERS)
        self._display.update(self.pace)

    def close(self) -> None:
        """Take the live line away; messages stay. A second call does nothing."""
        self._display.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def progress_for(stream: TextIO, *, enabled: bool = True, clock: Clock = time.monotonic) -> Progress:
    """The display that suits a stream.

    Args:
        stream: Where to show it: stderr, so that stdout is left to results.
        enabled: False leaves it at one line for each warning and for the end.
        clock: Seconds that only grow.
    """
    if not enabled:
        return Progress(_Lines(stream), clock)
    if stream.isatty() and os.environ.get("TERM") not in _DUMB:
        return Progress(_Terminal(stream, clock), clock)
    if stream is sys.stderr and in_notebook():
        return Progress(_Notebook(stream, clock), clock)
    return Progress(_Log(stream, clock), clock)


@contextmanager
def shown(settings: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The settings of a run with a display as `on_event`, on a terminal and in a notebook, for a run that blocks.

    A run that has a listener of its own, or that goes on in the background, is left as it is.
    """
    visible = sys.stderr.isatty() or in_notebook()
    if not visible or settings.get("on_event") is not None or not settings.get("wait", True):
        yield dict(settings)
        return
    with progress_for(sys.stderr) as progress:
        yield {**settings, "on_event": progress}


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook; IPython is not imported to find out."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


def _sentence(event: Event) -> str:
    """What an event says to people, in one line; empty where the numbers say it all."""
    message = printable(" ".join(event.message.split()))
    said = f"; {printable(' '.join(event.said.split()))}" if event.said else ""
    match event.kind:
        case "shown":
            return f"live page: {message}"
        case "warned":
            return f"warning: {message}{said}"
        case "stopping" | "stopped":
            return f"{event.kind}: {message}{said}"
        case "resumed":
            return message or f"going on: {counted(event.partitions, 'partition')} are done already"
        case "sent" | "retried" | "published" | "waiting" | "limited":
            return message
        case _:
            return ""


class _Lines:
    """One line for each message that matters to whoever reads a log."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def say(self, text: str, *, live: bool) -> None:
        """Show a message; `live` ones only to somebody who is watching."""
        if not live:
            self._write(text)

    def update(self, pace: Pace) -> None:
        """Show where the run is, or do nothing."""

    def close(self) -> None:
        """Give back what the display has taken."""

    def _write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            self._stream.write(f"{text}\n")
            self._stream.flush()


class _Log(_Lines):
    """Beside the messages a line about the calls now and then, and whenever a breaker opens or closes."""

    def __init__(self, stream: TextIO, clock: Clock) -> None:
        super().__init__(stream)
        self._clock = clock
        self._diary = Diary()
        self._heard = float("-inf")

    def update(self, pace: Pace) -> None:
        if pace.heard == self._heard:
            return
        self._heard = pace.heard
        self._diary, said = self._diary.after(pace.traffic, self._clock())
        for text in said:
            self._write(f"{', '.join(phrases(pace, self._clock()))}; {text}")


class _Terminal(_Lines):
    """Lines that follow the run and its APIs, below the messages; they start after a moment, on their own thread."""

    def __init__(self, stream: TextIO, clock: Clock) -> None:
        super().__init__(stream)
        self._clock = clock
        self._pace = Pace()
        self._live: Any = None
        self._timer: threading.Timer | None = None
        self._lock = threading.Lock()

    def say(self, text: str, *, live: bool) -> None:
        with self._lock:
            if self._live is None:
                self._write(text)
            else:
                self._live.console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)

    def update(self, pace: Pace) -> None:
        self._pace = pace
        if self._timer is None and pace.partitions:
            self._timer = threading.Timer(DELAY, self._start)
            self._timer.daemon = True
            self._timer.start()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join()
        with self._lock:
            live, self._live = self._live, None
            if live is not None:
                live.stop()

    def _start(self) -> None:
        from rich.console import Console
        from rich.live import Live

        console = Console(file=self._stream, force_jupyter=False)
        live = Live(console=console, get_renderable=self._line, transient=True, redirect_stdout=False)
        with self._lock:
            live.start(refresh=True)
            self._live = live

    def _line(self) -> Any:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        pace, now = self._pace, self._clock()
        line = Table.grid(padding=(0, 1))
        line.add_column(no_wrap=True)
        line.add_column(no_wrap=True, overflow="ellipsis")
        bar = ProgressBar(total=max(pace.partitions, 1), completed=pace.done, width=16)
        line.add_row(bar, Text("  ".join(phrases(pace, now))))
        return Group(line, *(Text(f"  {one}", no_wrap=True, overflow="ellipsis") for one in calls(pace, now)))


class _Notebook(_Lines):
    """A bar in the output of a cell; one place that is updated, without widgets."""

    def __init__(self, stream: TextIO, clock: Clock) -> None:
        super().__init__(stream)
        self._clock = clock
        self._pace = Pace()
        self._messages: list[str] = []
        self._handle: Any = None
        self._shown = float("-inf")

    def say(self, text: str, *, live: bool) -> None:
        self._messages = [*self._messages, text][-_MESSAGES:]
        self._shown = float("-inf")

    def update(self, pace: Pace) -> None:
        self._pace = pace
        if self._clock() - self._shown >= _BETWEEN:
            self._show()

    def close(self) -> None:
        if self._pace.partitions or self._messages:
            self._show()

    def _show(self) -> None:
        notebook: Any = importlib.import_module("IPython.display")
        self._shown = self._clock()
        shown = notebook.HTML(_bar(self._pace, self._messages, self._shown))
        if self._handle is None:
            self._handle = notebook.display(shown, display_id=True)
        else:
            self._handle.update(shown)


def _bar(pace: Pace, messages: list[str], now: float) -> str:
    lines = "".join(f"<div>{escape(text)}</div>" for text in (*calls(pace, now), *messages))
    bar = f'<progress value="{pace.done}" max="{max(pace.partitions, 1)}" style="width:16em"></progress>'
    return f"<div>{bar} {escape(' · '.join(phrases(pace, now)))}</div>{lines}" if pace.partitions else lines
