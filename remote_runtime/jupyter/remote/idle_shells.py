"""What only waits in a terminal: a shell that reads commands, and what holds another terminal open."""

from __future__ import annotations

from collections.abc import Sequence

SHELLS = {
    "sh", "bash", "rbash", "dash", "ash", "busybox", "zsh", "rzsh", "ksh", "ksh93", "rksh", "mksh", "mksh-static",
    "lksh", "pdksh", "oksh", "yash", "posh", "csh", "bsd-csh", "tcsh", "fish", "nu", "elvish", "xonsh",
    "pwsh", "es", "rc",
}  # fmt: skip
# Their terminal is another one, which is looked at for itself.
MULTIPLEXERS = {"tmux", "tmux: client", "tmux: server", "screen", "dtach", "abduco", "zellij", "byobu", "mosh-server"}
# What they run is another process; without one in sight they may be at work themselves.
WRAPPERS = {"sudo", "su", "login", "script", "doas", "runuser", "newgrp", "sg"}
# Options of these shells that take the next word; and those that make a command of it.
OPTIONS_WITH_VALUE = {"-o", "+o", "-O", "+O", "--rcfile", "--init-file", "--init-command", "--config", "--env-config"}
COMMAND_OPTIONS = {"--command", "--commands", "-Command", "-File"}


def is_waiting(name: str, words: Sequence[str], *, has_children: bool) -> bool:
    """``name``: of the process, as the kernel knows it; ``words``: its command line. A shell that runs a script, or the
    command of ``-c``, is at work."""
    name = name.lstrip("-")
    if name in MULTIPLEXERS:
        return True
    if name in WRAPPERS:
        return has_children
    return name in SHELLS and not _runs_command(name, words)


def _runs_command(name: str, words: Sequence[str]) -> bool:
    # An interpreter may stand before it (xonsh is a script of Python's), and busybox before its shell.
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
    """``-c``, also among other letters: ``-lc``."""
    return word[:2] != "--" and "c" in word and word[1:].isalpha()
