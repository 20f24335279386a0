"""A terminal of a given size: types, waits for words, and keeps what it shows as an SVG."""

from __future__ import annotations

import html
import io
import re
import shlex
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.ansi import AnsiDecoder
from rich.console import Console
from rich.terminal_theme import DEFAULT_TERMINAL_THEME, MONOKAI

WITHIN_S = 150.0
THEMES = {"dark": MONOKAI, "light": DEFAULT_TERMINAL_THEME}
# A picture loads nothing from elsewhere: the reader's own monospaced font draws it.
REMOTE_FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
LAST_PROMPT = re.compile(r"\n(?:\x1b\[[\d;]*m)*\$ ?(?:\x1b\[[\d;]*m)*\Z")
# A white frame cannot be seen on a white page.
FRAMES = ('stroke="rgba(255,255,255,0.35)"', 'stroke="rgba(128,128,128,0.5)"')
FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace"


class Film:
    """Commands run in ``environ``, in a tmux server of its own below ``folder``."""

    def __init__(self, folder: Path, environ: Mapping[str, str], *, columns: int, rows: int) -> None:
        self._columns = columns
        self._socket = folder / "tmux"
        shell = ["env", "-i", *(f"{name}={value}" for name, value in environ.items()), "PS1=$ ", "TERM=xterm-256color"]
        command = shlex.join([*shell, "bash", "--norc", "--noprofile"])
        self._tmux(
            "-f", "/dev/null", "new-session", "-d", "-x", str(columns), "-y", str(rows), "-c", str(folder), command
        )
        self._tmux("set", "-g", "status", "off")

    def type(self, keys: str) -> None:
        """``Enter`` and the like are tmux's names for keys; a line ends with it."""
        words = keys.removesuffix("\n")
        if words:
            self._tmux("send-keys", "-l", words)
        if keys.endswith("\n"):
            self._tmux("send-keys", "Enter")

    def wait_for(self, pattern: str, within_s: float = WITHIN_S) -> str:
        """The screen's text once ``pattern`` is on it. Raises ``TimeoutError`` with the text."""
        until = time.monotonic() + within_s
        while True:
            text = self.text()
            if re.search(pattern, text, re.MULTILINE):
                return text
            if time.monotonic() > until:
                raise TimeoutError(f"{pattern!r} is not on the screen:\n{text}")
            time.sleep(0.1)

    def text(self) -> str:
        return self._tmux("capture-pane", "-p")

    def screen(self, replacements: Mapping[str, str]) -> str:
        """What is shown, with its colors, without the last prompt and without the greater part of a token.
        ``replacements``: folders of this run, and what a user has in their place."""
        shown = self._tmux("capture-pane", "-e", "-p").rstrip("\n")
        shown = LAST_PROMPT.sub("", shown)
        for folder, usual in replacements.items():
            shown = shown.replace(folder, usual)
        return re.sub(r"(token=[0-9a-f]{8})[0-9a-f]{40}", r"\1…", shown)

    def svg(self, shown: str, title: str, theme: str) -> str:
        console = Console(record=True, width=self._columns, file=io.StringIO(), force_terminal=True)
        for line in AnsiDecoder().decode(shown):  # a style continues on the next line
            console.print(line, soft_wrap=True)
        drawn = console.export_svg(title=title, theme=THEMES[theme], unique_id="shot")
        return REMOTE_FONTS.sub("", drawn).replace("Fira Code, monospace", FONTS).replace(*FRAMES)

    def close(self) -> None:
        self._tmux("kill-server")

    def _tmux(self, *words: str) -> str:
        done = subprocess.run(["tmux", "-S", str(self._socket), *words], capture_output=True, text=True, check=True)
        return done.stdout


def words_in(svg: str) -> str:
    """The text of a picture, a line of the screen each."""
    lines: dict[float, list[str]] = {}
    for y, text in re.findall(r'<text [^>]*?y="([\d.]+)"[^>]*>([^<]*)</text>', svg):
        lines.setdefault(float(y), []).append(html.unescape(text).replace("\xa0", " "))
    return "\n".join("".join(parts).rstrip() for _, parts in sorted(lines.items()))


def missing(text: str, phrases: Sequence[str]) -> list[str]:
    """Of ``phrases`` those that are not in ``text``, line ends counting as spaces."""
    flat = " ".join(text.split())
    return [phrase for phrase in phrases if " ".join(phrase.split()) not in flat]
