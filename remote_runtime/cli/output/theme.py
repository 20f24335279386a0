"""The one table of styles, for what is printed with ANSI codes and for what rich draws."""

from __future__ import annotations

import os
import sys
from typing import TextIO

# The SGR codes of ECMA-48, and the same style in rich's words. No style carries information that the text does not.
# What has to be read has the terminal's own colour: many terminals show bold cyan as bright cyan, which a white
# background swallows.
STYLES = {
    "ok": ("32", "green"),
    "warning": ("33", "yellow"),
    "error": ("1;31", "bold red"),
    "info": ("36", "cyan"),
    "detail": ("2", "dim"),
    "link": ("1;4", "bold underline"),
    "command": ("1", "bold"),
    "heading": ("1", "bold"),
}
STATE_STYLES = {
    "ready": "ok",
    "starting": "warning",
    "reconnecting": "warning",
    "unreachable": "error",
    "stranger": "error",
}


def has_colour(stream: TextIO | None = None) -> bool:
    """Whether ``stream`` (default: stderr) is a terminal that understands colours, and NO_COLOR is not set
    (https://no-color.org: set and not empty)."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return (stream or sys.stderr).isatty()


def paint(text: str, style: str, stream: TextIO | None = None) -> str:
    """``text`` in a style of ``STYLES`` if ``stream`` (default: stderr) has colours."""
    return f"\x1b[{STYLES[style][0]}m{text}\x1b[0m" if text and has_colour(stream) else text


def has_links(stream: TextIO | None = None) -> bool:
    """Whether ``stream`` (default: stderr) is a terminal that shows links of OSC 8. Terminals report
    that only by their environment. FORCE_HYPERLINK overrides it, as in other programs."""
    forced = os.environ.get("FORCE_HYPERLINK")
    if forced is not None:
        return forced != "0" and (stream or sys.stderr).isatty()
    if not has_colour(stream) or os.environ.get("TMUX") or os.environ.get("STY"):
        return False
    vte = os.environ.get("VTE_VERSION", "")
    return (
        os.environ.get("TERM_PROGRAM") in ("iTerm.app", "WezTerm", "vscode", "ghostty", "Hyper", "Tabby")
        or os.environ.get("TERM") in ("xterm-kitty", "alacritty", "foot", "xterm-ghostty")
        or any(os.environ.get(variable) for variable in ("WT_SESSION", "KONSOLE_VERSION", "DOMTERM"))
        or (vte.isdecimal() and int(vte) >= 5000)
    )


def link(text: str, url: str, stream: TextIO | None = None) -> str:
    """``text`` as a link (OSC 8) to ``url`` if ``stream`` (default: stderr) shows links; else the address itself."""
    return f"\x1b]8;;{url}\x1b\\{text}\x1b]8;;\x1b\\" if has_links(stream) else url


def rich_style(style: str) -> str:
    """The style in rich's words; for an unknown one the terminal's default."""
    return STYLES[style][1] if style in STYLES else "default"


def prompt_toolkit_style(style: str) -> str:
    """The style in prompt_toolkit's words, without what questionary has instead."""
    words = rich_style(style).split()
    return " ".join(["nobold", *(word if word in ("bold", "underline") else f"ansi{word}" for word in words)])
