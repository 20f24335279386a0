"""Runs the steps of `up` one by one, reports each, and undoes them. Starts no instance and installs nothing."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from ...core.callbacks import Prompt
from ...core.deadline import Deadline
from ...core.errors import CloudError, LocalError, from_dict
from ...core.model import Runtime, format_address
from ...core.profile import GceTarget, LocalTarget, Profile
from ...lifecycle import bring_up
from ...lifecycle.bring_up import BringUpContext, Resources
from ...lifecycle.rollback import Rollback
from ...state.store import LastRun
from ...targets import Target
from . import browser_checks
from .checklist import CLOUD_CHECKS, LOGIN_CHECKS, SERVER_CHECKS, Checklist, ExpectedFailure

ALL_CHECKS = ("port", *CLOUD_CHECKS, "permissions", *LOGIN_CHECKS, *SERVER_CHECKS, "forward", *browser_checks.CHECKS)
PERMISSIONS_TIMEOUT_S = 30.0
START_FAILURE_CODES = ("instance-not-startable", "quota-exceeded")
WOULD_START = ExpectedFailure(
    "instance-stopped",
    "doctor starts nothing that costs money",
    "`remote-runtime up PROFILE` starts it; while it is up, doctor checks the rest",
)
WOULD_INSTALL = ExpectedFailure(
    "jupyter-missing",
    "doctor installs nothing",
    "`remote-runtime up PROFILE` makes a private environment for it",
)


@dataclass
class DryRun:
    """``leftover``: what an earlier `up` or `down` left behind; its server is used as it is. ``on_step`` is called with
    each step's text."""

    profile: Profile
    open_target: Callable[[Profile], Target]
    checklist: Checklist
    prompt: Prompt
    on_step: Callable[[str], None]
    last_run: LastRun
    leftover: Runtime | None = None
    _details: list[str] = field(default_factory=list)

    def run(self, deadline: Deadline) -> None:
        """Run every check from the local port to a notebook cell. Raises ``Interrupted``."""
        resources, rollback = Resources(), Rollback(lambda text: self._step(text.replace("Undoing", "Taking back", 1)))
        with ExitStack() as stack:
            stack.callback(self._report_leftovers, rollback)
            stack.callback(resources.close)
            stack.callback(rollback.run)
            context = self._bind(resources, rollback)
            self._find(context, resources, rollback, deadline)
            self._connect(context, resources, rollback, deadline)
            self._ensure_server(context, resources, rollback, deadline)
            self.checklist.step(["forward"], lambda: self._open_forwards(context, resources, deadline))
            if self.checklist.blocked_by:
                self.checklist.skip(*browser_checks.CHECKS)
            else:
                self._step("Checking the path as Colab will use it")
                browser_checks.check_page(
                    self.checklist, resources.endpoint(self.profile), deadline, self.profile.timeouts.ready_s
                )

    # ── how the story is told (``story.Telling``) ──

    def __call__(self, text: str) -> None:
        self._details.append(text)

    def step(self, text: str) -> None:
        self._details.clear()
        self._step(text)

    def note(self, text: str) -> None:
        self._details.append(text)

    # ── the steps ──

    def _bind(self, resources: Resources, rollback: Rollback) -> BringUpContext:
        """If the port is taken, the other checks use another one."""
        context = self._context(self.profile)
        error = self.checklist.step(["port"], lambda: self._port(context, resources, rollback), essential=False)
        if error is not None:
            other = replace(self.profile.forward, local_port=None, extra=())
            context = self._context(replace(self.profile, forward=other))
            bring_up.bind_ports(context, resources, rollback)
        return context

    def _port(self, context: BringUpContext, resources: Resources, rollback: Rollback) -> Mapping[str, str]:
        bring_up.bind_ports(context, resources, rollback)
        port = resources.forwarder.port if resources.forwarder else 0
        return {"port": f"local port {port} is free, on 127.0.0.1 and ::1"}

    def _find(self, context: BringUpContext, resources: Resources, rollback: Rollback, deadline: Deadline) -> None:
        if not self.open_target(self.profile).exists():
            why, hint = "it lives only while its runtime is up", "`remote-runtime up PROFILE` starts it"
            self.checklist.warn("instance", "the demo machine does not run", why, hint, code="instance-stopped")
            self.checklist.blocked_by = "instance"
            return
        if not isinstance(self.profile.target, GceTarget):
            self.checklist.step(["machine"], lambda: self._find_instance(context, resources, rollback, deadline))
            return
        may_start = self.profile.target.start
        error = self.checklist.step(
            CLOUD_CHECKS,
            lambda: self._find_instance(context, resources, rollback, deadline),
            expected=WOULD_START if may_start else None,
        )
        would_start = may_start and error is not None and error.code == WOULD_START.code
        self._check_permissions(deadline, would_start=would_start)
        if would_start:
            self._check_last_start()

    def _check_permissions(self, deadline: Deadline, *, would_start: bool) -> None:
        """Check the permissions that `up` and `down` need on the instance, also on a stopped one."""
        blocked_by, self.checklist.blocked_by = (
            self.checklist.blocked_by,
            "" if would_start else self.checklist.blocked_by,
        )
        wanted = wanted_permissions(self.profile)

        def query() -> Mapping[str, str]:
            within = deadline.within(PERMISSIONS_TIMEOUT_S)
            target = self.open_target(self.profile)
            missing = target.missing_permissions(wanted, progress=self, deadline=within)
            if missing:
                raise CloudError(
                    "permission-denied",
                    f"These credentials lack {', '.join(missing)}",
                    "`up` or `down` of this profile needs it",
                    "A project owner can grant the role roles/compute.instanceAdmin.v1",
                )
            return {"permissions": f"the credentials have {', '.join(wanted)}"}

        self.checklist.step(["permissions"], query)
        self.checklist.blocked_by = blocked_by or self.checklist.blocked_by

    def _check_last_start(self) -> None:
        """Only a start shows why an instance cannot start, so report the failure of the last one."""
        failure = self.last_run.failure
        if failure is None or failure.get("code") not in START_FAILURE_CODES:
            return
        error = from_dict(dict(failure))
        error.what = f"the last `up` could not start it, {failure.get('at', '')}: {error.what}"
        self.checklist.fail("start", error)

    def _find_instance(
        self, context: BringUpContext, resources: Resources, rollback: Rollback, deadline: Deadline
    ) -> Mapping[str, str]:
        bring_up.find_instance(context, resources, rollback, deadline, start=False)
        instance = resources.instance
        if instance is None:
            raise ValueError("find raises when it finds nothing")
        where = instance.where if instance.address else instance.name
        place = f" in {instance.zone}" if instance.zone else ""
        return {
            "machine": where,
            "credentials": "; ".join(self._details) or "accepted",
            "instance": f"{instance.name}{place} is {instance.status}, at {where}",
        }

    def _connect(self, context: BringUpContext, resources: Resources, rollback: Rollback, deadline: Deadline) -> None:
        if isinstance(self.profile.target, LocalTarget):
            bring_up.connect(context, resources, deadline, rollback)
            return
        checks = LOGIN_CHECKS if isinstance(self.profile.target, GceTarget) else LOGIN_CHECKS[1:]

        def connect() -> Mapping[str, str]:
            bring_up.connect(context, resources, deadline, rollback)
            where = resources.instance.where if resources.instance else ""
            seen = resources.session.login_facts() if resources.session else {}
            through_iap = resources.instance is not None and resources.instance.via == "iap"
            let_in = "it lets Identity-Aware Proxy in" if through_iap else "it lets this computer in"
            return {"firewall": let_in, "ssh": f"a server answers at {where}", **seen}

        self.checklist.step(checks, connect)
        if resources.session is not None and (what := resources.session.login_facts().get("agent")):
            why = "its keys were not offered, and each login waits for it"
            hint = "Unlock it until `ssh-add -l` lists its keys, or set `IdentityAgent none` in ~/.ssh/config"
            self.checklist.warn("agent", what, why, hint)

    def _ensure_server(
        self, context: BringUpContext, resources: Resources, rollback: Rollback, deadline: Deadline
    ) -> None:
        def serve() -> Mapping[str, str]:
            bring_up.ensure_server(context, resources, rollback, deadline)
            server = resources.server
            if server is None:
                raise ValueError("serve raises when nothing serves")
            how = "it started" if server.started_by_us else "it runs already"
            return {
                "interpreter": ", Python ".join(filter(None, [server.interpreter, server.python])),
                "jupyter": f"{how}: jupyter_server {server.jupyter_server}",
                "bridge": f"version {server.bridge} is loaded" if server.bridge else "your own server has none",
            }

        wanted = self.profile.jupyter
        may_install = (wanted.python, wanted.install) == ("auto", "auto")
        self.checklist.step(SERVER_CHECKS, serve, expected=WOULD_INSTALL if may_install else None)

    def _open_forwards(self, context: BringUpContext, resources: Resources, deadline: Deadline) -> Mapping[str, str]:
        bring_up.open_forwards(context, resources, deadline)
        remote = format_address(*resources.server.address) if resources.server else ""
        local_port = resources.forwarder.port if resources.forwarder else 0
        return {"forward": f"local port {local_port} leads to {remote} of the machine"}

    def _context(self, profile: Profile) -> BringUpContext:
        """Use a server that runs already. A new one gets a client id and folder of its own, because it is stopped at
        the end."""
        client_id = self.leftover.client_id if self.leftover is not None and self.leftover.server is not None else ""
        return BringUpContext(
            client_id=client_id or f"doctor{secrets.token_hex(4)}",
            target=self.open_target(replace(profile, jupyter=replace(profile.jupyter, install="never"))),
            progress=self,
            prompt=self.prompt,
            record=lambda **facts: None,
            remembered_port=self.last_run.local_port,
            may_install_key=False,
        )

    def _step(self, text: str) -> None:
        self.on_step(text)

    def _report_leftovers(self, rollback: Rollback) -> None:
        if rollback.failures:
            what, hint = "Not all that doctor made could be taken away", "`remote-runtime ssh PROFILE` leads there"
            self.checklist.fail("undo", LocalError("left-behind", what, "; ".join(rollback.failures), hint))


def wanted_permissions(profile: Profile) -> list[str]:
    """The permissions that `up` and `down` of the profile need on the instance."""
    wanted = ["compute.instances.get"]
    if isinstance(profile.target, GceTarget) and profile.target.start:
        wanted.append("compute.instances.start")
    if profile.on_down.instance != "keep":
        wanted.append(f"compute.instances.{profile.on_down.instance}")
    return wanted
