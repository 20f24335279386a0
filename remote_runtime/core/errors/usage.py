"""Codes of the command line and of profiles."""

from __future__ import annotations

from .catalogue import CatalogueEntry

USAGE = {
    "usage": CatalogueEntry(
        "the command line cannot be understood",
        "An option or argument is missing, unknown, or excludes another one.",
        "`remote-runtime --help`, or `--help` after the command, shows what is allowed.",
    ),
    "profile-not-found": CatalogueEntry(
        "no profile has this name",
        "The name is mistyped, or the file is in a folder that is not searched.",
        "`remote-runtime profiles list` shows the names and where they come from; a path to the file works too.",
    ),
    "profile-invalid": CatalogueEntry(
        "the profile has mistakes; all are listed with file, line and key",
        "A key is unknown, misplaced or has a value that is not allowed, or the file is not YAML.",
        "Mend what is listed, then `remote-runtime profiles check PROFILE`; `remote-runtime profiles show example` has "
        "every key.",
    ),
}
BUG = {
    "bug": CatalogueEntry(
        "a bug of remote-runtime; its log has the details",
        "Something happened that nobody thought of.",
        "`remote-runtime doctor --report FILE` writes what an issue needs, without secrets.",
    ),
}
DEADLINE = {
    "deadline-passed": CatalogueEntry(
        "a wait was longer than its limit",
        "The step took longer than `timeouts` in the profile or `--timeout` allow.",
        "`timeouts` in the profile, or `--timeout SECONDS`, give it more time.",
    ),
}
INTERRUPTED = {
    "interrupted": CatalogueEntry(
        "the command was interrupted",
        "Ctrl-C, a closed terminal, or a `down` while `up` was at work. What `up` had started is undone.",
        "`remote-runtime up PROFILE` begins again.",
    ),
}
