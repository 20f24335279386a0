"""Words on the terminal: what they say, and what never reaches it whatever a machine calls itself."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from remote_runtime.cli.output import console
from remote_runtime.cli.output.progress import TerminalView
from remote_runtime.cli.output.ready import show_ready
from remote_runtime.cli.output.status_table import status_table
from remote_runtime.core.documents import runtime_document, take_down_document
from remote_runtime.core.errors import Interrupted, LocalError, UsageError
from remote_runtime.core.model import Forward, Gpu, Instance, Runtime, Secret, Server, TakeDownResult
from remote_runtime.core.price import HourlyPrice
from tests.support.clients.hostile_texts import HOSTILE, show_hostile
from tests.support.environment.waiting import eventually

TOKEN = "ab" * 24
HARMLESS = "[bold red]evil[/bold red]"
Captured = pytest.CaptureFixture[str]


def runtime(**changes: Any) -> dict[str, Any]:
    server = Server(4242, 77, Secret(TOKEN), "/srv", True, "2.14.0", "0.1.0", "3.12.3", "/usr/bin/python3")
    facts: dict[str, Any] = {
        "name": "work",
        "profile_path": "/work.yaml",
        "target": {"kind": "gce"},
        "client_id": "c",
        "state": "ready",
        "local_port": 8888,
        "instance": Instance("gce", "my-vm", zone="europe-west4-a"),
        "server": server,
        "kernels": 2,
        "rtt_ms": 12.4,
    }
    return runtime_document(Runtime(**{**facts, **changes}))


def safe(text: str) -> bool:
    return not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text) and "owned" not in text


# ── what is said ──


def test_the_status_counts_the_gpus_of_a_machine() -> None:
    t4, l4 = Gpu("Tesla T4", 15360 << 20, "580.95"), Gpu("NVIDIA L4", 1 << 34, "580.95")
    server = Server(4242, 77, Secret(TOKEN), "/srv", True, "2.14.0", "0.1.0", "3.12.3", "/x", gpus=(t4, l4, t4))
    assert "my-vm (europe-west4-a), 2 × Tesla T4, NVIDIA L4  " in status_table([runtime(server=server)])
    assert runtime(server=server)["server"]["gpus"][1] == {
        "name": "NVIDIA L4",
        "memory_bytes": 1 << 34,
        "driver": "580.95",
    }


def test_a_failure_says_what_why_and_what_next(capsys: Captured) -> None:
    console.failure(LocalError("busy", "work stays up", "its kernels\nare busy", "--force takes it down"), "work")
    assert capsys.readouterr() == (
        "",
        "error[busy] work: work stays up\n  why: its kernels\n       are busy\n  fix: --force takes it down\n"
        "  more: remote-runtime help busy\n",
    )


def test_a_failure_without_reason_or_advice_is_one_line_and_what_is_left_has_its_own(capsys: Captured) -> None:
    error = UsageError("usage", "--port is for one profile at a time")
    console.failure(error)
    assert capsys.readouterr().err == "error[usage]: --port is for one profile at a time\n"
    error.hint, error.remains = "`remote-runtime down work`", ("my-vm may be running: 403",)
    console.failure(error)
    assert capsys.readouterr().err.splitlines()[1:] == [
        "  left: my-vm may be running: 403",
        "  fix: remote-runtime down work",
    ]


def test_a_cancelled_command_is_no_error(capsys: Captured) -> None:
    console.failure(Interrupted(why="Nothing was left running"))
    console.failure(Interrupted(why="work keeps running", hint="`remote-runtime down work` stops it"), "work")
    assert capsys.readouterr().err.splitlines() == [
        "Cancelled. Nothing was left running.",
        "work: Cancelled. work keeps running.",
        "  fix: `remote-runtime down work` stops it",
    ]


def test_the_story_and_findings_are_folded_between_words() -> None:
    code = """
