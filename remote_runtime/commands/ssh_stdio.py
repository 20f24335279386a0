"""`ssh --stdio`: a connection to the machine's SSH server for another SSH client, and the host keys for it."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

from ..core.errors import RemoteRuntimeError, UsageError
from ..core.fast_dataclass import fast_dataclass
from ..core.private_file import read_private, write_private
from ..core.profile import Profile
from ..state import store
from ..tunnel.standard_streams import relay_standard_streams
from .context import CommandContext
from .machine import KeeperMachine, is_ready

HOST_PREFIX = "rr-"
# Codes of the keeper after which the machine's own route is tried.
NOT_THROUGH_KEEPER = (
    "not-up",
    "not-answering",
    "ssh-refused",
    "ssh-unreachable",
    "keeper-died",
    "keeper-unresponsive",
)


@fast_dataclass(frozen=True)
class SshConnection:
    """``socket``: blocking, connected to a machine's SSH server. ``close`` closes it and what it goes through."""

    socket: socket.socket
    close: Callable[[], None]

    def relay(self) -> None:
        """Copy bytes between it and stdin and stdout until one of them ends, then close it."""
        with contextlib.closing(self):
            relay_standard_streams(self.socket)


def open_ssh_server(profile: Profile, context: CommandContext) -> SshConnection:
    """A connection to the machine's SSH server, whose host keys ``host_keys_path`` has by then: over the keeper's
    connection if the runtime is ready, else by the route of `up`. A key of this computer that has expired there is
    renewed before. Raises ``RemoteRuntimeError``."""
    require_ssh(profile)
    if (shared := _through_keeper(profile, context)) is not None:
        return SshConnection(shared, shared.close)
    from .ssh_access import open_ssh_port

    port = open_ssh_port(profile, context)
    try:
        save_host_keys(context.state, profile.name, port.host_keys)
    except BaseException:
        port.close()
        raise
    return SshConnection(port.socket, port.close)


def require_ssh(profile: Profile) -> None:
    """Raises ``UsageError`` ``usage`` for a profile without an SSH server of its own."""
    target = profile.target
    if target.kind == "local":
        raise UsageError("usage", f"{profile.name} runs on this computer, which is reached without SSH")
    if target.kind == "ssh" and target.host.lower() == host_alias(profile.name).lower():
        why = f"`ssh-config` writes {target.host} for this profile: a connection would need itself"
        raise UsageError("usage", f"{profile.name} has itself as its host", why, "Set `target.host` to the machine")


def host_alias(name: str) -> str:
    """The ``Host`` of ssh_config(5), and the name of its host keys."""
    return f"{HOST_PREFIX}{name}"


def host_keys_path(state: store.StateDir, name: str) -> Path:
    return state.file_path(name, "hostkeys")


def save_host_keys(state: store.StateDir, name: str, host_keys: Sequence[str]) -> None:
    """Write the known_hosts file of ``host_alias(name)``. OpenSSH reads it when it has received the server's version,
    so it is right if it is written before that is passed on. Raises ``LocalError`` ``state-dir-unusable``."""
    path, alias = host_keys_path(state, name), host_alias(name)
    content = "".join(f"{alias} {key}\n" for key in host_keys).encode()
    try:
        with contextlib.suppress(FileNotFoundError):
            if read_private(path) == content:
                return
        write_private(path, content)
    except OSError as error:
        raise store.not_writable_error(state, error) from error


def _through_keeper(profile: Profile, context: CommandContext) -> socket.socket | None:
    """None without a ready runtime, or where it does not connect to the SSH server."""
    if not is_ready(profile.name, context.state):
        return None
    machine = KeeperMachine(context.state, profile.name)
    try:
        connection, host_key = machine.connect_ssh(key_within_s=profile.timeouts.ssh_s)
    except RemoteRuntimeError as error:
        if error.code not in NOT_THROUGH_KEEPER:
            raise
        context.view.note(profile.name, f"Not over the connection of the background process: {error}")
        return None
    try:
        save_host_keys(context.state, profile.name, [host_key])
    except BaseException:
        connection.close()
        raise
    return connection
