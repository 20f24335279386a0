"""Shows the progress of commands: a spinner on a terminal; elsewhere the same lines, without one."""

from __future__ import annotations

import contextlib
import queue
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from ...commands.context import View
from ...core.sanitize import clean, clean_line
from .console import MAX_CHARS, fold, has_unicode, say_lines, width
from .format import seconds
from .theme import has_colour, paint, rich_style

MARKS = {"ok": "✓", "error": "✗", "detail": "·", "waiting": "…"}
PLAIN_MARKS = {"ok": "+", "error": "x", "detail": "-", "waiting": "..."}
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
PLAIN_SPINNER = "|/-\\"
PROGRAMS = ("gcloud", "sshd", "ssh", "paramiko", "sshtunnel", "jupyter")
MIN_SHOWN_S = 0.5  # shorter steps have no time
ANNOUNCED_AFTER_S = 2.0  # without a spinner, a step that runs for longer has a line that says so
TIME_COLUMN = 72  # where the times end


@dataclass
class _Step:
    """The current step of one runtime. ``notes``: shown below its line, when it has one."""

    text: str
    done: str = ""
    started_at: float = field(default_factory=time.monotonic)
    detail: str = ""
    notes: list[str] = field(default_factory=list)
    timer: threading.Timer | None = None


class TerminalView(View):
    """Draws a spinner on a terminal, and prints a line for each step that is done. ``transient``: leave no lines
    behind, because the answer has the result."""

    def __init__(self, *, quiet: bool, verbose: bool, plain: bool, show_names: bool, transient: bool = False) -> None:
        self._silent = quiet or (transient and not verbose)
        self._verbose = verbose
        self._show_names = show_names
        self._steps: dict[str, _Step] = {}
        self._shown: set[str] = set()
        self._lock = threading.RLock()
        self._prompts: queue.SimpleQueue[tuple[str, bool, queue.SimpleQueue[str | None]]] = queue.SimpleQueue()
        self._live: Any = None
        self._marks = MARKS if has_unicode(sys.stderr) else PLAIN_MARKS
        self._animated = not (plain or quiet) and has_colour()
        self.interactive = not plain and sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()

    def step(self, name: str, text: str, done: str = "") -> None:
        with self._lock:
            self._end(name, "ok")
            self._steps[name] = step = _Step(clean_line(text, 300), clean_line(done, 300))
            if self._verbose and not self._animated:
                self._show_running(name, step)
            elif not (self._animated or self._silent):
                step.timer = threading.Timer(ANNOUNCED_AFTER_S, self._show_running, (name, step))
                step.timer.daemon = True
                step.timer.start()
            self._draw()

    def finish(self, name: str, done: str) -> None:
        with self._lock:
            self._steps.setdefault(name, _Step(done)).done = clean_line(done, 300)
            self._end(name, "ok")
            self._draw()

    def detail(self, name: str, text: str) -> None:
        with self._lock:
            text = clean_line(text, 300)
            self._steps.setdefault(name, _Step(text)).detail = text
            # A progress count is printed once, not for each number.
            key = name + "".join(character for character in text if not character.isdigit())
            if self._verbose and key not in self._shown:
                self._shown.add(key)
                self._say(name, text, indent=4)
            self._draw()

    def note(self, name: str, text: str) -> None:
        with self._lock:
            if name in self._steps:
                self._steps[name].notes.append(text)
                self._draw()
            else:
                self._say_note(name, text)

    def done(self, name: str) -> None:
        with self._lock:
            self._end(name, "ok")
            self._draw()

    def failed(self, name: str) -> None:
        with self._lock:
            self._end(name, "error")
            self._draw()

    def prompt(self, name: str, text: str, *, secret: bool) -> str:
        """Called in worker threads; ``answer_prompts`` reads the answer in the main thread. The step's notes are shown
        before: the answer depends on them."""
        if not self.interactive:
            raise EOFError
        with self._lock:
            if name in self._steps:
                self._say_notes(name, self._steps[name], always=True)
        reply: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._prompts.put((f"{name}: {clean_line(text, 300)} ", secret, reply))
        answer = reply.get()
        if answer is None:
            raise EOFError
        return answer

    def confirm(self, name: str, question: str) -> bool:
        try:
            return self.prompt(name, f"{question} [y/N]", secret=False).strip().lower() in ("y", "yes")
        except EOFError:
            return False

    def answer_prompts(self, timeout_s: float) -> None:
        """See ``View``."""
        try:
            prompt, secret, reply = self._prompts.get(timeout=timeout_s)
        except queue.Empty:
            return
        self.pause()
        answer: str | None = None
        try:
            with contextlib.suppress(EOFError):
                answer = self._read(prompt, secret=secret)
        finally:
            reply.put(answer)

    def read_line(self, prompt: str) -> str:
        """Read a line in the main thread. Raises ``EOFError`` when the user has left."""
        self.pause()
        return self._read(prompt, secret=False)

    def pause(self) -> None:
        """Stop the animation; the next step begins it again."""
        with self._lock:
            if self._live is not None:
                self._live.stop()
                self._live = None

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.text import Text

        frames = SPINNER if self._marks is MARKS else PLAIN_SPINNER
        frame = frames[int(time.monotonic() * 10) % len(frames)]
        rows = []
        for name, step in list(self._steps.items()):
            text = Text(f"{frame} ", style=rich_style("info"), no_wrap=True, overflow="ellipsis")
            text.append(f"{name}: " if self._show_names else "", style=rich_style("heading"))
            text.append(step.text, style="default")
            passed_s = time.monotonic() - step.started_at
            text.append(f"  {passed_s:.0f} s" if passed_s >= 1 else "", style=rich_style("detail"))
            text.append(f"  {step.detail}" if step.detail else "", style=rich_style("detail"))
            rows.append(text)
            for note in step.notes:
                shown = f"  {self._marks['detail']} {_capitalized(clean_line(note, 300))}"
                rows.append(Text(shown, style=rich_style("detail"), no_wrap=True, overflow="ellipsis"))
        return Group(*rows)

    def _draw(self) -> None:
        if not self._animated:
            return
        if not self._steps:
            self.pause()
        elif self._live is None:
            from rich.console import Console
            from rich.live import Live

            self._live = Live(self, console=Console(stderr=True), refresh_per_second=10, transient=True)
            self._live.start()

    def _show_running(self, name: str, step: _Step) -> None:
        with self._lock:
            if self._steps.get(name) is step:
                self._say(name, f"{step.text} {self._marks['waiting']}", indent=2)

    def _end(self, name: str, how: str) -> None:
        step = self._steps.pop(name, None)
        if step is None:
            return
        if step.timer is not None:
            step.timer.cancel()
        text = step.done if how == "ok" else step.text
        if text:
            self._say(name, text, mark=how, took=seconds(time.monotonic() - step.started_at, least=MIN_SHOWN_S))
        self._say_notes(name, step)

    def _say_notes(self, name: str, step: _Step, *, always: bool = False) -> None:
        notes, step.notes = step.notes, []
        for note in notes:
            self._say_note(name, note, always=always)

    def _say_note(self, name: str, text: str, *, always: bool = False) -> None:
        self._say(name, _capitalized(text), mark="detail", indent=2, always=always)

    def _say(
        self, name: str, text: str, *, mark: str = "", indent: int = 0, took: str = "", always: bool = False
    ) -> None:
        """Print a text, folded, with its mark before it and the time at its end. ``always``: with --quiet too."""
        if self._silent and not always:
            return
        begin = " " * indent + (f"{self._marks[mark]} " if mark else "")
        text = clean(f"{name}: {text}" if self._show_names else text, MAX_CHARS)
        folded = [part for line in text.splitlines() for part in fold(line, len(begin))] or [""]
        lines = [(" " * len(begin) if number else begin) + line for number, line in enumerate(folded)]
        if took:
            gap = min(width() or TIME_COLUMN, TIME_COLUMN) - len(lines[-1]) - len(took)
            lines[-1] += " " * max(2, gap) + paint(took, "detail")
        if mark:
            lines[0] = lines[0].replace(self._marks[mark], paint(self._marks[mark], mark), 1)
        if self._live is not None:
            from rich.text import Text

            self._live.console.print(Text.from_ansi("\n".join(lines)), soft_wrap=True)
        else:
            say_lines(lines)

    @staticmethod
    def _read(prompt: str, *, secret: bool) -> str:
        if secret:
            import getpass

            return getpass.getpass(prompt)
        sys.stderr.write(prompt)
        sys.stderr.flush()
        try:
            line = sys.stdin.readline()
        except KeyboardInterrupt:
            sys.stderr.write("\n")  # the next text begins on a line of its own
            raise
        if not line:
            sys.stderr.write("\n")
            raise EOFError
        return line.rstrip("\n")


def _capitalized(text: str) -> str:
    """With a capital, unless it begins with the name of a program, key, file or runtime."""
    first = text.partition(" ")[0]
    return text[:1].upper() + text[1:] if first.isalpha() and first not in PROGRAMS else text
