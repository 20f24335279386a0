"""Connects SSH clients to the machine's SSH server over the keeper's connection. They log in by themselves."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from typing import Protocol

from ..core.access import InstalledKey, LoginAccess
from ..core.deadline import Deadline
from ..core.errors import LocalError, RemoteRuntimeError, SshError
from ..core.profile import Profile
from ..lifecycle.resources import Resources
from ..state.ipc import ControlChannel, Message
from ..targets import KeyPolicy, LoginOptions, Target
from .machine_access import connect_to_machine
from .runtime_record import RuntimeRecord

log = logging.getLogger(__name__)
MIN_VALIDITY_S = 20.0
COMMAND_TIMEOUT_S = 15.0


class ConnectedKeeper(Protocol):
    """The part of the keeper that is used here."""

    profile: Profile
    record: RuntimeRecord
    resources: Resources

    def target(self) -> Target: ...


class SshAccess:
    """For any number of commands at a time: the first renews a key that has expired, and the others wait for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __call__(self, keeper: ConnectedKeeper, channel: ControlChannel, message: Message) -> None:
        """Answer ``{"op": "connect-ssh", "within_s"}``: ``{"event": "ssh-server", "host_key"}`` when this
        computer's key is valid there, then as ``connect_to_machine``; or ``{"event": "failed", "error"}``.

        The failure ``not-up`` means that the machine's SSH server cannot be reached over this connection."""
        session, name = keeper.resources.session, keeper.record.runtime.name
        try:
            with self._lock:
                self._ensure_key(keeper)
            server = None if session is None else session.ssh_server(Deadline(COMMAND_TIMEOUT_S))
            if server is None:
                what = f"The SSH server of {name} can't be reached over the connection of its background process"
                raise LocalError("not-up", what, "SSH_CONNECTION on the machine does not name its address")
        except RemoteRuntimeError as error:
            channel.send({"event": "failed", "error": error.as_dict()})
            return
        channel.send({"event": "ssh-server", "host_key": server.host_key})
        connect_to_machine(session, name, channel, {**message, "host": server.address, "port": server.port})

    def _ensure_key(self, keeper: ConnectedKeeper) -> None:
        """Raises as ``Target.connect``."""
        runtime, record = keeper.record.runtime, keeper.record
        instance = runtime.instance
        if instance is None or instance.access is None or instance.access.until is None:
            return
        if instance.access.until - time.time() > MIN_VALIDITY_S:
            return

        def after_install(access: LoginAccess, keys: tuple[InstalledKey, ...]) -> None:
            record.update(keys=keys, instance=replace(record.runtime.instance or instance, access=access))

        key_policy = KeyPolicy(lambda keys: record.update(keys=keys), after_install, renew=True)
        expired = replace(instance, access=replace(instance.access, until=0.0))
        options = LoginOptions(_log_progress, Deadline(keeper.profile.timeouts.ssh_s), installed_keys=runtime.keys)
        try:
            keeper.target().connect(expired, replace(options, key_policy=key_policy)).close()
        except SshError as error:
            if error.code != "two-factor-needed":  # it has accepted the key
                raise


def _log_progress(text: str) -> None:
    log.info("%s", text)
