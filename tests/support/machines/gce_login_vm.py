"""A Compute Engine VM that lets in whom its metadata and OS Login let in: the API is the emulator's, sshd is real."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from remote_runtime import ssh
from remote_runtime.core.access import InstalledKey, LoginAccess
from remote_runtime.core.deadline import Deadline
from remote_runtime.core.model import Instance
from remote_runtime.core.profile import GceTarget, Profile, SshSettings
from remote_runtime.demo.gcp_api.instance import EmulatedInstance
from remote_runtime.demo.gcp_api.os_login import OsLoginUser as Account
from remote_runtime.demo.gcp_api.values import Delays, Vm
from remote_runtime.demo.iap_relay.server import instance_finder
from remote_runtime.state.store import StateDir, open_state_dir
from remote_runtime.targets import FindOptions, KeyPolicy, LoginOptions, Target, TargetSession, open_target
from tests.support.clients.ssh_client import Person
from tests.support.environment.waiting import eventually
from tests.support.environment.world import World
from tests.support.faults.faulty_emulator import FaultyEmulator
from tests.support.faults.faulty_relay import FaultyRelay
from tests.support.servers.sshd import Sshd, running_sshd

Way = Literal["external", "internal", "iap"]
PROJECT, NAME, ME = "demo", "my-vm", "me@example.com"
DELAYS = Delays(queue_s=0.0, start_s=0.05, stop_s=0.05, metadata_s=0.0, boot_s=0.0)


@dataclass
class Doorway:
    """A person at a computer (``home``) and the machine. ``keys``: what was put there, as a keeper records it."""

    home: Path
    sshd: Sshd
    emulator: FaultyEmulator
    environ: dict[str, str]
    relay: FaultyRelay
    connect: Way = "external"
    person: Person = field(default_factory=Person)
    keys: tuple[InstalledKey, ...] = ()
    news: list[tuple[Instance, tuple[InstalledKey, ...]]] = field(default_factory=list)
    ring: ssh.Keys = field(default_factory=ssh.Keys)
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def vm(self) -> EmulatedInstance:
        return self.emulator.cloud.instances[0]

    @property
    def account(self) -> Account:
        return self.emulator.cloud.os_login.user(ME)

    @property
    def target(self) -> Target:
        return open_target(self.profile, self.state, self.environ, self.ring)

    @property
    def state(self) -> StateDir:
        return open_state_dir(self.environ)

    @property
    def profile(self) -> Profile:
        settings = SshSettings(**{"port": self.sshd.port, **self.settings})
        target = GceTarget(instance=NAME, project=PROJECT, connect=self.connect)
        return Profile("work", self.home / "work.yaml", target, settings)

    def key_file(self, name: str = "google_compute_engine") -> Path:
        return self.home / ".ssh" / name

    def find(self) -> Instance:
        return self.target.find(FindOptions(self.person.tell, Deadline(60), start=True))

    def enter(
        self, instance: Instance, *, within_s: float = 60.0, may_add: bool = True, fresh: bool = True
    ) -> TargetSession:
        def before_install(keys: tuple[InstalledKey, ...]) -> None:
            self.news.append((instance, keys))
            self.keys = keys

        def after_install(access: LoginAccess, keys: tuple[InstalledKey, ...]) -> None:
            self.news.append((replace(instance, access=access), keys))
            self.keys = keys

        key_policy = KeyPolicy(before_install, after_install, renew=fresh) if may_add else None
        options = LoginOptions(self.person.tell, Deadline(within_s), self.person.ask, self.keys, key_policy)
        return self.target.connect(instance, options)

    def run(self, session: TargetSession, *command: str) -> str:
        lines: list[str] = []
        session.run(command, stdin=b"", on_line=lines.append, deadline=Deadline(20))
        return "\n".join(lines)

    def expire_keys(self) -> None:
        """Those that were put into the instance's metadata are refused from now on."""
        with self.emulator.cloud.changed:
            keys = self.vm.metadata["ssh-keys"]
            self.vm.metadata["ssh-keys"] = re.sub('"expireOn":"20[0-9]{2}', '"expireOn":"2001', keys)
            self.emulator.cloud.changed.notify_all()
        accepted = self.sshd.directory / "authorized_keys"
        eventually(lambda: not accepted.read_text(), what="the machine refuses the key")

    def withdraw(self) -> None:
        self.target.revoke_keys(self.keys, progress=self.person.tell, deadline=Deadline(60))


@contextlib.contextmanager
def doorway(
    folder: Path,
    machine: Sshd | None = None,
    *,
    metadata: Mapping[str, str] | None = None,
    project: Mapping[str, str] | None = None,
    authorize_after_s: float = 0.2,
    connect: Way = "external",
    **options: Any,
) -> Iterator[Doorway]:
    """A machine that knows no key, and a person who has none. ``machine``: this one, which is there before and after.
    ``connect``: the one way on which it can be reached."""
    home = folder / "home"
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    with contextlib.ExitStack() as stack:
        sshd = machine or stack.enter_context(running_sshd(folder / "machine"))
        sshd.authorize_nobody()
        vm = Vm(
            NAME,
            project=PROJECT,
            status="RUNNING",
            metadata={"enable-guest-attributes": "TRUE"} | dict(metadata or {}),
            external=connect == "external",
            address="127.0.0.1",
            internal="127.0.0.1" if connect == "internal" else None,
            host_keys=dict(line.split() for line in sshd.host_keys),
            authorize=sshd.follow,
            authorize_after_s=authorize_after_s,
            **options,
        )
        projects = {PROJECT: dict(project or {})}
        emulator = stack.enter_context(FaultyEmulator([vm], project_metadata=projects, delays=DELAYS))
        relay = FaultyRelay(instance_finder(emulator.cloud))
        stack.callback(relay.close)
        environ = {
            "HOME": str(home),
            "PATH": "/usr/bin:/bin",
            "REMOTE_RUNTIME_STATE_DIR": str(folder / "state"),
            "CLOUDSDK_CONFIG": str(home / "gcloud"),
            "CLOUDSDK_CORE_ACCOUNT": ME,
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": emulator.endpoint,
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_OSLOGIN": emulator.os_login_endpoint,
            "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
            "REMOTE_RUNTIME_IAP_URL": relay.url,
        }
        door = Doorway(home, sshd, emulator, environ, relay, connect)
        stack.callback(door.ring.close)
        yield door


def at_home(world: World, door: Doorway, ssh: str = "") -> None:
    """``world`` is the computer of the person before the door, with the profile `vm`. ``ssh``: more of its settings."""
    door.environ["REMOTE_RUNTIME_STATE_DIR"] = str(world.state)
    world.environ |= {name: value for name, value in door.environ.items() if name != "PATH"}
    world.environ["CLOUDSDK_CORE_PROJECT"] = PROJECT
    target = f"{{kind: gce, instance: {NAME}, connect: {door.connect}}}"
    world.profile("vm", f"version: 1\ntarget: {target}\nssh: {{port: {door.sshd.port}{ssh}}}\n")
