"""The options of a host as OpenSSH's client reads them: ``ssh -G``."""

from __future__ import annotations

import glob
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ...core.deadline import Deadline
from ...core.errors import SshError
from ...core.sanitize import clean_line
from ...core.shell_command import shell_command
from ...core.subprocesses import kill_group
from .config_file import SYSTEM_FILE
from .paths import expand_home, home_dir, local_username, path_exists

_TICK_S = 0.1


def query(
    host: str, user: str | None, port: int | None, environ: Mapping[str, str], deadline: Deadline
) -> dict[str, tuple[str, ...]] | None:
    """The options, with Include, Match and all defaults resolved; None if ``ssh`` cannot be run. It ignores HOME, so
    another one is passed as a file. Raises ``SshError`` ``ssh-config-unsupported`` when it fails or does not end, and
    ``Interrupted``."""
    home, name = home_dir(environ), local_username()
    if not name:
        return None  # ssh refuses to run for a uid without a name
    passwd_home = Path(os.path.expanduser(f"~{name}"))
    with _config_files(home, passwd_home) as files:
        words = ["ssh", "-G", *files, *(["-l", user] if user else []), *(["-p", str(port)] if port else [])]
        try:
            status, output, stderr = _run([*words, "--", host], environ, deadline)
        except TimeoutError as error:
            why = f"`ssh -G {host}` took more than {deadline.timeout_s:.0f} s, for example for a `Match exec`"
            hint = "Set a longer `timeouts.ssh` in the profile"
            what = f"OpenSSH does not finish reading its configuration for {host}"
            raise SshError("ssh-config-unsupported", what, why, hint) from error
        except OSError:
            return None
    if status != 0:
        raise _rejected_error(stderr, host)
    options: dict[str, tuple[str, ...]] = {}
    for line in output.split("\n"):
        key, _, value = line.partition(" ")
        if home != passwd_home and key.lower().endswith(("file", "agent")):
            value = f" {value}".replace(f" {passwd_home}/.ssh/", " ~/.ssh/")[1:]
        options[key.lower()] = (*options.get(key.lower(), ()), value)
    return options


def split_paths(value: str, home: Path) -> list[str]:
    """The paths of a list that ``ssh -G`` prints without quotes: a blank is part of a path that exists with it."""
    words = value.split(" ")
    found = []
    while words:
        ends = range(len(words), 0, -1)
        end = next((end for end in ends if path_exists(expand_home(" ".join(words[:end]), home))), 1)
        found.append(" ".join(words[:end]))
        words = words[end:]
    return [path for path in found if path]


@contextmanager
def _config_files(home: Path, passwd_home: Path) -> Iterator[list[str]]:
    """Arguments for another HOME: a file that includes the user's and the system's, since ``-F`` disables both."""
    if home == passwd_home:
        yield []
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "config")
        both = [home / ".ssh" / "config", SYSTEM_FILE]
        file.write_text("".join(f'Include "{glob.escape(str(each))}"\n' for each in both), encoding="utf-8")
        yield ["-F", str(file)]


def _run(words: list[str], environ: Mapping[str, str], deadline: Deadline) -> tuple[int, str, str]:
    """Exit status, stdout and stderr. Raises ``OSError``, ``TimeoutError``, ``Interrupted``."""
    process = subprocess.Popen(
        words,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    with process:
        try:
            while True:
                try:
                    output, stderr = process.communicate(timeout=_TICK_S)
                except subprocess.TimeoutExpired:
                    deadline.check()
                    if deadline.passed():
                        raise TimeoutError from None
                else:
                    return process.returncode, output, stderr
        except BaseException:
            kill_group(process)  # with the programs of ``Match exec``
            raise


def _rejected_error(stderr: str, host: str) -> SshError:
    why = "; ".join(clean_line(line, 300) for line in stderr.strip().splitlines()[:3]) or "`ssh -G` failed"
    hint = f"Correct the line that it names; {shell_command('ssh', '-G', host)} prints the same error"
    if found := re.search("Bad owner or permissions on (.+)", stderr):
        file = found[1].strip()
        hint = f"Run {shell_command('chmod', '600', file)}; the file must belong to you"
    elif found := re.search("Bad configuration option: (\\S+)", stderr):
        hint = f"Remove the line, or put `IgnoreUnknown {clean_line(found[1], 60)}` before it"
    return SshError("ssh-config-unsupported", f"OpenSSH rejects its configuration for {host}", why, hint)
