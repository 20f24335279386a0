"""Opens pages in a browser of this computer, and copies text to the clipboard. No secret is passed in an argv: the
clipboard's program reads stdin, and a URL with a token is opened through a file."""

from __future__ import annotations

import base64
import contextlib
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence

from ..core.errors import LocalError
from ..core.subprocesses import ISOLATED_SYS_PATH, detached_popen_args, start_python

COPY_TIMEOUT_S = 5.0
SHOW_TIMEOUT_S = 4.0
CLIPBOARDS = {
    "darwin": (("", ("pbcopy",)),),
    "win32": (("", ("clip",)),),
    "linux": (
        ("WAYLAND_DISPLAY", ("wl-copy",)),
        ("DISPLAY", ("xclip", "-selection", "clipboard")),
        ("DISPLAY", ("xsel", "--clipboard", "--input")),
        ("WSL_DISTRO_NAME", ("clip.exe",)),
    ),
}
REMOTE_SESSION = ("SSH_CONNECTION", "SSH_TTY")  # its clipboard is not the one of the computer that the user sits at
# The exit code says whether webbrowser found a browser. Its output, and the browser's, is discarded.
_SHOW = ISOLATED_SYS_PATH + "import webbrowser; sys.exit(0 if webbrowser.open(sys.argv[1]) else 1)"


def clipboard_command(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The command that copies its stdin to the clipboard. Raises ``LocalError`` ``no-clipboard``."""
    candidates = CLIPBOARDS.get(sys.platform, CLIPBOARDS["linux"])
    available = [command for variable, command in candidates if not variable or environ.get(variable)]
    for program, *options in available:
        found = shutil.which(program, path=environ.get("PATH"))
        if found:
            return found, *options
    if not available:
        raise LocalError("no-clipboard", "This computer has no clipboard", "no desktop runs in this session")
    names = " or ".join(command[0] for command in available)
    raise LocalError("no-clipboard", "No clipboard program found", "", f"Install {names}")


def copy(text: str, environ: Mapping[str, str]) -> bool:
    """Copy to the clipboard of the computer that the user sits at. Returns whether the terminal does it,
    which does not report back. Raises ``LocalError`` ``no-clipboard``."""
    if any(environ.get(variable) for variable in REMOTE_SESSION) and _copy_by_terminal(text, environ):
        return True
    try:
        command = clipboard_command(environ)
    except LocalError:
        if _copy_by_terminal(text, environ):
            return True
        raise
    _run_with_input(command, text, environ)
    return False


def _copy_by_terminal(text: str, environ: Mapping[str, str]) -> bool:
    """False without a terminal that understands control sequences."""
    if not sys.stderr.isatty() or environ.get("TERM", "dumb") == "dumb":
        return False
    tmux = shutil.which("tmux", path=environ.get("PATH")) if environ.get("TMUX") else None
    if tmux:
        with contextlib.suppress(LocalError):  # before tmux 3.2
            _run_with_input((tmux, "load-buffer", "-w", "-"), text, environ)
            return True
    sys.stderr.write(osc52(text, environ))
    sys.stderr.flush()
    return True


def _run_with_input(command: Sequence[str], text: str, environ: Mapping[str, str]) -> None:
    try:
        # Some programs stay running to serve the clipboard: do not wait for their output.
        subprocess.run(
            command,
            input=text.encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=dict(environ),
            timeout=COPY_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        why = f"{command[0]}: {str(error) if isinstance(error, OSError) else 'it failed'}"
        raise LocalError("no-clipboard", "Can't copy to the clipboard", why) from error


def osc52(text: str, environ: Mapping[str, str]) -> str:
    """The control sequence that makes a terminal copy ``text``: OSC 52 of xterm's "Control Sequences", also through
    tmux and GNU screen, which pass on what is in a DCS."""
    sequence = f"\x1b]52;c;{base64.b64encode(text.encode()).decode()}\x07"
    if environ.get("TMUX"):
        escaped = sequence.replace("\x1b", "\x1b\x1b")
        return f"\x1bPtmux;{escaped}\x1b\\"
    if environ.get("STY"):
        return f"\x1bP{sequence}\x1b\\"
    return sequence


def check_browser(environ: Mapping[str, str]) -> None:
    """Raises ``LocalError`` ``no-browser`` without a desktop, where a text browser would take the terminal."""
    desktops = ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME")
    if sys.platform in ("darwin", "win32") or any(environ.get(name) for name in desktops):
        return
    raise LocalError(
        "no-browser",
        "Can't open a browser",
        "no desktop runs in this session",
        "Open the page on the computer you sit at, or set BROWSER",
    )


def open_page(url: str, environ: Mapping[str, str]) -> None:
    """Open a URL that contains no secret. Raises ``LocalError`` ``no-browser``."""
    check_browser(environ)
    nothing = subprocess.DEVNULL
    child = start_python(
        ["-c", _SHOW, url],
        stdin=nothing,
        stdout=nothing,
        stderr=nothing,
        env=dict(environ),
        **detached_popen_args(),
    )
    try:
        code = child.wait(SHOW_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return  # a browser that stays in the foreground until it is closed
    if code != 0:
        raise LocalError("no-browser", "Can't start a browser", "", f"Open {url} yourself, or set BROWSER")
