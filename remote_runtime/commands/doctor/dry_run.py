"""Runs the steps of `up` one by one, reports each, and undoes them. Starts no instance and installs nothing."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from ...core.callbacks import Prompt
from ...core.creation import CreationPlan
from ...core.deadline import Deadline
from ...core.errors import CloudError, LocalError, RemoteRuntimeError, from_dict
from ...core.model import Instance, Runtime, Server, format_address
from ...core.price import money
from ...core.profile import GceTarget, Profile
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
CREATION_TIMEOUT_S = 60.0
START_FAILURE_CODES = ("instance-not-startable", "no-capacity", "quota-exceeded")
WOULD_START = ExpectedFailure(
    "instance-stopped",
    "doctor does not start VMs",
    "`remote-runtime up PROFILE` starts it; doctor checks the rest of a running VM",
)
WOULD_CREATE = ExpectedFailure(
    "instance-not-found",
    "doctor does not create VMs",
    "`remote-runtime up PROFILE` creates it; doctor checks the rest of a running VM",
)
WOULD_INSTALL = ExpectedFailure(
    "jupyter-missing",
    "doctor does not install anything",
    "`remote-runtime up PROFILE` creates a private environment with Jupyter",
)


@dataclass
class DryRun:
    """``leftover``: what an earlier `up` or `down` left behind; its server is used as it is. ``on_step`` is called with
    each step's text. It is the ``ProgressSink`` of the steps: it collects their details."""

    profile: Profile
    open_target: Callable[[Profile], Target]
    checklist: Checklist
    prompt: Prompt
    on_step: Callable[[str], None]
    last_run: LastRun
    deadline: Deadline
    leftover: Runtime | None = None

    def __post_init__(self) -> None:
        self._details: list[str] = []
        self._resources = Resources()
        self._rollback = Rollback(self)

    def run(self) -> None:
        """Run every check from the local port to a notebook cell. Raises ``Interrupted``."""
        with ExitStack() as stack:
            stack.callback(self._report_leftovers)
            stack.callback(self._resources.close)
            stack.callback(self._rollback.run)
            self._run_steps()

    def __call__(self, text: str) -> None:
        self._details.append(text)

    note = __call__

    def step(self, text: str, done: str = "") -> None:
        self._details.clear()
        self.on_step(text)

    def finish(self, done: str) -> None:
        """The findings say it."""

    def fail(self) -> None:
        """The findings say it."""

    def _run_steps(self) -> None:
        skip, kind = self.checklist.skip, self.profile.target
        login = LOGIN_CHECKS if isinstance(kind, GceTarget) else LOGIN_CHECKS[1:] if kind.kind != "local" else ()
        context, forwarder = self._bind()
        instance = self._find(context)
        if instance is None:
            return skip(*login, *SERVER_CHECKS, "forward", *browser_checks.CHECKS)
        session = self._connect(context, instance, login)
        if session is None:
            return skip(*SERVER_CHECKS, "forward", *browser_checks.CHECKS)
        server = self._ensure_server(context, session)
        if server is None:
            return skip("forward", *browser_checks.CHECKS)

        def open_forwards() -> Mapping[str, str]:
            bring_up.open_forwards(context, self._resources, forwarder, session, server, self.deadline)
            remote = format_address(*server.address)
            return {"forward": f"localhost:{forwarder.port} → {remote} on the machine"}

        if self.checklist.step(["forward"], open_forwards) is not None:
            return skip(*browser_checks.CHECKS)
        self.on_step("Verifying the connection")
        page = endpoint(forwarder.port, server, self.profile, forwarder)
        browser_checks.check_page(self.checklist, page, self.deadline, self.profile.timeouts.ready_s)

    def _bind(self) -> tuple[BringUpContext, PortForwarder]:
        """If a port is taken, the other checks use another one."""
        context = self._context(self.profile)
        forwarder = self.checklist.step_value(
            ["port"],
            lambda: bring_up.bind_ports(context, self._resources, self._rollback),
            lambda bound: {"port": f"{bound.port} is free on 127.0.0.1 and ::1"},
            essential=False,
        )
        if forwarder is None:
            other = replace(self.profile.forward, local_port=None, extra=())
            context = self._context(replace(self.profile, forward=other))
            forwarder = bring_up.bind_ports(context, self._resources, self._rollback)
        return context, forwarder

    def _find(self, context: BringUpContext) -> Instance | None:
        if not context.target.exists():
            why, hint = "it runs only while its runtime is running", "`remote-runtime up PROFILE` starts it"
            self.checklist.warn("instance", "The demo VM is not running", why, hint, code="instance-stopped")
            self.checklist.blocked_by = "instance"
            return None

        def find() -> Instance:
            return find_instance(context, self._resources, self._rollback, self.deadline, start=False)

        def texts(instance: Instance) -> Mapping[str, str]:
            where = instance.where if instance.address else instance.name
            zone = f" in {instance.zone}" if instance.zone else ""
            return {
                "machine": where,
                "credentials": "; ".join(self._details) or "Accepted",
                "instance": f"{instance.name}{zone} is {instance.status}, at {where}",
            }

        if not isinstance(self.profile.target, GceTarget):
            return self.checklist.step_value(["machine"], find, texts)
        target, expected = self.profile.target, list[ExpectedFailure]()
        expected += [WOULD_START] if target.start else []
        expected += [WOULD_CREATE] if target.create is not None else []
        instance = self.checklist.step_value(CLOUD_CHECKS, find, texts, expected=expected)
        if self.checklist.has_warning(WOULD_CREATE.code):
            self._check_creation()
            return None
        would_start = self.checklist.has_warning(WOULD_START.code)
        self._check_permissions(context, would_start=would_start)
        if would_start:
            self._check_last_start()
        return instance

    def _check_creation(self) -> None:
        """Check what `up` would create, and what that needs."""
        blocked_by, self.checklist.blocked_by = self.checklist.blocked_by, ""
        self.on_step("Checking what creating the VM needs")
        try:
            within = self.deadline.within(CREATION_TIMEOUT_S)
            checked = self.open_target(self.profile).check_creation(progress=self, deadline=within)
        except RemoteRuntimeError as error:
            if error.code == "interrupted":
                raise
            self.checklist.fail("creation", error)
        else:
            if checked is not None:
                self.checklist.ok("creation", _plan_text(checked.plan))
                for finding in checked.findings:
                    self.checklist.add(finding)
        self.checklist.blocked_by = blocked_by

    def _check_permissions(self, context: BringUpContext, *, would_start: bool) -> None:
        """Check the permissions that `up` and `down` need on the instance, also on a stopped one."""
        blocked_by = self.checklist.blocked_by
        if would_start:
            self.checklist.blocked_by = ""
        wanted = wanted_permissions(self.profile)

        def query() -> Mapping[str, str]:
            within = self.deadline.within(PERMISSIONS_TIMEOUT_S)
            missing = context.target.missing_permissions(wanted, progress=self, deadline=within)
            if missing:
                raise CloudError(
                    "permission-denied",
                    f"The credentials lack {', '.join(missing)}",
                    "`up` or `down` of this profile requires it",
                    "A project owner can grant the role roles/compute.instanceAdmin.v1",
                )
            return {"permissions": f"Granted: {', '.join(wanted)}"}

        self.checklist.step(["permissions"], query)
        self.checklist.blocked_by = blocked_by or self.checklist.blocked_by

    def _check_last_start(self) -> None:
        """Only a start shows why an instance cannot start, so report the failure of the last one."""
        failure = self.last_run.failure
        if failure is None or failure.get("code") not in START_FAILURE_CODES:
            return
        error = from_dict(dict(failure))
        error.what = f"The last `up` failed to start the VM ({failure.get('at', '')}): {error.what}"
        self.checklist.fail("start", error)

    def _connect(self, context: BringUpContext, instance: Instance, checks: Sequence[str]) -> TargetSession | None:
        def connect() -> TargetSession:
            return bring_up.connect(context, self._resources, instance, self._rollback, self.deadline)

        def texts(session: TargetSession) -> Mapping[str, str]:
            reached = session.instance or instance
            let_in = "Open to Identity-Aware Proxy" if reached.via == "iap" else "Open to this computer"
            return {"firewall": let_in, "ssh": f"An SSH server responded at {reached.where}", **session.login_facts()}

        if not checks:
            return connect()
        session = self.checklist.step_value(checks, connect, texts)
        if session is not None and (what := session.login_facts().get("agent")):
            why = "its keys were not offered, and each login waits for the agent"
            hint = "Unlock it until `ssh-add -l` lists its keys, or set `IdentityAgent none` in ~/.ssh/config"
            self.checklist.warn("agent", what, why, hint)
        return session

    def _ensure_server(self, context: BringUpContext, session: TargetSession) -> Server | None:
        def texts(server: Server) -> Mapping[str, str]:
            how = "Started" if server.started_by_us else "Already running"
            return {
                "interpreter": ", Python ".join(filter(None, [server.interpreter, server.python])),
                "jupyter": f"{how} (jupyter_server {server.jupyter_server})",
                "bridge": f"Version {server.bridge} is loaded" if server.bridge else "Not installed in your server",
            }

        settings = self.profile.jupyter
        may_install = (settings.python, settings.install) == ("auto", "auto")
        return self.checklist.step_value(
            SERVER_CHECKS,
            lambda: ensure_server(context, self._resources, session, self._rollback, self.deadline),
            texts,
            expected=[WOULD_INSTALL] if may_install else (),
        )

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

    def _report_leftovers(self) -> None:
        if failures := self._rollback.failures:
            what, hint = (
                "Some of doctor's changes could not be undone",
                "`remote-runtime ssh PROFILE` opens a shell there",
            )
            self.checklist.fail("undo", LocalError("left-behind", what, "; ".join(failures), hint))


def wanted_permissions(profile: Profile) -> list[str]:
    """The permissions that `up` and `down` of the profile need on the instance."""
    wanted = ["compute.instances.get"]
    if isinstance(profile.target, GceTarget) and profile.target.start:
        wanted.append("compute.instances.start")
    if profile.on_down.instance != "keep":
        wanted.append(f"compute.instances.{profile.on_down.instance}")
    return wanted


def _plan_text(plan: CreationPlan) -> str:
    """The machine, where it would be created, and what it costs."""
    zones = ", ".join(zone.name for zone in plan.zones if not zone.skip)
    price = f"; about {money(plan.price.amount, plan.price.currency)}/h (list price)" if plan.price else ""
    return f"{plan.machine} in {zones}{price}"
