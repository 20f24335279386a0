"""A machine that was entered before: entered again where it was, while Compute Engine is asked where it is now."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from .. import ssh
from ..core.access import AddedKey
from ..core.callbacks import Tell
from ..core.deadline import Deadline, wait_until
from ..core.errors import DeadlinePassed, RemoteRuntimeError, from_code
from ..core.model import Instance, Profile
from ..core.profile import GceTarget
from ..targets.gce import Machines, Session
from ..targets.gce_login import Wish, no_wish

log = logging.getLogger(__name__)
# For its port and its greeting: longer than over a slow link, shorter than a look-up. The login may take longer.
ENTER_S = 3.0
END_S = 3.0
TICK_S = 0.02
# What the look-up leaves to those who enter: importing Google's client takes a whole processor.
HEAD_START_S = 1.0


class LookUp:
    """``find`` in a thread of its own, begun when somebody waits for it, or a moment later. Nobody has to wait:
    ``answer`` is None until it has one."""

    def __init__(self, find: Callable[[Deadline], Instance], within_s: float) -> None:
        self.answer: Instance | Exception | None = None
        self._deadline = Deadline(within_s)
        self._wanted = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(find,), name="look-up", daemon=True)
        self._thread.start()

    def wait(self, deadline: Deadline) -> Instance:
        """Raises what ``find`` raised, ``DeadlinePassed``, ``Interrupted``."""
        self._wanted.set()
        wait_until(lambda: self.answer is not None, deadline, every_s=TICK_S, what="finding the machine")
        if isinstance(self.answer, Instance):
            return self.answer
        raise self.answer or DeadlinePassed("Finding the machine took too long")

    def close(self) -> None:
        self._deadline.called_off.set()
        self._wanted.set()
        self._thread.join(END_S)

    def _run(self, find: Callable[[Deadline], Instance]) -> None:
        self._wanted.wait(HEAD_START_S)
        try:
            self.answer = find(self._deadline)
        except Exception as error:
            self.answer = error
            if not isinstance(error, RemoteRuntimeError):
                log.exception("a bug of ours in the look-up of a machine")


def find_again(
    machines: Machines, profile: Profile, known: Instance, wish: Wish, added: tuple[AddedKey, ...]
) -> LookUp:
    """Where ``known`` is now; its key is renewed then if ``wish`` allows it, which nobody waits for either. ``added``:
    the keys that we put there before."""

    def find_it(within: Deadline) -> Instance:
        # What has to be started is started by those who wait for it.
        found = machines.find(
            profile, start=False, in_background=True, tell=_silently, deadline=within, started=lambda instance: None
        )
        if found.id != known.id or not wish.may_add:
            return found
        try:
            return machines.renew(profile, found, tell=_silently, deadline=within, added=added, wish=wish)
        except RemoteRuntimeError as error:
            log.info("the key on %s is not renewed: %s: %s", found.name, error.code, error)
            return found

    return LookUp(find_it, profile.timeouts.instance_s)


def is_known(profile: Profile, known: Instance | None, machines: Machines) -> bool:
    """Whether ``known`` can be told from every other machine: a Compute Engine instance whose host key is pinned under
    its id. One that asks for a second factor is not tried in vain: each try is a question to a person."""
    return (
        known is not None
        and isinstance(profile.target, GceTarget)
        and known.kind == "gce"
        and bool(known.address and known.id)
        and not (known.access is not None and known.access.two_factor)
        and bool(ssh.show_pins(machines.state.pins, known.host_key_name))
    )


def enter(machines: Machines, profile: Profile, known: Instance, *, tell: Tell, deadline: Deadline) -> Session | None:
    """``known`` entered at its last address; None when it is not there, whatever is there instead.

    Nothing is sent to a machine that shows another host key than the pinned one. Raises ``Interrupted``.
    """
    try:
        within = deadline.shorter(profile.timeouts.ssh_s)
        return machines.connect(profile, known, ask=_nobody, tell=tell, deadline=within, wish=no_wish(ENTER_S))
    except RemoteRuntimeError as error:
        if error.code == "interrupted":
            raise
        log.info("%s is not entered where it was: %s: %s", known.name, error.code, error)
        return None


def _silently(text: str) -> None:
    log.info("in the background: %s", text)


def _nobody(prompt: str, *, secret: bool, code: str) -> str:
    raise from_code(code, f"An answer is needed: {prompt}", "it is asked for once the machine is found")
