"""The socket to a machine's SSH port: an ordinary connection, a ProxyCommand, a passage, or through jump hosts."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from ..core.deadline import Deadline
from ..core.errors import DeadlinePassed, HealthError, SshError
from ..core.model import Instance
from ..core.profile import SshSettings, SshTarget
from .connect_options import Entry, NotYet
from .connectors import NoAnswer, open_proxy, open_socket
from .files.paths import own_name
from .files.ssh_config import parse_hop, resolve
from .reach import Passage
from .session import Session

_DEEPEST_JUMP = 8
# The end of a connection through a jump host may be known before that of the connection to it.
_NEWS_S = 0.3
_TICK_S = 0.05
_HINTS = {
    "unknown host": "Check `target.host`",
    "refused": "Start the SSH server there, or set its port: `target.port`",
    "silent": "Check that it is on, and that your network, VPN and its firewall lead there",
    "unreachable": "Check your network and VPN, and `target.host`",
}
_OF_PASSAGES = {"iap-backend-unreachable": "silent", "iap-unreachable": "hung up"}
Enter = Callable[[Instance, SshSettings, Entry, Deadline], Session]


def reach(
    instance: Instance,
    settings: SshSettings,
    entry: Entry,
    deadline: Deadline,
    undo: ExitStack,
    *,
    enter: Enter,
    depth: int,
) -> tuple[Any, Passage | None]:
    """A socket, and what it leads through if that has something to say. ``enter``: enters a jump host. Raises
    ``NotYet``, ``SshError``, ``Interrupted``."""
    passage: Passage
    if entry.reach is not None:
        try:
            passage = entry.reach(entry.answer_by)
        except SshError as error:
            trouble = _OF_PASSAGES.get(error.code)
            if trouble is None:
                raise
            raise NotYet(trouble, error) from error
    elif settings.proxy_jump:
        if depth >= _DEEPEST_JUMP:
            why = " → ".join(settings.proxy_jump)
            hint = "Correct `ProxyJump` in ~/.ssh/config, or `target.jump`"
            raise SshError("ssh-config-unsupported", "The jump hosts lead to each other", why, hint)
        passage = _through(instance, settings, entry, deadline, undo, enter)
    elif settings.proxy_command:
        passage = open_proxy(settings.proxy_command, instance.address, instance.port, user_of(settings), instance.name)
    else:
        return _connected(instance, settings, entry), None
    undo.callback(passage.close)
    return passage.socket, passage


def user_of(settings: SshSettings) -> str:
    user = settings.user or own_name()
    if not user:
        what = "It is not known as whom to log in"
        raise SshError("ssh-config-unsupported", what, "this computer has no name for you", "Set `ssh.user`")
    return user


def _connected(instance: Instance, settings: SshSettings, entry: Entry) -> Any:
    try:
        within, family = entry.connect_by(), settings.address_family
        return open_socket(instance.address, instance.port, within, family, entry.keys.reached)
    except NoAnswer as error:
        what = f"Nothing answers at {instance.where}"
        hint = _HINTS[error.trouble] if instance.kind == "ssh" else ""  # Compute Engine knows more of its own
        raise NotYet(error.trouble, SshError("ssh-unreachable", what, error.why, hint)) from error


def _through(
    instance: Instance, settings: SshSettings, entry: Entry, deadline: Deadline, undo: ExitStack, enter: Enter
) -> Passage:
    """A channel from the last jump host; each is verified and logged in to like any other machine."""
    *before, last = settings.proxy_jump
    user, host, port = parse_hop(last)
    wanted = replace(SshSettings(), user=user, host_key=settings.host_key, identity_file=settings.identity_file)
    hop, hop_settings = resolve(SshTarget(host, port, tuple(before)), wanted, environ=entry.environ, deadline=deadline)
    try:
        session = enter(hop, hop_settings, replace(entry, wanted=(), reach=None), deadline)
    except SshError as error:
        raise _at_the_hop(last, host, error) from error
    undo.callback(session.close)
    try:
        return _Jump(session, last, session.open_hop(instance.address, instance.port, deadline))
    except (HealthError, SshError, DeadlinePassed) as error:
        why = f"the jump host {last} cannot reach it: {error.why or error.what}"
        what = f"Nothing answers at {instance.address}:{instance.port}"
        hint = f"Check `target.host` and `target.port`, as {last} sees them"
        if isinstance(error, SshError) and error.hint:  # it does not forward at all
            what, hint = f"The jump host {last} forwards no connection to the machine", f"At {last}: {error.hint}"
        raise NotYet("refused", SshError("ssh-unreachable", what, why, hint)) from error


class _Jump:
    """``socket``: a connection that the jump host ``name`` makes for us."""

    def __init__(self, session: Session, name: str, connection: Any) -> None:
        self.socket = connection
        self._session = session
        self._name = name

    def why_ended(self) -> str:
        end = time.monotonic() + _NEWS_S
        while not self._session.closed and time.monotonic() < end:
            time.sleep(_TICK_S)
        why = self._session.why_closed
        return f"the connection to the jump host {self._name} ended: {why}" if why else ""

    def close(self) -> None:
        """What it leads through is closed after it."""


def _at_the_hop(hop: str, host: str, error: SshError) -> SshError:
    """Its own words name the jump host already if it is on the way to another one."""
    if isinstance(error, _HopError):
        return error
    hint = error.hint
    if "`ssh." in hint or "`target." in hint:  # these are the machine's
        hint = f"Set `User` and `IdentityFile` under `Host {host}` in ~/.ssh/config, or `target.jump: [USER@{host}]`"
        if error.code != "no-usable-key":
            hint = f"Check `target.jump` in the profile, and `Host {host}` in ~/.ssh/config"
    what = f"At the jump host {hop}: {error.what}"
    return _HopError(error.code, what, error.why, hint)


class _HopError(SshError):
    """Of a jump host."""