from remote_runtime.cli.output import console
from remote_runtime.core.errors import LocalError
from remote_runtime.core.model import Finding
from remote_runtime.cli.output.findings import FindingsPrinter
from remote_runtime.cli.output.progress import TerminalView
long = "several words of a line that goes on " * 5
console.say(long)
console.failure(LocalError("busy", long))
for animated in (False, True):
    view = TerminalView(quiet=False, verbose=False, plain=not animated, show_names=False)
    view.step("a", "Looking")
    view.note("a", long)
    view.pause()
failed = Finding("ssh", "failed", long, long, "`remote-runtime up " + "x" * 90 + "`", "busy")
printer = FindingsPrinter(quiet=False, verbose=False)
printer.show(failed)
printer.flush()
"""
    lines = on_a_terminal(code, COLUMNS="80", NO_COLOR="1").splitlines()
    told = [line for line in lines if "remote-runtime up" not in line]
    assert max(map(len, told)) <= 80
    words = set(" ".join(told).split())
    assert words <= {
        *["several", "words", "of", "a", "line", "that", "goes", "on"],
        *["·", "x", "✗", "Several", "Looking", "SSH", "connection", "why:", "[busy]", "error[busy]:"],
        *["more:", "remote-runtime", "help", "busy"],
    }
    assert any("remote-runtime up " + "x" * 90 in line for line in lines), "a command is copied in one piece"


def test_a_note_begins_as_a_sentence_does(capsys: pytest.CaptureFixture[str]) -> None:
    view = TerminalView(quiet=False, verbose=False, plain=True, show_names=False)
    for text in ("made /x", "gcloud knows it", "target.zone is y"):
        view.note("a", text)
    assert capsys.readouterr().err == "  · Made /x\n  · gcloud knows it\n  · target.zone is y\n"


def test_a_long_reason_is_folded_between_words_and_a_command_is_not() -> None:
    code = """
from remote_runtime.cli.output import console
from remote_runtime.core.errors import LocalError
path = "/home/me/" + "folder/" * 12 + "work.yaml"
ADVICE = "`" + "x " * 50 + "y` does that"
console.failure(LocalError("busy", "no", f"the file {path} says this and that, and a few words more", ADVICE))
"""
    lines = on_a_terminal(code, COLUMNS="80", NO_COLOR="1").splitlines()
    assert lines[1:-1] == [
        "  why: the file",
        "       /home/me/" + "folder/" * 12 + "work.yaml",
        "       says this and that, and a few words more",
        "  fix: `" + "x " * 50 + "y`",
        "       does that",
    ]


def test_fifty_complaints_are_all_told_and_so_is_the_end_of_a_log(capsys: Captured) -> None:
    complaints = [f"/home/me/profiles/work.yaml:{line}: key: it is wrong; it may be otherwise" for line in range(50)]
    console.failure(UsageError("profile-invalid", "The profile has mistakes", "\n".join(complaints)))
    shown = capsys.readouterr().err
    assert all(complaint in shown for complaint in complaints)


def test_a_failure_without_end_is_cut(capsys: Captured) -> None:
    console.failure(LocalError("busy", "x" * 100_000, "y" * 100_000, "z" * 100_000))
    assert len(capsys.readouterr().err) < 40_000


def test_a_bug_is_told_with_its_log_and_no_traceback(capsys: Captured) -> None:
    console.bug("/state/bugs.log")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "a bug in remote-runtime" in shown.err
    assert "/state/bugs.log" in shown.err


def test_the_table_shows_each_runtime_without_its_token() -> None:
    text = status_table([runtime(), runtime(name="other", state="unreachable", why="no answer", rtt_ms=None)])
    head, first, second, *rest = text.splitlines()
    assert head.split()[:4] == ["NAME", "STATE", "URL", "MACHINE"]
    assert first.split()[:4] == ["work", "●", "ready", "http://localhost:8888/"]
    assert "my-vm (europe-west4-a)" in first
    assert "12 ms" in first
    assert second.split()[:3] == ["other", "●", "unreachable"]
    assert rest[-1] == "other: no answer"
    assert TOKEN not in text


def test_what_is_not_known_leaves_its_cell_empty() -> None:
    bare = runtime(state="down", server=None, instance=None, local_port=None, rtt_ms=None, kernels=None)
    assert status_table([bare]).splitlines()[1].split() == ["work", "●", "down"]
    assert "None" not in status_table([bare])


def test_no_runtime_is_an_answer_that_says_what_to_do() -> None:
    assert "remote-runtime up" in status_table([])


def test_columns_are_aligned_by_their_widest_cell() -> None:
    assert console.table(("A", "B"), [("long cell", "x"), ("y", "z")]) == "A          B\nlong cell  x\ny          z"


@pytest.fixture
def on_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A shell finds the program."""
    program = tmp_path / "remote-runtime"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv("UV", raising=False)


