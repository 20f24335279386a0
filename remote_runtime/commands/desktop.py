"""Opens pages in a browser of this computer and copies text to its clipboard. No secret is passed in an argv: the
clipboard's program reads stdin, and a URL with a token is opened through a file."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping

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
    raise LocalError("no-clipboard", "Nothing here puts a text on the clipboard", "", f"Install {names}")


def copy(text: str, environ: Mapping[str, str]) -> None:
    """Raises ``LocalError`` ``no-clipboard``."""
    command = clipboard_command(environ)
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
        raise LocalError("no-clipboard", "The text could not be put on the clipboard", why) from error


def check_browser(environ: Mapping[str, str]) -> None:
    """Raises ``LocalError`` ``no-browser`` without a desktop, where a text browser would take the terminal."""
    desktops = ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME")
    if sys.platform in ("darwin", "win32") or any(environ.get(name) for name in desktops):
        return
    raise LocalError(
        "no-browser",
        "This computer has no browser to show a page in",
        "no desktop runs in this session",
        "open the page on the computer that you sit at; BROWSER names a browser",
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
        raise LocalError(
            "no-browser", "No browser could be started", "", f"open {url} yourself; BROWSER names a browser"
        )
