"""Shows the progress of commands: a spinner on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import queue
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from ...commands.context import View
from ...core.sanitize import clean_line
from .console import MAX_CHARS, fold_text, has_unicode, say
from .theme import has_colour, rich_style

MARKS = {"ok": "✓", "bad": "✗", "note": "·"}
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
PROGRAMS = ("gcloud", "sshd", "ssh", "paramiko", "sshtunnel", "jupyter")
PLAIN_SPINNER = "|/-\\"
UNDOING = "Undoing"
PLAIN_MARKS = {"ok": "+", "bad": "x", "note": "-"}


@dataclass
class _Step:
    """The current step of one runtime."""

    step: str
    started_at: float = field(default_factory=time.monotonic)
    detail: str = ""


class TerminalView(View):
    """Draws a spinner on a terminal and prints plain lines elsewhere. ``transient``: leave no lines behind, because the
    answer has the result."""

    def __init__(self, *, quiet: bool, verbose: bool, plain: bool, show_names: bool, transient: bool = False) -> None:
        self._transient = transient
        self._quiet = quiet
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

    def step(self, name: str, text: str) -> None:
        with self._lock:
            self._finish(name, "bad" if text.startswith(UNDOING) and not self._is_undoing(name) else "ok")
            self._steps[name] = _Step(clean_line(text, 300))
            if not self._animated:
                self._say(name, text)
            self._draw()

    def detail(self, name: str, text: str) -> None:
        with self._lock:
            text = clean_line(text, 300)
            self._steps.setdefault(name, _Step(text)).detail = text
            # A progress count is printed once, not for each number.
            key = name + "".join(character for character in text if not character.isdigit())
            if (not self._animated or self._verbose) and key not in self._shown:
                self._shown.add(key)
                self._say(name, f"  {text}")
            self._draw()

    def note(self, name: str, text: str) -> None:
        with self._lock:
            self._say(name, _capitalized(text), mark="note")

    def done(self, name: str) -> None:
        with self._lock:
            self._finish(name, "ok")
            self._draw()

    def failed(self, name: str) -> None:
        """Marks the current step as failed, unless it is a rollback."""
        with self._lock:
            self._finish(name, "ok" if self._is_undoing(name) else "bad")
            self._draw()

    def prompt(self, name: str, text: str, *, secret: bool) -> str:
        """Called in worker threads; ``answer_prompts`` reads the answer in the main thread."""
        if not self.interactive:
            raise EOFError
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
        for name, line in list(self._steps.items()):
            text = Text(f"{frame} ", style=rich_style("info"), no_wrap=True, overflow="ellipsis")
            text.append(f"{name}: " if self._show_names else "", style=rich_style("heading"))
            text.append(line.step, style="default")
            text.append(f"  {time.monotonic() - line.started_at:.0f} s  {line.detail}", style=rich_style("detail"))
            rows.append(text)
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

    def _is_undoing(self, name: str) -> bool:
        return name in self._steps and self._steps[name].step.startswith(UNDOING)

    def _finish(self, name: str, how: str) -> None:
        line = self._steps.pop(name, None)
        if line is not None and self._animated:
            self._say(name, f"{line.step}  {time.monotonic() - line.started_at:.1f} s", mark=how)

    def _say(self, name: str, text: str, *, mark: str = "") -> None:
        if self._quiet or (self._transient and not self._verbose):
            return
        text = f"{name}: {text}" if self._show_names else text
        text = f"{self._marks[mark]} {text}" if mark else text
        if self._live is not None:
            from rich.text import Text

            self._live.console.print(Text("\n".join(fold_text(text, MAX_CHARS))), soft_wrap=True)
        else:
            say(text)

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
