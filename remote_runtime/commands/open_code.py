"""`open --code`: shows a folder of the machine in VS Code, which connects by Remote-SSH."""

from __future__ import annotations

import json
import posixpath
import re
from urllib.parse import quote

from ..core.deadline import Deadline
from ..core.errors import LocalError, UsageError
from ..core.profile import Profile
from .context import CommandContext
from .machine import open_machine
from .ssh_config import config_file
from .ssh_stdio import host_alias, require_ssh

FOLDER_TIMEOUT_S = 30.0
MAX_PATH_CHARS = 4096
_PLAIN_HOST = re.compile(r"[a-z0-9._-]+")
# ``$0`` is relative to the home folder there.
_FIND_FOLDER = 'cd "$HOME" && cd -- "$0" && pwd'


def code_url(profile: Profile, path: str, context: CommandContext) -> str:
    """VS Code's URL for the folder ``path`` of the machine; one that is not absolute is found there, relative to the
    home folder. Raises ``LocalError`` ``ssh-config-missing`` unless the profile's host is installed, ``UsageError`` for
    a folder that does not exist, and as ``open_machine``."""
    require_ssh(profile)
    host = host_alias(profile.name)
    if host not in config_file(context.environ).entries():
        raise LocalError("ssh-config-missing", f"There is no host {host} in ~/.ssh/config")
    folder = posixpath.normpath(path) if path.startswith("/") else _find_folder(profile, path, context)
    return folder_url(host, folder)


def folder_url(host: str, folder: str) -> str:
    """VS Code reads other hosts than lower-case names from JSON in hexadecimal digits."""
    if not _PLAIN_HOST.fullmatch(host):
        host = json.dumps({"hostName": host}, separators=(",", ":")).encode().hex()
    return f"vscode://vscode-remote/ssh-remote+{host}/{quote(folder.lstrip('/'))}"


def _find_folder(profile: Profile, path: str, context: CommandContext) -> str:
    relative = path[2:] if path.startswith("~/") else "" if path == "~" else path
    lines: list[str] = []
    with open_machine(profile, context) as machine:
        context.view.step(profile.name, f"Finding the folder on {profile.name}")
        command = ["sh", "-c", _FIND_FOLDER, f"./{relative}"]
        deadline = Deadline(FOLDER_TIMEOUT_S, context.cancelled)
        result = machine.run(command, stdin=b"", on_line=lines.append, deadline=deadline)
        context.view.done(profile.name)
    if result.status != 0 or not lines or not lines[-1].startswith("/") or len(lines[-1]) > MAX_PATH_CHARS:
        raise UsageError("usage", f"No folder {path} on {profile.name}", result.stderr, "Pass a folder of the machine")
    return lines[-1]
