"""Codes of this computer: ports, background processes, state files."""

from __future__ import annotations

from .catalogue import CatalogueEntry

LOCAL = {
    "port-in-use": CatalogueEntry(
        "the local port belongs to another program",
        "A Jupyter server, another runtime or any program listens there, on 127.0.0.1 or on ::1.",
        "`--port N` takes another one, `forward.local_port: auto` a free one.",
    ),
    "keeper-died": CatalogueEntry(
        "the background process ended unexpectedly",
        "It was killed, the computer restarted, or it met a bug.",
        "`remote-runtime up PROFILE` starts it again; `remote-runtime logs PROFILE` shows its last words.",
    ),
    "python-gone": CatalogueEntry(
        "the Python that runs remote-runtime cannot be started",
        "Its environment was replaced or removed while the command ran, or belongs to another user.",
        "Install remote-runtime again: `pipx reinstall remote-runtime`, `uv tool install --reinstall remote-runtime`, "
        "or pip in a new environment.",
    ),
    "keeper-unresponsive": CatalogueEntry(
        "the background process does not answer",
        "It is stopped, or the computer is very busy.",
        "`remote-runtime down PROFILE --force` ends it.",
    ),
    "busy": CatalogueEntry(
        "another command is working on this runtime, or its kernels are busy",
        "`up` or `down` of the same runtime is under way, or a cell is running.",
        "Wait until it is done. `remote-runtime down PROFILE --force` ends it at once; what runs in its cells is lost.",
    ),
    "not-up": CatalogueEntry(
        "there is no such runtime",
        "It was never brought up here, was taken down, or is not ready now.",
        "`remote-runtime up PROFILE` brings it up.",
    ),
    "left-behind": CatalogueEntry(
        "`down` could not take everything away",
        "The machine or the cloud could not be reached to stop what runs there.",
        "`remote-runtime down PROFILE` tries again; `remote-runtime down PROFILE --force` forgets it.",
    ),
    "state-unreadable": CatalogueEntry(
        "a state file is damaged or from a newer version",
        "The disk was full while it was written, or a newer remote-runtime wrote it.",
        "`remote-runtime down PROFILE --force` ends its processes here and removes the file.",
    ),
    "too-many-files": CatalogueEntry(
        "this computer lets the process open too few files",
        "The limit of the shell that started it is low (`ulimit -n`), or many programs have many files open.",
        "`ulimit -n 1024`, then `remote-runtime up PROFILE` in the same shell.",
    ),
    "no-browser": CatalogueEntry(
        "no page can be shown on this computer",
        "No desktop runs in this session, as in one over SSH, or there is no browser.",
        "Open the page on the computer that you sit at, or name a browser in BROWSER.",
    ),
    "no-clipboard": CatalogueEntry(
        "no text can be put on the clipboard",
        "No desktop runs in this session, or its program for that is not installed.",
        "Install wl-clipboard, xclip or xsel, or copy the URL that is printed.",
    ),
    "profile-not-written": CatalogueEntry(
        "the new profile's file cannot be written",
        "The configuration folder is read-only, belongs to somebody else, or its disk is full.",
        "Free space or mend its permissions, or set REMOTE_RUNTIME_CONFIG_DIR.",
    ),
    "state-dir-unusable": CatalogueEntry(
        "the state directory cannot be used",
        "It, or a file in it, is another user's; it can't be written; or its disk is full, or has no locks or sockets.",
        "Free space there, or set `REMOTE_RUNTIME_STATE_DIR` to a directory of your own.",
    ),
    "report-not-written": CatalogueEntry(
        "the report of `doctor` could not be written",
        "The folder belongs to somebody else, or the disk is full.",
        "Name a file in a folder of yours: `remote-runtime doctor PROFILE --report FILE`.",
    ),
}
