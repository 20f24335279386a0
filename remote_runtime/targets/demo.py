"""The demo machine: a process of this computer that emulates a Compute Engine instance. Imports nothing of ``demo``."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from .. import ssh
from ..core import file_lock
from ..core.callbacks import Progress
from ..core.deadline import Deadline, wait_until
from ..core.errors import CloudError
from ..core.fast_dataclass import fast_dataclass
from ..core.model import CreationResult, Instance
from ..core.profile import DemoTarget, GceTarget, SshSettings
from ..core.subprocesses import detached_popen_args, has_ended, start_python
from .base import FindOptions
from .gce import GceBackend

LOCK = "machine.lock"  # in its directory, locked while it runs
LOCK_OFFSET = 2**20


class DemoBackend(GceBackend):
    """The emulator serves Google's API, IAP and SSH; the demo machine is started by ``find`` and ended by
    ``stop_demo``."""

    def find(self, options: FindOptions) -> Instance:
        self._process().ensure(options.progress, options.deadline, self.environ)
        return replace(super().find(options), kind="demo", port=self._process().description()["ssh_port"])

    def _with_port(self, result: CreationResult) -> CreationResult:
        port = self._process().description()["ssh_port"]
        return replace(result, instance=replace(result.instance, kind="demo", port=port))

    def exists(self) -> bool:
        return self._process().is_running()

    def has_pinned_host_key(self, instance: Instance) -> bool:
        return False

    def missing_permissions(
        self, permissions: Sequence[str], *, progress: Progress, deadline: Deadline
    ) -> tuple[str, ...]:
        return ()

    def stop_demo(self, instance: Instance | None, deadline: Deadline) -> None:
        if instance is not None:
            ssh.unpin(self.state.known_hosts, instance.host_key_name)
        self._process().stop(deadline)

    def _gce_target(self) -> GceTarget:
        demo, target = self._process().description(), cast("DemoTarget", self.profile.target)
        zone = None if target.create else demo["zone"]
        named = GceTarget(instance=demo["instance"], project=demo["project"], zone=zone)
        return replace(named, zones=target.zones, create=target.create)

    def _worker_environ(self) -> Mapping[str, str]:
        demo = self._process().description()
        return {
            **self.environ,
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": demo["endpoint"],
            "REMOTE_RUNTIME_IAP_URL": demo["iap_url"],
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_OSLOGIN": demo["os_login_endpoint"],
            "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
        }

    def _ssh_settings(self, deadline: Deadline) -> SshSettings:
        demo, settings = self._process().description(), self.profile.ssh
        return replace(settings, user=demo["user"], identity_file=demo["identity_file"], identities_only=True)

    def _process(self) -> DemoProcess:
        target = cast("DemoTarget", self.profile.target)
        home = self.state.file_path(self.profile.name, "machine")
        if target.create is None:
            return DemoProcess(home, self.profile.name, external_address=target.external_address)
        exhausted_zone = target.zones[0] if len(target.zones) > 1 else ""
        return DemoProcess(home, self.profile.name, has_instance=False, exhausted_zone=exhausted_zone)


@fast_dataclass(frozen=True)
class DemoProcess:
    """The process ``python -m remote_runtime.demo``. ``home``: its directory, which it makes and removes itself.
    ``name``: of its runtime. ``external_address``: whether it has one; else it is reached through IAP.
    ``has_instance``: else it is created. ``exhausted_zone``: has no capacity, so that another one is tried."""

    home: Path
    name: str
    external_address: bool = True
    has_instance: bool = True
    exhausted_zone: str = ""

    def is_running(self) -> bool:
        """By its lock: files that a killed process left behind do not count, nor does its pid."""
        return file_lock.is_locked(self.home / LOCK, offset=LOCK_OFFSET)

    def description(self) -> dict[str, Any]:
        """What the process wrote of itself: ``endpoint``, ``iap_url``, ``project``, ``zone``, ``instance``,
        ``ssh_port``, ``user``, ``identity_file``, ``pid``, ``shutdown``. Raises ``CloudError`` ``demo-failed``."""
        try:
            return dict(json.loads((self.home / "machine.json").read_bytes()))
        except (OSError, ValueError) as error:
            raise CloudError(
                "demo-failed",
                "The demo machine no longer exists",
                str(error),
                "Run `remote-runtime down PROFILE`, then `remote-runtime up PROFILE`",
            ) from error

    def ensure(self, progress: Progress, deadline: Deadline, environ: Mapping[str, str]) -> None:
        """Start it if it does not run. Raises ``CloudError`` ``demo-failed`` with its own reason."""
        if self._wait_stable(deadline):
            return
        progress("Starting the demo machine")
        (self.home / "machine.json").unlink(missing_ok=True)
        stderr_path = self.home.with_suffix(".complaints")
        try:
            with stderr_path.open("wb") as stderr:
                child = self._start(stderr.fileno(), environ)
            self._wait_ready(child, stderr_path, deadline)
        finally:
            stderr_path.unlink(missing_ok=True)

    def stop(self, deadline: Deadline) -> None:
        """End it, and wait until its directory is gone. Raises ``CloudError``, ``DeadlinePassed``."""
        import urllib.request

        pid = 0
        if self._wait_stable(deadline):
            description = self.description()
            pid = description["pid"]
            request = urllib.request.Request(  # noqa: S310  # http on loopback, from its own 0600 file
                description["shutdown"], data=b"{}", headers={"Content-Type": "application/json"}
            )
            try:
                with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
                    answer.read()
            except OSError as error:
                raise CloudError("demo-failed", "Can't stop the demo machine", str(error)) from error
        elif self.home.exists():
            shutil.rmtree(self.home, ignore_errors=True)  # of a killed process; the wait below fails if something stays
        wait_until(
            lambda: not self.home.exists() and has_ended(pid), deadline, every_s=0.05, what="ending the demo machine"
        )

    def _wait_stable(self, deadline: Deadline) -> bool:
        """Whether it runs, once it is neither starting nor ending."""
        description_path = self.home / "machine.json"
        wait_until(
            lambda: description_path.exists() or not self.is_running(),
            deadline,
            every_s=0.05,
            what="waiting for the demo machine",
        )
        return self.is_running()

    def _start(self, stderr: int, environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
        options = {
            "--no-external-address": not self.external_address,
            "--no-instance": not self.has_instance,
            f"--exhausted-zone={self.exhausted_zone}": self.exhausted_zone,
        }
        more = [option for option, is_given in options.items() if is_given]
        return start_python(
            ["-m", "remote_runtime.demo", str(self.home), *more],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            env=dict(environ),
            cwd=os.path.sep,
            **detached_popen_args(),
        )

    def _wait_ready(self, child: subprocess.Popen[bytes], stderr_path: Path, deadline: Deadline) -> None:
        def is_ready() -> bool:
            if child.poll() is not None:
                lines = stderr_path.read_text(errors="replace").strip().splitlines()
                why = lines[-1] if lines else f"it exited with {child.returncode}"
                raise CloudError("demo-failed", "Can't start the demo machine", why)
            return (self.home / "machine.json").exists()

        try:
            wait_until(is_ready, deadline, every_s=0.05, what="starting the demo VM")
        except BaseException:
            if child.poll() is None:
                child.terminate()
                child.wait(10)
            raise
