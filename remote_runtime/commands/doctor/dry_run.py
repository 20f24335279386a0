"""Runs the steps of `up` one by one, reports each, and undoes them. Starts no instance and installs nothing."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from ...core.callbacks import Prompt
from ...core.deadline import Deadline
from ...core.errors import CloudError, LocalError, from_dict
from ...core.model import Instance, Runtime, Server, format_address
from ...core.profile import GceTarget, LocalTarget, Profile
from ...lifecycle import bring_up
from ...lifecycle.context import BringUpContext
from ...lifecycle.ensure_server import ensure_server
from ...lifecycle.find import find_instance
from ...lifecycle.resources import Resources, endpoint
from ...lifecycle.rollback import Rollback
from ...state.store import LastRun
from ...targets import Target, TargetSession
from ...tunnel.port_forwarder import PortForwarder
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
            context, forwarder = self._bind(resources, rollback)
            instance = self._find(context, resources, rollback, deadline)
            session = self._connect(context, resources, instance, rollback, deadline)
            server = self._ensure_server(context, resources, session, rollback, deadline)
            if session is None or server is None:
                self.checklist.skip("forward", *browser_checks.CHECKS)
                return
            address = format_address(*server.address)

            def open_forwards() -> Mapping[str, str]:
                bring_up.open_forwards(context, resources, forwarder, session, server, deadline)
                return {"forward": f"local port {forwarder.port} leads to {address} of the machine"}

            if self.checklist.step(["forward"], open_forwards) is not None:
                self.checklist.skip(*browser_checks.CHECKS)
                return
            self._step("Checking the path as Colab will use it")
            page = endpoint(forwarder.port, server, self.profile, forwarder)
            browser_checks.check_page(self.checklist, page, deadline, self.profile.timeouts.ready_s)

    # ── how the story is told (``story.Telling``) ──

    def __call__(self, text: str) -> None:
        self._details.append(text)

    def step(self, text: str) -> None:
        self._details.clear()
        self._step(text)

    def note(self, text: str) -> None:
        self._details.append(text)

    # ── the steps ──

    def _bind(self, resources: Resources, rollback: Rollback) -> tuple[BringUpContext, PortForwarder]:
        """If a port is taken, the other checks use another one."""
        context = self._context(self.profile)
        bound: list[PortForwarder] = []

        def bind_ports() -> Mapping[str, str]:
            bound.append(bring_up.bind_ports(context, resources, rollback))
            return {"port": f"local port {bound[0].port} is free, on 127.0.0.1 and ::1"}

        self.checklist.step(["port"], bind_ports, essential=False)
        if bound:
            return context, bound[0]
        other = replace(self.profile.forward, local_port=None, extra=())
        context = self._context(replace(self.profile, forward=other))
        return context, bring_up.bind_ports(context, resources, rollback)

    def _find(
        self, context: BringUpContext, resources: Resources, rollback: Rollback, deadline: Deadline
    ) -> Instance | None:
        if not context.target.exists():
            why, hint = "it lives only while its runtime is up", "`remote-runtime up PROFILE` starts it"
            self.checklist.warn("instance", "the demo machine does not run", why, hint, code="instance-stopped")
            self.checklist.blocked_by = "instance"
            return None
        found: list[Instance] = []

        def find() -> Mapping[str, str]:
            instance = find_instance(context, resources, rollback, deadline, start=False)
            found.append(instance)
            where = instance.where if instance.address else instance.name
            zone = f" in {instance.zone}" if instance.zone else ""
            return {
                "machine": where,
                "credentials": "; ".join(self._details) or "accepted",
                "instance": f"{instance.name}{zone} is {instance.status}, at {where}",
            }

        if not isinstance(self.profile.target, GceTarget):
            self.checklist.step(["machine"], find)
        else:
            may_start = self.profile.target.start
            error = self.checklist.step(CLOUD_CHECKS, find, expected=WOULD_START if may_start else None)
            would_start = may_start and error is not None and error.code == WOULD_START.code
            self._check_permissions(context, deadline, would_start=would_start)
            if would_start:
                self._check_last_start()
        return found[0] if found else None

    def _check_permissions(self, context: BringUpContext, deadline: Deadline, *, would_start: bool) -> None:
        """Check the permissions that `up` and `down` need on the instance, also on a stopped one."""
        blocked_by, self.checklist.blocked_by = (
            self.checklist.blocked_by,
            "" if would_start else self.checklist.blocked_by,
        )
        wanted = wanted_permissions(self.profile)

        def query() -> Mapping[str, str]:
            within = deadline.within(PERMISSIONS_TIMEOUT_S)
            missing = context.target.missing_permissions(wanted, progress=self, deadline=within)
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

    def _connect(
        self,
        context: BringUpContext,
        resources: Resources,
        instance: Instance | None,
        rollback: Rollback,
        deadline: Deadline,
    ) -> TargetSession | None:
        is_local = isinstance(self.profile.target, LocalTarget)
        checks = () if is_local else LOGIN_CHECKS if isinstance(self.profile.target, GceTarget) else LOGIN_CHECKS[1:]
        if instance is None:
            self.checklist.skip(*checks)
            return None
        if is_local:
            return bring_up.connect(context, resources, instance, rollback, deadline)
        opened: list[TargetSession] = []

        def connect() -> Mapping[str, str]:
            session = bring_up.connect(context, resources, instance, rollback, deadline)
            opened.append(session)
            through_iap = session.instance is not None and session.instance.via == "iap"
            let_in = "it lets Identity-Aware Proxy in" if through_iap else "it lets this computer in"
            where = (session.instance or instance).where
            return {"firewall": let_in, "ssh": f"a server answers at {where}", **session.login_facts()}

        self.checklist.step(checks, connect)
        if not opened:
            return None
        if what := opened[0].login_facts().get("agent"):
            why = "its keys were not offered, and each login waits for it"
            hint = "Unlock it until `ssh-add -l` lists its keys, or set `IdentityAgent none` in ~/.ssh/config"
            self.checklist.warn("agent", what, why, hint)
        return opened[0]

    def _ensure_server(
        self,
        context: BringUpContext,
        resources: Resources,
        session: TargetSession | None,
        rollback: Rollback,
        deadline: Deadline,
    ) -> Server | None:
        if session is None:
            self.checklist.skip(*SERVER_CHECKS)
            return None
        found: list[Server] = []

        def ensure() -> Mapping[str, str]:
            server = ensure_server(context, resources, session, rollback, deadline)
            found.append(server)
            how = "it started" if server.started_by_us else "it runs already"
            return {
                "interpreter": ", Python ".join(filter(None, [server.interpreter, server.python])),
                "jupyter": f"{how}: jupyter_server {server.jupyter_server}",
                "bridge": f"version {server.bridge} is loaded" if server.bridge else "your own server has none",
            }

        settings = self.profile.jupyter
        may_install = (settings.python, settings.install) == ("auto", "auto")
        self.checklist.step(SERVER_CHECKS, ensure, expected=WOULD_INSTALL if may_install else None)
        return found[0] if found else None

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