def test_commands_that_a_shell_would_not_find_are_not_proposed_without_a_word(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch, on_path: None
) -> None:
    note = "remote-runtime isn't on your PATH: start it as you did for this command"
    show_ready([runtime()], quiet=False, named=False)
    assert note not in capsys.readouterr().err
    monkeypatch.setenv("UV", "/usr/bin/uv")
    monkeypatch.setattr(sys, "prefix", "/home/me/.cache/uv/archive-v0/x1y2")  # as `uvx` runs it
    show_ready([runtime()], quiet=False, named=False)
    assert note in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.setenv("PATH", "")
    show_ready([runtime()], quiet=False, named=False)
    assert note in capsys.readouterr().err


def test_ready_says_where_to_paste_what_to_allow_and_what_it_means(capsys: Captured, on_path: None) -> None:
    show_ready([runtime()], quiet=False, named=False)
    assert capsys.readouterr() == (
        f"http://localhost:8888/?token={TOKEN}\n",
        """
  1. In Colab: Connect ▾ → Connect to a local runtime
  2. Paste this URL, then allow "Access other apps and services on this device":

! Connected notebooks can run any code on my-vm as you. Only connect notebooks you trust.
  Stop: remote-runtime down work     Status: remote-runtime status
""",
    )


def test_ready_says_what_an_hour_costs_where_that_is_known(capsys: Captured) -> None:
    show_ready([runtime(price=PRICE)], quiet=False, named=False)
    assert "\n  VM: about $0.87/h while it runs (list price)\n" in capsys.readouterr().err
    show_ready([runtime(price=PRICE), runtime(name="other")], quiet=False, named=True)
    shown = capsys.readouterr().err
    assert "\n  VM of work: about $0.87/h" in shown
    assert shown.count("list price") == 1


def test_several_that_are_ready_are_told_apart_and_what_to_do_with_them_once(capsys: Captured) -> None:
    both = [runtime(), runtime(name="other", instance=None, target={"kind": "local"})]
    show_ready(both, quiet=False, named=True, foreground=True)
    shown = capsys.readouterr()
    assert shown.out == "".join(f"{name}\thttp://localhost:8888/?token={TOKEN}\n" for name in ("work", "other"))
    assert shown.err.count("Connect to a local runtime") == 1
    assert "on my-vm and this computer as you" in shown.err
    assert "Stop: Ctrl-C" in shown.err
    show_ready(both, quiet=True, named=True)
    assert capsys.readouterr() == (shown.out, "")


def test_a_forward_without_a_token_is_a_warning(capsys: Captured) -> None:
    forwards = (Forward(8888, "127.0.0.1:1"), Forward(6006, "127.0.0.1:6006"))
    show_ready([runtime(forwards=forwards)], quiet=False, named=False)
    assert "\n! Also forwarded, without a token" in capsys.readouterr().err


def test_on_a_terminal_no_url_shares_its_line_and_it_alone_is_underlined() -> None:
    code = (
        "from tests.unit.cli.test_output import *\n"
        "show_ready([runtime(), runtime(name='a-long-name')], quiet=False, named=True)"
    )
    url = f"http://localhost:8888/?token={TOKEN}"
    assert on_a_terminal(code, COLUMNS="80").replace("\r", "").count(f"\n\x1b[1;4m{url}\x1b[0m\n") == 2
    plain = on_a_terminal(code, COLUMNS="80", NO_COLOR="1").replace("\r", "")
    assert f"\nwork\n{url}\n\na-long-name\n{url}\n" in plain


