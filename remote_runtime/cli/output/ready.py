"""Prints the end of `up`: the URL, what to do with it, and what it allows."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...core.sanitize import clean_line
from . import format
from .console import MAX_CHARS, answer, fold_text, say, say_lines, warn
from .theme import paint

ALLOW = 'Paste this URL, then allow "Access other apps and services on this device":'


def show_ready(runtimes: Sequence[Mapping[str, Any]], *, quiet: bool, named: bool, foreground: bool = False) -> None:
    """The URLs on stdout, the rest on stderr. ``named``: each URL with its runtime's name."""
    if not quiet:
        say("")
        paste_instructions()
        say("")
    for number, runtime in enumerate(runtimes):
        _show_url(runtime, named=named, is_first=not number)
    if quiet:
        return
    if sys.stdout.isatty():
        say("")
    for runtime in runtimes:
        if extra := format.extra_ports(runtime):
            warn(f"{runtime['name']}: {extra}" if named else extra[:1].upper() + extra[1:])
    machines = " and ".join(dict.fromkeys(machine_name(runtime) for runtime in runtimes))
    warn(f"Connected notebooks can run any code on {machines} as you. Only connect notebooks you trust.")
    for runtime in runtimes:
        if price := format.hourly_price(runtime.get("price")):
            name = f" of {runtime['name']}" if named else ""
            say(f"  VM{name}: about {price} while it runs (list price)", "detail")
    for runtime in runtimes:
        workers = (runtime.get("cluster") or {}).get("workers", ())
        if missing := sum(worker["state"] not in ("joined", "removed") for worker in workers):
            name = shlex.quote(runtime["name"])
            say(f"  {missing} worker{'s' * (missing > 1)} starting: remote-runtime status {name}", "detail")
    names = " ".join(shlex.quote(runtime["name"]) for runtime in runtimes)
    stop = "Ctrl-C" if foreground else f"remote-runtime down {names}"
    say(f"  Stop: {stop}     Status: remote-runtime status", "detail")
    if not _is_on_path():
        say("  remote-runtime isn't on your PATH: start it as you did for this command", "detail")


def paste_instructions() -> None:
    """What to do with the URL."""
    steps = ("In Colab: Connect ▾ → Connect to a local runtime", ALLOW)
    for number, text in enumerate(steps, 1):
        first, *rest = fold_text(text, MAX_CHARS, 5)
        say_lines([f"  {paint(f'{number}.', 'heading')} {first}", *(f"     {line}" for line in rest)])


def machine_name(runtime: Mapping[str, Any]) -> str:
    """The machine, in a sentence."""
    if runtime["target"].get("kind") == "local" or not runtime["instance"]:
        return "this computer"
    return str(runtime["instance"]["name"])


def _show_url(runtime: Mapping[str, Any], *, named: bool, is_first: bool) -> None:
    """On a terminal the URL has a line of its own, so that a long one can be copied."""
    url = runtime["url"]
    if not sys.stdout.isatty():
        answer(f"{runtime['name']}\t{url}" if named else url)
        return
    if named:
        answer(("" if is_first else "\n") + paint(clean_line(runtime["name"], MAX_CHARS), "heading", sys.stdout))
    answer(paint(url, "link", sys.stdout))


def _is_on_path() -> bool:
    """Whether a shell finds the program. `uvx` changes PATH for the program alone."""
    is_uvx = "UV" in os.environ and any(part.startswith("archive-v") for part in Path(sys.prefix).parts)
    return not is_uvx and shutil.which("remote-runtime") is not None
