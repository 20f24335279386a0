"""Small stand-ins for a cloud and a machine: they write down what is asked of them, in order, and fail on request."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from remote_runtime.core.access import InstalledKey, LoginAccess
from remote_runtime.core.callbacks import CommandResult, Progress
from remote_runtime.core.creation import CloudResource
from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import RemoteRuntimeError, SshError
from remote_runtime.core.model import Instance
from remote_runtime.core.profile import GceTarget, Profile
from remote_runtime.targets import FindOptions, LoginOptions, Target
from remote_runtime.tunnel.relay import SocketStream
from remote_runtime.tunnel.single_connection import relay_in_background

PROFILE = Profile("work", Path("/work.yaml"), GceTarget(instance="my-vm"))
VM = Instance("gce", "my-vm", "127.0.0.1", 22, "RUNNING", "42", "z", "p", "compute.42")
SERVER: dict[str, object] = {
    "port": 1, "socket": None, "pid": 77, "token": "ab" * 24, "directory": "/srv/work-laptop1", "started_by_us": True,
    "jupyter_server": "2.14.0", "bridge": "0.1.0", "python": "3.12.3", "interpreter": "/usr/bin/python3",
    "notes": [], "needs_restart": [], "gpus": [], "kernelspecs": [],
}  # fmt: skip


class EventLog:
    """All that happens, in order. ``fail[what]``: the exception that an event raises once it is written down."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.fail: dict[str, BaseException] = {}
        self.recorded: dict[str, Any] = {}

    def did(self, what: str) -> None:
        self.events.append(what)
        if what in self.fail:
            raise self.fail[what]

    def since(self, what: str) -> list[str]:
        """What happened after the first such event."""
        return self.events[self.events.index(what) + 1 :]

    def record(self, **changes: Any) -> None:
        self.recorded.update(changes)
        self.events.append(f"record {' '.join(changes)}")


class FakeProgress:
    """A ``ProgressSink`` that notes its events."""

    def __init__(self, journal: EventLog) -> None:
        self._journal = journal

    def __call__(self, text: str) -> None:
        self._journal.events.append(f"detail: {text}")

    def step(self, text: str, done: str = "") -> None:
        self._journal.events.append(f"step: {text}")

    def finish(self, done: str) -> None:
        self._journal.events.append(f"done: {done}")

    def fail(self) -> None:
        """The step that failed is the last that was begun."""

    def note(self, text: str) -> None:
        self._journal.events.append(f"note: {text}")


def request_of(
    command: Sequence[str], on_line: Callable[[str], bool | None], reply: Callable[[], bytes | None] | None
) -> dict[str, Any]:
    """What the client tells a Python that has answered its question."""
    (ready,) = re.findall(r"rr-ready-\w+", " ".join(command))
    on_line(ready)
    length, _, rest = ((reply and reply()) or b"").partition(b"\n")
    return dict(json.loads(rest[int(length) :]))


class FakeSession:
    """An entered machine whose launcher answers ``server`` (and ``purged``), and whose ports are this computer's."""

    def __init__(self, journal: EventLog, server: dict[str, Any], *, purged: dict[str, Any] | None = None) -> None:
        self.instance = None
        self.closed = False
        self.why_closed = ""
        self.silent_s = 0.0
        self.is_fast = True
        self._journal = journal
        self._server = server
        self.is_busy = False
        self._purged = purged or {"purged": True, "alive": []}

    def _spares(self, orders: dict[str, Any]) -> bool:
        return self.is_busy and bool(orders.get("spare_busy"))

    def notify_closed(self, call: Callable[[], None]) -> None:
        """No test loses it while something waits for that."""

    def login_facts(self) -> dict[str, str]:
        return {"host-key": "verified: ssh-ed25519 SHA256:abc", "login": "as me"}

    def ssh_server(self, deadline: Deadline) -> None:
        """It has none."""

    def run(
        self,
        command: Sequence[str],
        *,
        stdin: bytes,
        on_line: Callable[[str], bool | None],
        deadline: Deadline,
        reply: Callable[[], bytes | None] | None = None,
    ) -> CommandResult:
        orders = request_of(command, on_line, reply)
        self._journal.did(f"{orders['do']} jupyter")
        results = {
            "ensure": self._server,
            "stop": {"stopped": "busy", "why": "a kernel is busy"} if self._spares(orders) else {"stopped": "stopped"},
            "purge": self._purged,
        }
        on_line(orders["marker"] + json.dumps({"result": results[orders["do"]]}))
        return CommandResult(0)

    def dial(self, host: str, port: int, *, within_s: float) -> SocketStream:
        from remote_runtime.core.errors import SshError

        try:
            return SocketStream(socket.create_connection((host, port), timeout=within_s))
        except OSError as error:
            raise SshError("ssh-refused", f"The machine does not reach {host}:{port}", str(error)) from error

    def forward_socket(self, sock: socket.socket, host: str, port: int, *, within_s: float) -> None:
        relay_in_background(sock, self.dial(host, port, within_s=within_s), lambda: self.closed)

    def channel_pool(self, host: str, port: int, *, identity: object) -> None:
        """Connections are dialled one by one."""

    def stream_forwarder(self, host: str, port: int, identity: object, streams: object) -> None:
        """Nor by streams."""

    def check(self, within_s: float) -> float:
        return 0.0

    def shell(self, command: str | None) -> int:
        raise AssertionError("nobody asks for a shell")

    def close(self, why: str = "") -> None:
        if not self.closed:
            self._journal.events.append("close session")
        self.closed = True