PRICE = HourlyPrice(0.8697, "USD")
STOPPED = [
    (TakeDownResult("work", True, "stopped", None), "Stopped work: stopped Jupyter\n"),
    (
        TakeDownResult("work", True, "kept", "RUNNING"),
        "Stopped work: Jupyter keeps running\n! VM is still running and billing. Stop it with:\n"
        "  remote-runtime down work --stop-instance\n",
    ),
    (TakeDownResult("work", True, "kept", "SUSPENDED"), "Jupyter is suspended with it, VM is suspended\n"),
    (TakeDownResult("work", True, "gone", "TERMINATED"), "nothing was running, VM is stopped\n"),
    (TakeDownResult("work", True, "gone", "GONE"), "Stopped work: VM deleted\n"),
    (
        TakeDownResult("work", False, "unknown", "SUSPENDED"),
        "the machine was not checked, VM is suspended\n  Check it with `remote-runtime status work --all-machines`\n",
    ),
    (
        TakeDownResult("work", True, "kept", "UNKNOWN", checked=False),
        "Jupyter was not stopped (not checked)\n! VM could not be checked; it may still be running and billing\n",
    ),
]


def test_what_a_vm_costs_and_has_cost_is_told_at_its_end(capsys: Captured) -> None:
    since = (datetime.now(timezone.utc) - timedelta(hours=2)).isoformat(timespec="seconds")
    running = TakeDownResult("work", True, "stopped", "RUNNING", price=PRICE, price_since=since)
    console.stopped(take_down_document(running))
    assert (
        "! VM is still running and billing ($0.87/h). Stop it with:\n  remote-runtime down work --stop-instance\n"
        "  This runtime's VM has cost about $1.74 (list price)\n"
    ) in capsys.readouterr().err
    console.stopped(take_down_document(replace(running, instance="TERMINATED", price_since="")))
    assert "$" not in capsys.readouterr().err


@pytest.mark.parametrize(("end", "words"), STOPPED)
def test_what_became_of_a_runtime_is_told_in_words(capsys: Captured, end: TakeDownResult, words: str) -> None:
    console.stopped(take_down_document(end))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert words in shown.err
    assert "TERMINATED" not in shown.err


def test_no_name_of_a_table_is_cut_and_what_does_not_fit_is_below_it() -> None:
    head = ("", "INSTANCE", "ZONE", "STATUS", "LABELS")
    long = "trainer-of-the-vision-team-with-a-name-of-sixty-three-letters-0"
    rows = [("1", f"{long}1", "europe-west4-a", "RUNNING", "team=vision, env=production, owner=somebody-with-a-name")]
    rows += [("2", f"{long}2", "europe-west4-b", "TERMINATED", "")]
    assert console.table(head, rows, max_columns=80).splitlines() == [
        "   INSTANCE",
        f"1  {long}1",
        "     europe-west4-a · RUNNING · team=vision, env=production,",
        "     owner=somebody-with-a-name",
        f"2  {long}2",
        "     europe-west4-b · TERMINATED",
    ]
    short = [(number, name[-8:], *rest[:-1], rest[-1][:11]) for number, name, *rest in rows]
    assert console.table(head, short, max_columns=80).splitlines() == [
        "   INSTANCE  ZONE            STATUS      LABELS",
        "1  tters-01  europe-west4-a  RUNNING     team=vision",
        "2  tters-02  europe-west4-b  TERMINATED",
    ]


def test_a_document_is_one_ascii_json_on_stdout(capsys: Captured) -> None:
    console.document({"name": "wörk", "why": HOSTILE})
    out, err = capsys.readouterr()
    assert err == ""
    assert out.isascii()
    assert json.loads(out) == {"schema": 1, "name": "wörk", "why": HOSTILE}
    assert "\x1b" not in out


