"""A path of doctor's own: the steps of `up`, one after the other, and all of it taken back. It starts no instance."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from ...core.callbacks import Ask
from ...core.deadline import Deadline
from ...core.errors import CloudError, LocalError, from_dict
from ...core.model import Profile, Runtime, named
from ...core.profile import GceTarget, LocalTarget
from ...lifecycle import bring_up
from ...lifecycle.bring_up import Held, Story
from ...lifecycle.rollback import Undo
from ...state.store import Remembered
from ...targets.gce import Machines
from . import browser_checks
from .checklist import Checkup, Excuse

CLOUD = ("credentials", "instance")
WAY_IN = ("firewall", "ssh", "host-key", "login")
SERVER = ("interpreter", "jupyter", "bridge")
EVERY = ("port", *CLOUD, "permissions", *WAY_IN, *SERVER, "forward", *browser_checks.CHECKS)
ASK_S = 30.0
CANNOT_START = ("instance-not-startable", "quota-exceeded")
WOULD_START = Excuse(
    "instance-stopped",
    "doctor starts nothing that costs money",
    "`remote-runtime up PROFILE` starts it; while it is up, doctor checks the rest",
)
WOULD_INSTALL = Excuse(
    "jupyter-missing",
    "doctor installs nothing",
    "`remote-runtime up PROFILE` makes a private environment for it",
)


@dataclass
class Journey:
    """``left``: what an earlier `up` or `down` left behind; its server is used as it is. ``show`` is told what is
    being done."""

    profile: Profile
    machines: Machines
    checkup: Checkup
    ask: Ask
    show: Callable[[str], None]
    remembered: Remembered
    left: Runtime | None = None
    _said: list[str] = field(default_factory=list)

    def make(self, deadline: Deadline) -> None:
        """Every check from the local port to a cell. Raises ``Interrupted``."""
        held, undo = Held(), Undo(lambda text: self._step(text.replace("Undoing", "Taking back", 1)))
        with ExitStack() as stack:
            stack.callback(self._tell_what_remains, undo)
            stack.callback(held.close)
            stack.callback(undo.run)
            story = self._bind(held, undo)
            self._find(story, held, undo, deadline)
            self._enter(story, held, undo, deadline)
            self._serve(story, held, undo, deadline)
            self.checkup.step(["forward"], lambda: self._lead(story, held, deadline))
            if self.checkup.needs:
                self.checkup.skip(*browser_checks.CHECKS)
            else:
                self._step("Checking the path as Colab will use it")
                browser_checks.look(self.checkup, held.door(self.profile), deadline, self.profile.timeouts.ready_s)

    # ── how the story is told (``story.Telling``) ──

    def __call__(self, text: str) -> None:
        self._said.append(text)

    def step(self, text: str) -> None:
        self._said.clear()
        self._step(text)

    def note(self, text: str) -> None:
        self._said.append(text)

    # ── the steps ──

    def _bind(self, held: Held, undo: Undo) -> Story:
        """A port that is taken does not keep the other checks from their turn: they use another one."""
        story = self._story(self.profile)
        taken = self.checkup.step(["port"], lambda: self._port(story, held, undo), essential=False)
        if taken is not None:
            other = replace(self.profile.forward, local_port=None, extra=())
            story = self._story(replace(self.profile, forward=other))
            bring_up.bind(story, held, undo)
        return story

    def _port(self, story: Story, held: Held, undo: Undo) -> Mapping[str, str]:
        bring_up.bind(story, held, undo)
        port = held.front.port if held.front else 0
        return {"port": f"local port {port} is free, on 127.0.0.1 and ::1"}

    def _find(self, story: Story, held: Held, undo: Undo, deadline: Deadline) -> None:
        if not self.machines.is_there(self.profile):
            why, hint = "it lives only while its runtime is up", "`remote-runtime up PROFILE` starts it"
            self.checkup.warn("instance", "the demo machine does not run", why, hint, code="instance-stopped")
            self.checkup.needs = "instance"
            return
        if not isinstance(self.profile.target, GceTarget):
            self.checkup.step(["machine"], lambda: self._found(story, held, undo, deadline))
            return
        may_start = self.profile.target.start
        error = self.checkup.step(
            CLOUD, lambda: self._found(story, held, undo, deadline), excuse=WOULD_START if may_start else None
        )
        would_start = may_start and error is not None and error.code == WOULD_START.code
        self._permit(deadline, would_start=would_start)
        if would_start:
            self._recall()

    def _permit(self, deadline: Deadline, *, would_start: bool) -> None:
        """What `up` and `down` of this profile do to the instance. A stopped one can be asked about, too."""
        needs, self.checkup.needs = self.checkup.needs, "" if would_start else self.checkup.needs
        wanted = wanted_permissions(self.profile)

        def ask() -> Mapping[str, str]:
            within = deadline.shorter(ASK_S)
            lacking = self.machines.missing_permissions(self.profile, wanted, tell=self, deadline=within)
            if lacking:
                raise CloudError(
                    "permission-denied",
                    f"These credentials lack {', '.join(lacking)}",
                    "`up` or `down` of this profile needs it",
                    "A project owner can grant the role roles/compute.instanceAdmin.v1",
                )
            return {"permissions": f"the credentials have {', '.join(wanted)}"}

        self.checkup.step(["permissions"], ask)
        self.checkup.needs = needs or self.checkup.needs

    def _recall(self) -> None:
        """Only a start shows what keeps an instance from starting; the last one is remembered."""
        failure = self.remembered.failure
        if failure is None or failure.get("code") not in CANNOT_START:
            return
        error = from_dict(dict(failure))
        error.what = f"the last `up` could not start it, {failure.get('at', '')}: {error.what}"
        self.checkup.fails("start", error)

    def _found(self, story: Story, held: Held, undo: Undo, deadline: Deadline) -> Mapping[str, str]:
        bring_up.find(story, held, undo, deadline, start=False)
        instance = held.instance
        if instance is None:
            raise ValueError("find raises when it finds nothing")
        where = instance.where if instance.address else instance.name
        place = f" in {instance.zone}" if instance.zone else ""
        return {
            "machine": where,
            "credentials": "; ".join(self._said) or "accepted",
            "instance": f"{instance.name}{place} is {instance.status}, at {where}",
        }

    def _enter(self, story: Story, held: Held, undo: Undo, deadline: Deadline) -> None:
        if isinstance(self.profile.target, LocalTarget):
            bring_up.enter(story, held, deadline, undo)
            return
        checks = WAY_IN if isinstance(self.profile.target, GceTarget) else WAY_IN[1:]

        def enter() -> Mapping[str, str]:
            bring_up.enter(story, held, deadline, undo)
            where = held.instance.where if held.instance else ""
            seen = held.session.seen() if held.session else {}
            through_iap = held.instance is not None and held.instance.via == "iap"
            let_in = "it lets Identity-Aware Proxy in" if through_iap else "it lets this computer in"
            return {"firewall": let_in, "ssh": f"a server answers at {where}", **seen}

        self.checkup.step(checks, enter)
        if held.session is not None and (what := held.session.seen().get("agent")):
            why = "its keys were not offered, and each login waits for it"
            hint = "Unlock it until `ssh-add -l` lists its keys, or set `IdentityAgent none` in ~/.ssh/config"
            self.checkup.warn("agent", what, why, hint)

    def _serve(self, story: Story, held: Held, undo: Undo, deadline: Deadline) -> None:
        def serve() -> Mapping[str, str]:
            bring_up.serve(story, held, undo, deadline)
            server = held.server
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
        self.checkup.step(SERVER, serve, excuse=WOULD_INSTALL if may_install else None)

    def _lead(self, story: Story, held: Held, deadline: Deadline) -> Mapping[str, str]:
        bring_up.lead(story, held, deadline)
        there = named(*held.server.at) if held.server else ""
        here = held.front.port if held.front else 0
        return {"forward": f"local port {here} leads to {there} of the machine"}

    def _story(self, profile: Profile) -> Story:
        """A server that is there is used; a new one gets a folder of its own, so that no `up` can come to depend on
        one that is about to be stopped."""
        client_id = self.left.client_id if self.left is not None and self.left.server is not None else ""
        return Story(
            profile=replace(profile, jupyter=replace(profile.jupyter, install="never")),
            client_id=client_id or f"doctor{secrets.token_hex(4)}",
            machines=self.machines,
            tell=self,
            ask=self.ask,
            record=lambda **facts: None,
            remembered_port=self.remembered.local_port,
            may_add_key=False,
        )

    def _step(self, text: str) -> None:
        self.show(text)

    def _tell_what_remains(self, undo: Undo) -> None:
        if undo.remains:
            what, hint = "Not all that doctor made could be taken away", "`remote-runtime ssh PROFILE` leads there"
            self.checkup.fails("undo", LocalError("left-behind", what, "; ".join(undo.remains), hint))


def wanted_permissions(profile: Profile) -> list[str]:
    """What the profile's `up` and `down` need on the instance."""
    wanted = ["compute.instances.get"]
    if isinstance(profile.target, GceTarget) and profile.target.start:
        wanted.append("compute.instances.start")
    if profile.on_down.instance != "keep":
        wanted.append(f"compute.instances.{profile.on_down.instance}")
    return wanted
