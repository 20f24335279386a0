"""Programs that only wait in a terminal: shells that read commands, and terminal multiplexers."""

from __future__ import annotations

from collections.abc import Sequence

SHELLS = {
    "sh", "bash", "rbash", "dash", "ash", "busybox", "zsh", "rzsh", "ksh", "ksh93", "rksh", "mksh", "mksh-static",
    "lksh", "pdksh", "oksh", "yash", "posh", "csh", "bsd-csh", "tcsh", "fish", "nu", "elvish", "xonsh",
    "pwsh", "es", "rc",
}  # fmt: skip
# The terminals that they make are checked separately.
MULTIPLEXERS = {"tmux", "tmux: client", "tmux: server", "screen", "dtach", "abduco", "zellij", "byobu", "mosh-server"}
# They run another process; without a child they count as working.
WRAPPERS = {"sudo", "su", "login", "script", "doas", "runuser", "newgrp", "sg"}
# Options of these shells with a value; and those whose value is a command.
OPTIONS_WITH_VALUE = {"-o", "+o", "-O", "+O", "--rcfile", "--init-file", "--init-command", "--config", "--env-config"}
COMMAND_OPTIONS = {"--command", "--commands", "-Command", "-File"}


def is_waiting(name: str, words: Sequence[str], *, has_children: bool) -> bool:
    """``name``: the process's name in the kernel; ``words``: its command line. A shell that runs a script, or the
    command of ``-c``, does not wait."""
    name = name.lstrip("-")
    if name in MULTIPLEXERS:
        return True
    if name in WRAPPERS:
        return has_children
    return name in SHELLS and not _runs_command(name, words)


def _runs_command(name: str, words: Sequence[str]) -> bool:
    # An interpreter may come before the name (xonsh is a Python script), and busybox before its shell.
    names = [word.rpartition("/")[2].lstrip("-") for word in words]
    first = names.index(name) + 1 if name in names else 1
    if name == "busybox" and names[first : first + 1] and names[first] in SHELLS:
        first += 1
    skip = False
    for word in words[first:]:
        if skip:
            skip = False
        elif word in OPTIONS_WITH_VALUE or (name == "fish" and word == "-C"):
            skip = True
        elif word in COMMAND_OPTIONS or word[:1] not in "-+" or _has_c(word):
            return True
    return False


def _has_c(word: str) -> bool:
    """``-c``, also with other letters: ``-lc``."""
    return word[:2] != "--" and "c" in word and word[1:].isalpha()
