"""Which edge serves which kind of target: one place that finds a machine, enters it, and puts it back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from . import compute, local, ssh
from .errors import CloudError
from .model import Ask, DemoTarget, GceTarget, Instance, LocalTarget, Profile, Run, SshSettings, SshTarget, Tell
from .processes import detached, has_ended
from .waits import Deadline, wait_until

if TYPE_CHECKING:
    from .runtimes import StateDir
    from .tunnel.identity import Stream


class Session(Protocol):
    """An entered machine: ``ssh.Session`` or ``local.LocalSession``."""

    @property
    def closed(self) -> bool: ...
    @property
    def why_closed(self) -> str: ...
    @property
    def run(self) -> Run: ...
    def dial(self, host: str, port: int, *, within_s: float) -> Stream: ...
    def check(self, within_s: float) -> float: ...
    def shell(self, command: str | None) -> int: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class Machines:
    """``keys``: keys once unlocked stay so while this object lives."""

    state: StateDir
    environ: Mapping[str, str]
    keys: ssh.Keys

    def find(
        self,
        profile: Profile,
        *,
        start: bool,
        tell: Tell,
        deadline: Deadline,
        started: Callable[[Instance], None],
    ) -> Instance:
        """The profile's machine, running. ``started`` is told before a start is asked for. Raises ``CloudError``,
        or ``SshError`` for an ssh host whose configuration cannot be used."""
        target = profile.target
        if isinstance(target, LocalTarget):
            return Instance("local", "this machine")
        if isinstance(target, SshTarget):
            return ssh.resolve(target, profile.ssh, environ=self.environ)[0]
        if isinstance(target, DemoTarget):
            self._ensure_demo(profile, tell, deadline)
            target = self._demo_target(profile)
        target = replace(target, start=target.start and start)
        found = compute.find(
            target, tell=tell, deadline=deadline, environ=self._cloud_environ(profile), started=started
        )
        if isinstance(profile.target, DemoTarget):
            return replace(found, kind="demo", port=self._demo(profile)["ssh_port"])
        return replace(found, port=profile.ssh.port or found.port)

    def connect(self, profile: Profile, instance: Instance, *, ask: Ask, tell: Tell, deadline: Deadline) -> Session:
        """Enter it. Raises ``SshError``."""
        if isinstance(profile.target, LocalTarget):
            return local.LocalSession(local.search_path(self.environ))
        return ssh.connect(
            instance,
            self.ssh_settings(profile),
            pins=self.state.pins,
            keys=self.keys,
            ask=ask,
            tell=tell,
            deadline=deadline,
            environ=self.environ,
        )

    def ssh_settings(self, profile: Profile) -> SshSettings:
        """What the profile says, completed by ~/.ssh/config or by the demo machine."""
        if isinstance(profile.target, SshTarget):
            return ssh.resolve(profile.target, profile.ssh, environ=self.environ)[1]
        if isinstance(profile.target, DemoTarget):
            demo = self._demo(profile)
            return replace(profile.ssh, user=demo["user"], identity_file=demo["identity_file"], identities_only=True)
        return profile.ssh

    def change(
        self,
        profile: Profile,
        instance: Instance,
        action: Literal["stop", "suspend"],
        *,
        tell: Tell,
        deadline: Deadline,
    ) -> str:
        """Stop or suspend it; the status it ends with. Raises ``CloudError``."""
        environ = self._cloud_environ(profile)
        return compute.change(instance, action, tell=tell, deadline=deadline, environ=environ)

    def read(self, profile: Profile, instance: Instance, *, tell: Tell, deadline: Deadline) -> Instance:
        """The instance as it is now. Raises ``CloudError``."""
        return compute.read(instance, tell=tell, deadline=deadline, environ=self._cloud_environ(profile))

    def put_back(self, profile: Profile, instance: Instance, *, tell: Tell, deadline: Deadline) -> str:
        """Into the state it had before we started it; its status then. Raises ``CloudError``."""
        return compute.put_back(instance, tell=tell, deadline=deadline, environ=self._cloud_environ(profile))

    def is_there(self, profile: Profile) -> bool:
        """False only for a demo machine that is not running: nothing of ours can be left on it."""
        return not isinstance(profile.target, DemoTarget) or self._demo_file(profile).exists()

    def release(self, profile: Profile, instance: Instance | None, deadline: Deadline) -> None:
        """End the demo machine; all others are not ours to end. Raises ``CloudError`` or ``DeadlinePassed``."""
        if not isinstance(profile.target, DemoTarget):
            return
        if instance is not None:
            ssh.forget_pins(self.state.pins, instance.host_key_name)
        home, pid = self.state.of(profile.name, "machine"), 0
        if self._demo_file(profile).exists():
            demo = self._demo(profile)
            pid = demo["pid"]
            request = urllib.request.Request(  # noqa: S310  # an http address on loopback, from our own 0600 file
                demo["shutdown"], data=b"{}", headers={"Content-Type": "application/json"}
            )
            try:
                with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
                    answer.read()
            except OSError as error:
                raise CloudError("demo-failed", "The demo machine does not end", str(error)) from error
        wait_until(lambda: not home.exists() and has_ended(pid), deadline, every_s=0.05, what="ending the demo machine")

    def _cloud_environ(self, profile: Profile) -> Mapping[str, str]:
        if not isinstance(profile.target, DemoTarget):
            return self.environ
        return {
            **self.environ,
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": self._demo(profile)["endpoint"],
            "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
        }

    def _demo_file(self, profile: Profile) -> Path:
        return self.state.of(profile.name, "machine") / "machine.json"

    def _demo(self, profile: Profile) -> dict[str, Any]:
        try:
            document = json.loads(self._demo_file(profile).read_bytes())
        except (OSError, ValueError) as error:
            raise CloudError(
                "demo-failed",
                "The demo machine is gone",
                str(error),
                f"`remote-runtime down {profile.name}`, then `remote-runtime up {profile.name}`",
            ) from error
        return dict(document)

    def _demo_target(self, profile: Profile) -> GceTarget:
        demo = self._demo(profile)
        return GceTarget(instance=demo["instance"], project=demo["project"], zone=demo["zone"], connect="external")

    def _ensure_demo(self, profile: Profile, tell: Tell, deadline: Deadline) -> None:
        if self._demo_file(profile).exists():
            return
        tell("Starting the demo machine on this computer")
        home = self.state.of(profile.name, "machine")
        complaints = self.state.of(profile.name, "log").with_suffix(".demo-errors")
        with complaints.open("wb") as stderr:
            child = subprocess.Popen(
                [sys.executable, "-m", "remote_runtime.demo", str(home)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                env=dict(self.environ),
                cwd=os.path.sep,
                **detached(),
            )

        def is_ready() -> bool:
            if child.poll() is not None:
                why = complaints.read_text(errors="replace").strip().splitlines()
                raise CloudError(
                    "demo-failed", "The demo machine did not start", why[-1] if why else "it ended at once"
                )
            return self._demo_file(profile).exists()

        try:
            wait_until(is_ready, deadline, every_s=0.05, what="starting the demo machine")
        except BaseException:
            if child.poll() is None:
                child.terminate()
                child.wait(10)
            raise
        finally:
            complaints.unlink(missing_ok=True)
