"""A machine that was entered before: entered again where it was, while Compute Engine is asked where it is now."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from ..core.access import InstalledKey
from ..core.callbacks import Progress
from ..core.deadline import Deadline, wait_until
from ..core.errors import DeadlinePassed, RemoteRuntimeError, from_code
from ..core.model import Instance
from ..targets import KeyPolicy, Target, TargetSession

log = logging.getLogger(__name__)
# For its port and its greeting: longer than over a slow link, shorter than a look-up. The login may take longer.
RESPOND_WITHIN_S = 3.0
JOIN_TIMEOUT_S = 3.0
POLL_INTERVAL_S = 0.02
# What the look-up leaves to those who enter: importing Google's client takes a whole processor.
DELAY_S = 1.0


class BackgroundLookup:
    """``find`` in a thread of its own, begun when somebody waits for it, or a moment later. Nobody has to wait:
    ``answer`` is None until it has one."""

    def __init__(self, find: Callable[[Deadline], Instance], within_s: float) -> None:
        self.result: Instance | Exception | None = None
        self._deadline = Deadline(within_s)
        self._start_now = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(find,), name="look-up", daemon=True)
        self._thread.start()

    def wait(self, deadline: Deadline) -> Instance:
        """Raises what ``find`` raised, ``DeadlinePassed``, ``Interrupted``."""
        self._start_now.set()
        wait_until(lambda: self.result is not None, deadline, every_s=POLL_INTERVAL_S, what="finding the machine")
        if isinstance(self.result, Instance):
            return self.result
        raise self.result or DeadlinePassed("Finding the machine took too long")

    def close(self) -> None:
        self._deadline.cancelled.set()
        self._start_now.set()
        self._thread.join(JOIN_TIMEOUT_S)

    def _run(self, find: Callable[[Deadline], Instance]) -> None:
        self._start_now.wait(DELAY_S)
        try:
            self.result = find(self._deadline)
        except Exception as error:
            self.result = error
            if not isinstance(error, RemoteRuntimeError):
                log.exception("a bug of ours in the look-up of a machine")


def start_lookup(
    target: Target,
    last_instance: Instance,
    key_policy: KeyPolicy | None,
    installed_keys: tuple[InstalledKey, ...],
) -> BackgroundLookup:
    """Where ``known`` is now; its key is renewed then if ``wish`` allows it, which nobody waits for either. ``added``:
    the keys that we put there before."""

    def find(within: Deadline) -> Instance:
        # What has to be started is started by those who wait for it.
        found = target.find(
            start=False,
            in_background=True,
            progress=_log_progress,
            deadline=within,
            on_start=lambda instance: None,
        )
        if found.id != last_instance.id or key_policy is None:
            return found
        try:
            return target.renew_key(
                found,
                progress=_log_progress,
                deadline=within,
                installed_keys=installed_keys,
                key_policy=key_policy,
            )
        except RemoteRuntimeError as error:
            log.info("the key on %s is not renewed: %s: %s", found.name, error.code, error)
            return found

    return BackgroundLookup(find, target.profile.timeouts.instance_s)


def has_pinned_host_key(target: Target, last_instance: Instance) -> bool:
    """Whether ``known`` can be told from every other machine: a Compute Engine instance whose host key is pinned under
    its id. One that asks for a second factor is not tried in vain: each try is a question to a person."""
    return (
        bool(last_instance.address)
        and not (last_instance.access is not None and last_instance.access.two_factor)
        and target.has_pinned_host_key(last_instance)
    )


def connect_at_last_address(
    target: Target, last_instance: Instance, *, progress: Progress, deadline: Deadline
) -> TargetSession | None:
    """``known`` entered at its last address; None when it is not there, whatever is there instead.

    Nothing is sent to a machine that shows another host key than the pinned one. Raises ``Interrupted``.
    """
    try:
        within = deadline.within(target.profile.timeouts.ssh_s)
        return target.connect(
            last_instance,
            prompt=_no_prompt,
            progress=progress,
            deadline=within,
            respond_within_s=RESPOND_WITHIN_S,
        )
    except RemoteRuntimeError as error:
        if error.code == "interrupted":
            raise
        log.info("%s is not entered where it was: %s: %s", last_instance.name, error.code, error)
        return None


def _log_progress(text: str) -> None:
    log.info("in the background: %s", text)


def _no_prompt(prompt: str, *, secret: bool, code: str) -> str:
    raise from_code(code, f"An answer is needed: {prompt}", "it is asked for once the machine is found")