@pytest.mark.parametrize("tell", [console.answer, console.say], ids=["answer", "say"])
def test_a_stream_that_cannot_show_a_character_shows_another(
    monkeypatch: pytest.MonkeyPatch, tell: Callable[[str], None]
) -> None:
    written = io.BytesIO()
    for stream in ("stdout", "stderr"):
        monkeypatch.setattr(sys, stream, io.TextIOWrapper(written, encoding="ascii"))
    tell("naïve → done")
    assert written.getvalue() == b"na?ve -> done\n"


# ── what never reaches a terminal ──


def test_hostile_names_are_harmless_in_every_text(capsys: Captured) -> None:
    evil = runtime(name=HOSTILE, why=HOSTILE, instance=Instance("gce", HOSTILE, zone=HOSTILE))
    console.failure(LocalError("busy", HOSTILE, HOSTILE, HOSTILE), HOSTILE)
    show_ready([evil], quiet=False, named=True)
    console.stopped(take_down_document(TakeDownResult(HOSTILE, True, "gone", HOSTILE)))
    console.bug(HOSTILE)
    shown = capsys.readouterr().err + status_table([evil])
    assert safe(shown)
    assert HARMLESS in shown


@pytest.mark.parametrize("several", [False, True])
def test_a_hostile_story_is_harmless_in_plain_lines(capsys: Captured, several: bool) -> None:
    show_hostile(TerminalView(quiet=False, verbose=True, plain=True, show_names=several))
    shown = capsys.readouterr().err
    assert safe(shown)
    assert shown.count(HARMLESS) >= 4


HOSTILE_PROGRAM = "from tests.support.clients.hostile_texts import main; main()"


def on_a_terminal(code: str, *, enter_after: bytes = b"", **environ: str) -> str:
    """What a program writes to its terminal. Enter is pressed when ``enter_after`` has been written."""
    near, far = pty.openpty()
    variables = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=far,
        stdout=far,
        stderr=far,
        env={**variables, "TERM": "xterm", "PYTHONPATH": os.getcwd(), **environ},
        start_new_session=True,
    ) as child:
        os.close(far)
        written = b""
        with contextlib.suppress(OSError):  # which is how a terminal ends
            while piece := os.read(near, 65536):
                if enter_after and enter_after in written + piece and enter_after not in written:
                    os.write(near, b"\n")
                written += piece
        os.close(near)
        assert child.wait(20) == 0, written.decode()
    return written.decode()


def test_a_hostile_story_is_harmless_on_an_animated_terminal() -> None:
    shown = on_a_terminal(HOSTILE_PROGRAM, enter_after=b"Finding [bold red]evil")
    assert "owned" not in shown
    assert "\x1b[2J" not in shown
    assert "\x9b" not in shown
    assert "\u202e" not in shown
    assert "\x1b]" not in shown
    assert HARMLESS in shown, "markup of the output library is text"
    assert "\x1b[1;31merror[busy]\x1b[0m: " in shown, "colour is ours to give"


def test_no_color_means_neither_colour_nor_animation() -> None:
    assert "\x1b" not in on_a_terminal(HOSTILE_PROGRAM, enter_after=b"Finding [bold red]evil", NO_COLOR="1")


# ── progress in plain lines ──


def plain_view(*, verbose: bool = False, show_names: bool = False) -> TerminalView:
    return TerminalView(quiet=False, verbose=verbose, plain=True, show_names=show_names)


def test_progress_that_is_not_on_a_terminal_is_a_line_for_each_step_that_is_done(capsys: Captured) -> None:
    view = plain_view()
    view.note("work", "profile work")
    view.step("work", "Finding my-vm")
    view.note("work", "port 8888 is in use; using 8889")
    view.finish("work", "Found my-vm in us-central1-a")
    view.step("work", "Stopping Jupyter", "Stopped Jupyter")
    view.step("work", "Verifying the connection")
    view.done("work")
    view.step("work", "Connecting to my-vm")
    view.failed("work")
    view.failed("work")
    view.finish("work", "work is already running (up 2 min 0 s)")
    assert capsys.readouterr() == (
        "",
        "  · Profile work\n"
        "✓ Found my-vm in us-central1-a\n"
        "  · Port 8888 is in use; using 8889\n"
        "✓ Stopped Jupyter\n"
        "✗ Connecting to my-vm\n"
        "✓ work is already running (up 2 min 0 s)\n",
    )


