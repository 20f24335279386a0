"""Prints recorded outputs as a terminal shows a notebook: code, what it printed, results, tracebacks."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ...core.sanitize import clean, clean_line
from . import console, format
from .theme import paint

if TYPE_CHECKING:
    from ...jupyter.outputs import OutputEvent, RecordedKernel

MAX_TEXT_CHARS = 200 << 20
_OVERWRITTEN = re.compile(r"[^\n]*\r(?!\n)")  # progress bars: the next text replaces the line
_IMAGE = re.compile(r"(?:image|audio|video)/.*|application/pdf")


class OutputPrinter:
    """Prints the events of kernels, those of a stream line by line."""

    def __init__(self, *, several_kernels: bool) -> None:
        self._several = several_kernels
        self._partial = ""  # of a stream's last line
        self._kernel = self._request = ""

    def show(self, event: OutputEvent) -> None:
        if (event.kernel, event.request) != (self._kernel, self._request):
            self._begin(event)
        content = event.content
        if event.type == "stream":
            self._stream(_text(content.get("text")))
            return
        self.end()
        if event.type == "execute_input":
            self._code(event)
        elif event.type == "error":
            trace = content.get("traceback")
            lines = trace if isinstance(trace, list) and trace else [f"{content.get('ename')}: {content.get('evalue')}"]
            _print("\n".join(map(_text, lines)))
        elif event.type != "clear_output":
            count = content.get("execution_count")
            begin = f"Out[{count}]: " if event.type == "execute_result" and isinstance(count, int) else ""
            _print(begin + _shown(content.get("data")))

    def end(self) -> None:
        """Print what has no line end yet."""
        if self._partial:
            console.answer(self._partial)
            self._partial = ""

    def _begin(self, event: OutputEvent) -> None:
        self.end()
        if self._request:
            console.answer("")
        if self._several and event.kernel != self._kernel:
            _say(f"kernel {clean_line(event.kernel, 40)[:8]}")
        self._kernel, self._request = event.kernel, event.request

    def _code(self, event: OutputEvent) -> None:
        count = event.content.get("execution_count")
        begin = f"In [{count if isinstance(count, int) else ' '}]: "
        code = clean(_text(event.content.get("code")), MAX_TEXT_CHARS).rstrip("\n")
        if event.earlier:
            _say(f"{_time(event.at)}, earlier output was received by a page")
        else:
            _say(_time(event.at))
        console.answer(paint(begin, "info", sys.stdout) + code.replace("\n", "\n" + "...: ".rjust(len(begin))))

    def _stream(self, text: str) -> None:
        if text.startswith("\r") and self._partial:
            self.end()
        text = self._partial + clean(_OVERWRITTEN.sub("", text), MAX_TEXT_CHARS)
        lines, end, self._partial = text.rpartition("\n")
        if end:
            console.answer(lines)


def show_kernels(kernels: tuple[RecordedKernel, ...], paused: str) -> None:
    """On stderr, what is recorded of which kernel, and what of it is lost."""
    for kernel in kernels:
        about = [format.size(kernel.size), "1 request" if kernel.requests == 1 else f"{kernel.requests} requests"]
        about += [] if kernel.is_running else ["it has ended"]
        console.say(
            f"kernel {kernel.id[:8]}{f' of {kernel.path}' if kernel.path else ''}: {', '.join(about)}", "detail"
        )
        if kernel.cut:
            console.warn(f"The oldest outputs of kernel {kernel.id[:8]} are lost: {kernel.cut}")
    if paused:
        console.warn(f"Outputs are not recorded now: {paused}")


def _say(text: str) -> None:
    console.answer(paint(f"# {text}", "detail", sys.stdout))


def _print(text: str) -> None:
    console.answer(clean(text, MAX_TEXT_CHARS).rstrip("\n"))


def _shown(data: Any) -> str:
    """The plain text of a display, and a line for what a terminal cannot show."""
    if not isinstance(data, Mapping):
        return ""
    media = [name for name in data if isinstance(name, str) and _IMAGE.fullmatch(name)]
    lines = [f"[{clean_line(name, 60)}, {format.size(_decoded_size(data[name]))}]" for name in media]
    if not media and "text/plain" in data:
        lines.append(_text(data["text/plain"]))
    return "\n".join(lines) or ", ".join(f"[{clean_line(str(name), 60)}]" for name in data)


def _decoded_size(value: Any) -> int:
    """Binary data is base64, SVG is text."""
    text = _text(value)
    return len(text) if text.lstrip().startswith("<") else len("".join(text.split())) * 3 // 4


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "".join(map(_text, value))
    return value if isinstance(value, str) else ""


def _time(at: float) -> str:
    try:
        return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return "at an unknown time"