class FakeTarget(Target):
    """One instance. ``starts_from``: find starts it from this status. ``reason``: why it
    cannot be entered. ``needs_key``: the key that is put on it at each connection."""

    def __init__(
        self,
        journal: EventLog,
        profile: Profile = PROFILE,
        *,
        server: dict[str, Any] | None = None,
        starts_from: str | None = None,
    ) -> None:
        self.profile = profile
        self.there = True
        self.is_busy = False
        self.starts_from = starts_from
        self.reason: RemoteRuntimeError | None = None
        self.status = "RUNNING"
        self.needs_key: InstalledKey | None = None
        self.server = {**SERVER, **(server or {})}
        self.connecting = threading.Event()
        self.may_connect = threading.Event()
        self.may_connect.set()
        self.sessions: list[FakeSession] = []
        self.found = VM
        self.deletion: Sequence[str] | RemoteRuntimeError = ("deleted",)
        self._journal = journal

    def find(self, options: FindOptions) -> Instance:
        instance = self.found
        if self.starts_from is not None and options.start:
            instance = Instance(**{**vars(instance), "started_from": self.starts_from})
            options.on_start(instance)
        self._journal.did("find")
        options.deadline.check()
        return instance

    def connect(self, instance: Instance, options: LoginOptions) -> FakeSession:
        key_policy = options.key_policy
        self.connecting.set()
        assert self.may_connect.wait(20), "nobody let the connection happen"
        self._journal.did("connect")
        if self.needs_key is not None and key_policy is not None:
            self._journal.did("add key")
            keys = (*options.installed_keys, self.needs_key)
            key_policy.before_install(keys)
            key_policy.after_install(LoginAccess("metadata", "me", (self.needs_key.key,)), keys)
        self.sessions.append(FakeSession(self._journal, self.server))
        self.sessions[-1].is_busy = self.is_busy
        return self.sessions[-1]

    def confirm_addresses(self) -> None:
        """It has one address."""

    def revoke_keys(self, keys: Sequence[InstalledKey], *, progress: Progress, deadline: Deadline) -> None:
        self._journal.did(f"withdraw {len(keys)}")

    def explain(
        self, instance: Instance, error: RemoteRuntimeError, *, progress: Progress, deadline: Deadline
    ) -> RemoteRuntimeError:
        return self.reason or error

    def set_status(
        self,
        instance: Instance,
        action: Literal["stop", "suspend"],
        *,
        progress: Progress,
        deadline: Deadline,
    ) -> str:
        self._journal.did(f"{action} instance")
        return {"stop": "TERMINATED", "suspend": "SUSPENDED"}[action]

    def read_instance(self, instance: Instance, *, progress: Progress, deadline: Deadline) -> Instance:
        self._journal.did("read instance")
        return Instance(**{**vars(instance), "status": self.status})

    def restore_status(self, instance: Instance, *, progress: Progress, deadline: Deadline) -> str:
        deadline.check()
        self._journal.did(f"put back to {instance.started_from}")
        return str(instance.started_from)

    def delete_resources(
        self, resources: Sequence[CloudResource], client_id: str, *, progress: Progress, deadline: Deadline
    ) -> Sequence[str]:
        """``deletion``: what becomes of them."""
        deadline.check()
        self._journal.did(f"delete {', '.join(f'{each.kind} {each.name} in {each.zone}' for each in resources)}")
        if isinstance(self.deletion, RemoteRuntimeError):
            raise self.deletion
        return self.deletion

    def exists(self) -> bool:
        return self.there

    def stop_demo(self, instance: Instance | None, deadline: Deadline) -> None:
        self._journal.did("release")


def nobody(prompt: str, *, secret: bool, code: str) -> str:
    """Prompts without a person to answer them."""
    raise SshError(code, "nobody is there")
