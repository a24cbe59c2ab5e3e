from __future__ import annotations

import io
import re
import subprocess
import sys
import time

import pytest

from dataflow.faces import progress
from dataflow.faces.pace import calls
from dataflow.faces.progress import progress_for
from dataflow.outcomes import Event, Traffic

PLANNED = Event(kind="planned", run="r", partitions=4, records=4000)
COMMITTED = Event(kind="committed", run="r", partitions=1, records=1000, rejected=3)
BUSY = Traffic(api="acme", rate=39, allowed=39, in_flight=2, concurrency=16, waiting={"rate": 30})
CALLING = Event(kind="calling", run="r", traffic=(BUSY,))
WARNED = Event(kind="warned", run="r", message="partition 3 killed\nits [red]worker[/red] :bomb: \x1b[2J")
WARNING = "warning: partition 3 killed its [red]worker[/red] :bomb: \\x1b[2J"


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True

    def wait_for(self, text: str) -> None:
        give_up = time.monotonic() + 20
        while text not in self.getvalue():
            assert time.monotonic() < give_up, f"never shown: {text}"
            time.sleep(0.02)


@pytest.fixture
def terminal(monkeypatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    return Terminal()


def test_a_log_gets_one_line_for_what_matters():
    stream = io.StringIO()
    with progress_for(stream) as told:
        for one in (PLANNED, COMMITTED, WARNED, Event(kind="published", run="r", message="published leads@v3")):
            told(one)
    assert stream.getvalue() == f"{WARNING}\npublished leads@v3\n"


def test_a_log_is_silent_about_commits_resumption_and_retries():
    stream = io.StringIO()
    with progress_for(stream) as told:
        for kind in ("planned", "resumed", "committed", "retried"):
            told(Event(kind=kind, run="r", message="m", partitions=1))
    assert stream.getvalue() == ""


def test_what_a_run_waits_for_is_told_even_where_no_progress_is_shown():
    stream = io.StringIO()
    with progress_for(stream, enabled=False) as told:
        told(Event(kind="waiting", run="r", message="waiting for the first worker of it"))
    assert stream.getvalue() == "waiting for the first worker of it\n"


def test_the_end_is_told_when_a_run_stops():
    stream = io.StringIO()
    progress_for(stream)(Event(kind="stopped", run="r", message="too many failures"))
    assert stream.getvalue() == "stopped: too many failures\n"


def test_a_terminal_shows_how_far_the_run_is(terminal):
    with progress_for(terminal, clock=iter(range(1000)).__next__) as told:
        told(PLANNED)
        told(COMMITTED)
        terminal.wait_for("1 of 4 partitions")
        terminal.wait_for("3 rejected")
        terminal.wait_for(" left")


def test_messages_pass_above_the_line_as_they_are(terminal):
    with progress_for(terminal) as told:
        told(PLANNED)
        terminal.wait_for("0 of 4 partitions")
        told(WARNED)
        terminal.wait_for(WARNING)


def test_somebody_who_watches_is_told_that_a_run_goes_on(terminal):
    with progress_for(terminal) as told:
        told(PLANNED)
        told(Event(kind="resumed", run="r", partitions=2))
        terminal.wait_for("going on: 2 partitions are done already")


def test_somebody_who_watches_is_told_that_a_run_is_being_stopped(terminal):
    with progress_for(terminal) as told:
        told(PLANNED)
        told(Event(kind="stopping", run="r", message="no new calls begin"))
        terminal.wait_for("stopping: no new calls begin")


def test_a_terminal_shows_below_what_calls_wait_for_and_takes_it_away_when_they_rest(terminal):
    with progress_for(terminal) as told:
        told(PLANNED)
        told(CALLING)
        terminal.wait_for("acme: 30 wait for the rate, 39 of 39 calls/s")
        told(Event(kind="calling", run="r"))
        assert calls(told.pace, time.monotonic()) == ()


def test_in_a_narrow_terminal_lines_are_cut(terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    with progress_for(terminal) as told:
        told(PLANNED)
        told(CALLING)
        terminal.wait_for("acme: 30 wait for the rate, \N{HORIZONTAL ELLIPSIS}"[:27])
        shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    assert max(map(len, re.split(r"[\r\n]+", shown))) <= 30


@pytest.mark.parametrize("kind", ["log", "dumb"])
def test_a_log_and_a_dumb_terminal_get_a_line_about_calls_now_and_then(terminal, monkeypatch, kind):
    monkeypatch.setenv("TERM", "dumb")
    stream, now = terminal if kind == "dumb" else io.StringIO(), [0.0]
    with progress_for(stream, clock=lambda: now[0]) as told:
        told(PLANNED)
        for _ in range(15):
            now[0] += 1
            told(CALLING)
            told(COMMITTED)
    assert stream.getvalue().count("acme: 30 wait") == 1
    assert re.fullmatch(r"\d+ of 4 partitions, .*; acme: 30 wait for the rate.*\n", stream.getvalue())


def test_a_short_run_shows_no_line(terminal):
    with progress_for(terminal) as told:
        told(PLANNED)
        told(COMMITTED)
    assert terminal.getvalue() == ""


def test_the_line_is_gone_after_the_run_and_the_cursor_is_back(terminal):
    told = progress_for(terminal)
    told(PLANNED)
    terminal.wait_for("0 of 4")
    told.close()
    told.close()
    assert terminal.getvalue().rindex("\x1b[?25h") > terminal.getvalue().rindex("0 of 4")
    assert sys.stderr is not terminal


def test_a_terminal_may_be_left_in_peace(terminal):
    with progress_for(terminal, enabled=False) as told:
        told(PLANNED)
        told(WARNED)
        told(CALLING)
        time.sleep(2 * progress.DELAY)
    assert terminal.getvalue() == f"{WARNING}\n"


def test_nothing_goes_to_stdout(terminal, capsys):
    with progress_for(terminal) as told:
        told(PLANNED)
        terminal.wait_for("0 of 4")
        print("a result")
        told(WARNED)
    assert capsys.readouterr().out == "a result\n"


def test_a_stream_that_is_gone_does_not_stop_a_run():
    stream = io.StringIO()
    stream.close()
    told = progress.Progress(progress._Lines(stream), time.monotonic)
    told(WARNED)
    assert told.pace.done == 0


def test_no_library_is_imported_for_a_log():
    code = (
        "import io, sys\n"
        "from dataflow.faces.progress import progress_for\n"
        "from dataflow.outcomes import Event\n"
        "told = progress_for(io.StringIO())\n"
        "told(Event(kind='planned', run='r', partitions=1)); told(Event(kind='warned', run='r', message='m'))\n"
        "told.close()\n"
        "print([one for one in ('rich', 'IPython', 'pyarrow', 'pandas', 'distributed') if one in sys.modules])\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_a_notebook_keeps_one_bar_up_to_date():
    pytest.importorskip("ipykernel", reason="no notebook kernel is installed")
    nbclient = pytest.importorskip("nbclient", reason="no notebook client is installed")
    nbformat = pytest.importorskip("nbformat")
    code = (
        "import sys\n"
        "from dataflow.faces.progress import progress_for\n"
        "from dataflow.outcomes import Event, Traffic\n"
        "with progress_for(sys.stderr) as told:\n"
        "    told(Event(kind='planned', run='r', partitions=4))\n"
        "    told(Event(kind='committed', run='r', partitions=3))\n"
        "    told(Event(kind='calling', run='r', traffic=(Traffic(api='acme', breaker='open', rest=30),)))\n"
        "    told(Event(kind='warned', run='r', message='<b>careful</b>'))\n"
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    nbclient.NotebookClient(notebook, timeout=120).execute()
    (output,) = notebook.cells[0].outputs
    page = output["data"]["text/html"]
    assert '<progress value="3" max="4"' in page
    assert "3 of 4 partitions" in page
    assert "<div>acme: breaker open, next try in 30 s</div>" in page
    assert "&lt;b&gt;careful" in page