def test_a_step_that_takes_long_is_announced_and_has_its_time_at_the_end(capsys: Captured) -> None:
    view = plain_view()
    view.step("work", "Starting my-vm")
    view.detail("work", "Waiting for my-vm to start (PROVISIONING), 3 s")
    assert capsys.readouterr().err == ""
    eventually(lambda: (shown := capsys.readouterr().err) == "  Starting my-vm …\n" or shown)
    view.finish("work", "Started my-vm in us-central1-a")
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"✓ Started my-vm in us-central1-a +\d\.\d s", line)
    assert len(line) == 72


def test_the_details_of_a_step_are_shown_on_request_and_each_count_once(capsys: Captured) -> None:
    view = plain_view(verbose=True)
    view.step("work", "Starting my-vm")
    for passed in range(50):
        view.detail("work", f"waiting, {passed} s")
    view.detail("work", "my-vm is running")
    assert capsys.readouterr().err == "  Starting my-vm …\n    waiting, 0 s\n    my-vm is running\n"


def test_several_runtimes_are_told_apart_and_count_for_themselves(capsys: Captured) -> None:
    view = plain_view(verbose=True, show_names=True)
    for name in ("one", "two"):
        view.step(name, "Starting")
        view.detail(name, "waiting, 1 s")
        view.finish(name, "Started")
    assert capsys.readouterr().err == "".join(
        f"  {name}: Starting …\n    {name}: waiting, 1 s\n✓ {name}: Started\n" for name in ("one", "two")
    )


def test_no_line_of_a_note_begins_at_the_left_edge() -> None:
    code = """
from remote_runtime.cli.output.progress import TerminalView
for animated in (False, True):
    view = TerminalView(quiet=False, verbose=False, plain=not animated, show_names=False)
    view.step("a", "Starting Jupyter")
    view.note("a", "several words of a line that is long " * 5)
    view.finish("a", "Started Jupyter")
    view.done("a")
"""
    shown = on_a_terminal(code, COLUMNS="80", NO_COLOR="1").splitlines()
    assert [line[:4] for line in shown] == ["✓ St", "  · ", "    ", "    "] * 2


def test_quiet_is_silent(capsys: Captured) -> None:
    view = TerminalView(quiet=True, verbose=True, plain=True, show_names=False)
    view.step("work", "Starting")
    view.detail("work", "waiting")
    view.note("work", "note")
    view.failed("work")
    assert capsys.readouterr() == ("", "")


def test_nobody_can_be_asked_without_a_terminal() -> None:
    view = TerminalView(quiet=False, verbose=False, plain=False, show_names=False)
    assert not view.interactive
    with pytest.raises(EOFError):
        view.prompt("work", "Passphrase:", secret=True)
    assert view.confirm("work", "Take it down?") is False


def test_json_asks_nobody_even_on_a_terminal() -> None:
    code = """
from remote_runtime.cli.output.progress import TerminalView
print([TerminalView(quiet=False, verbose=False, plain=plain, show_names=False).interactive for plain in (False, True)])
"""
    assert on_a_terminal(code).strip() == "[True, False]"


def test_runtimes_that_tell_at_once_do_not_tear_each_others_lines(capsys: Captured) -> None:
    view = TerminalView(quiet=False, verbose=False, plain=True, show_names=True)

    def tell(name: str) -> None:
        for number in range(100):
            view.finish(name, f"step {number}")

    tellers = [threading.Thread(target=tell, args=(name,)) for name in ("one", "two", "three")]
    for teller in tellers:
        teller.start()
    for teller in tellers:
        teller.join()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 300
    assert all(re.fullmatch(r"✓ (one|two|three): step \d+", line) for line in lines)
