"""`up`: starts a keeper or joins a running one, and shows its events until the runtime is ready."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from .. import profiles
from ..core import file_lock
from ..core.deadline import Deadline
from ..core.durations import duration_since
from ..core.errors import DeadlinePassed, KeeperBug, LocalError, RemoteRuntimeError
from ..core.errors.catalogue import fill_in_profile
from ..core.fast_dataclass import fast_dataclass
from ..core.move import SNAPSHOTS_S, UpConsent
from ..core.profile import ExtraForward, Profile
from ..state import launch, log_file, store
from .cancelled_up import cancel_reason_of, failure_of
from .cluster_wait import check_workers, wait_for_workers
from .context import PROGRESS_EVENTS, CommandContext, View, show_progress

if TYPE_CHECKING:
    from ..state.ipc import ControlChannel, Message

KEEPER_START_TIMEOUT_S = 20.0
LOCK_TIMEOUT_S = 30.0
REFRESHED_VARIABLES = ("SSH_AUTH_SOCK", "CLOUDSDK_", "GOOGLE_")  # a running keeper takes them over from a new `up`
KEEPER_EXIT_TIMEOUT_S = 15.0
ROLLBACK_TIMEOUT_S = 420.0
CONNECT_INTERVAL_S = 0.005
KEEPER_GRACE_S = 60.0  # added to the profile's timeouts, so that the keeper's own deadlines pass first


@fast_dataclass(frozen=True)
class Options:
    """``consent``: what the user agrees to in advance. ``workers``: of the cluster, to be waited for."""

    port: int | None = None
    extra: tuple[ExtraForward, ...] = ()
    foreground: bool = False
    timeout_s: float | None = None
    consent: UpConsent = UpConsent()
    workers: int | None = None


def up(
    reference: str, options: Options, context: CommandContext, *, on_ready: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """Returns RUNTIME when it is ready. With ``foreground``: calls ``on_ready(RUNTIME)`` and waits until it is down.
    Raises ``RemoteRuntimeError``; ``Interrupted`` when cancelled, after the rollback; ``KeeperBug``."""
    state, environ, view = context.state, context.environ, context.view
    profile = profiles.load(reference, environ=environ)
    name = profile.name
    check_workers(profile, options.workers, environ)
    if not profiles.is_packaged(profile.path):
        view.note(name, f"Profile {name} ({profiles.source(profile.path)})")
    deadline = context.deadline(options.timeout_s or _default_timeout_s(profile, options))
    subscription = {"op": "up", "interactive": view.interactive, "foreground": options.foreground}
    with ExitStack() as stack:
        stack.callback(view.failed, name)
        while True:
            with suppress(_KeeperExiting):
                with exclusive(name, deadline, context):
                    keeper = None
                    if not store.is_alive(state, name):
                        store.check_writable(state)
                        keeper = _start_keeper(reference, profile, options, environ)
                    channel = _connect(state, name, keeper, deadline, stack)
                    channel.send(subscription if keeper else {**subscription, **_request(profile, options, environ)})
                runtime = _follow_events(channel, keeper, profile, reference, deadline, context)
                break
            view.step(name, "Waiting until an interrupted `up` is undone")
            wait_for_exit(state, name, ROLLBACK_TIMEOUT_S, context.cancelled)
        if options.workers:
            runtime = wait_for_workers(profile, options.workers, channel, context, options.timeout_s)
        view.done(name)
        if options.foreground:
            on_ready(runtime)
            _wait_until_down(channel, name, context)
        return runtime


class _KeeperExiting(Exception):
    """The keeper has lost its last client and is exiting."""


def _default_timeout_s(profile: Profile, options: Options) -> float:
    return (_within_s(profile, options) or profile.up_timeout_s) + KEEPER_GRACE_S


def _within_s(profile: Profile, options: Options) -> float | None:
    """The keeper's limit; None for the profile's. A move needs more time."""
    if options.timeout_s is None and options.consent.move:
        return profile.up_timeout_s + SNAPSHOTS_S
    return options.timeout_s


@contextmanager
def exclusive(name: str, deadline: Deadline, context: CommandContext) -> Iterator[None]:
    """Hold the lock of commands that start or stop this runtime. Raises ``LocalError`` ``busy`` or
    ``state-dir-unusable``."""
    path = context.state.file_path(name, "busy")
    if file_lock.is_locked(path):
        context.view.step(name, f"Waiting for another command on {name} to finish")
    with ExitStack() as stack:
        try:
            stack.enter_context(file_lock.locked(path, deadline.within(LOCK_TIMEOUT_S)))
        except DeadlinePassed as error:
            raise LocalError(
                "busy", f"Another command is using {name}", f"it did not finish within {LOCK_TIMEOUT_S:.0f} s"
            ) from error
        except OSError as error:
            raise store.not_writable_error(context.state, error) from error
        yield


def _start_keeper(
    reference: str, profile: Profile, options: Options, environ: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    keeper = launch.take_prestarted(reference) or launch.start_keeper(reference, environ)
    wanted = profile.overridden(options.port, options.extra)
    overrides = {key: value for key, value in _overrides(options).items() if value}
    text = profiles.to_yaml(wanted)
    launch.send(keeper, launch.LaunchRequest(wanted, text, overrides, _within_s(wanted, options), options.consent))
    return keeper


def _request(profile: Profile, options: Options, environ: Mapping[str, str]) -> Message:
    """The request to a keeper that runs already."""
    return {
        "name": profile.name,
        "profile": str(profile.path),
        **_overrides(options),
        "within_s": _within_s(profile, options),
        "consent": asdict(options.consent),
        "environ": {key: value for key, value in environ.items() if key.startswith(REFRESHED_VARIABLES)},
    }


def _overrides(options: Options) -> dict[str, Any]:
    return {"port": options.port, "extra": [asdict(extra) for extra in options.extra]}


def _connect(
    state: store.StateDir,
    name: str,
    keeper: subprocess.Popen[bytes] | None,
    deadline: Deadline,
    stack: ExitStack,
) -> ControlChannel:
    from ..state import ipc  # imported while the keeper starts

    start_deadline = deadline.within(KEEPER_START_TIMEOUT_S)
    while True:
        try:
            channel = stack.enter_context(ipc.connect(state, name, start_deadline))
            if keeper is not None and keeper.stderr is not None:
                keeper.stderr.close()
            return channel
        except (FileNotFoundError, ConnectionError, EOFError) as error:
            if keeper is None and not store.is_alive(state, name):
                raise _KeeperExiting from error
            if start_deadline.passed() or (keeper is not None and keeper.poll() is not None):
                raise _died_error(state, name, _exit_reason(keeper)) from error
        start_deadline.sleep(CONNECT_INTERVAL_S)


def _exit_reason(keeper: subprocess.Popen[bytes] | None) -> str:
    output = b"" if keeper is None or keeper.stderr is None or keeper.poll() is None else keeper.stderr.read()
    last_line = output.decode("utf-8", "replace").strip().rpartition("\n")[2]
    return f"it exited during startup: {last_line}" if last_line else "it exited during startup"


def _follow_events(
    channel: ControlChannel,
    keeper: subprocess.Popen[bytes] | None,
    profile: Profile,
    reference: str,
    deadline: Deadline,
    context: CommandContext,
) -> dict[str, Any]:
    """``keeper``: the process, if this command started it."""
    state, name, rollback_deadline = context.state, profile.name, Deadline(ROLLBACK_TIMEOUT_S)
    cancel_reason: RemoteRuntimeError | None = None
    current = is_changed = ""
    while True:
        try:
            if cancel_reason is None and (cancel_reason := cancel_reason_of(deadline, name)) is not None:
                rollback_deadline = Deadline(ROLLBACK_TIMEOUT_S)
                channel.send({"op": "cancel"})
            event = channel.receive(0.2) or {"event": "silence"}
            if event["event"] == "note":
                event = {**event, "text": fill_in_profile(event["text"], reference)}
            _handle_event(event, name, context.view, channel)
            if cancel_reason is None and event["event"] in ("step", "detail"):
                current = event["text"]
            is_changed = is_changed or event["event"] == "finish"
        except (EOFError, OSError) as error:
            if cancel_reason is None and (keeper is None or keeper.poll() == 0):
                raise _KeeperExiting from error
            raise _died_error(state, name, "it closed its connection; some resources may be left") from error
        if event["event"] == "ready" and cancel_reason is None:
            runtime = dict(event["runtime"])
            if not is_changed:
                context.view.finish(name, f"{name} is already running (up {duration_since(runtime['since'])})")
            return runtime
        if event["event"] == "failed":
            context.view.done(name)  # what failed is marked already: the last step undid something
            if event.get("abandoned") and cancel_reason is None:
                raise _KeeperExiting
            if event.get("ends"):
                wait_for_exit(state, name)
            if event.get("unused"):
                store.forget(state, name)
            raise failure_of(event, cancel_reason, current)
        if cancel_reason is not None and rollback_deadline.passed():
            raise _not_exiting_error(name)


def wait_for_exit(
    state: store.StateDir, name: str, timeout_s: float = KEEPER_EXIT_TIMEOUT_S, cancelled: threading.Event | None = None
) -> None:
    """Wait until the keeper's lock is free."""
    with ExitStack() as stack:
        try:
            stack.enter_context(file_lock.locked(state.file_path(name, "alive"), Deadline(timeout_s, cancelled)))
        except DeadlinePassed as error:
            raise _not_exiting_error(name) from error


def _not_exiting_error(name: str) -> LocalError:
    return LocalError(
        "keeper-unresponsive",
        f"Can't stop the background process of {name}",
        "it does not exit",
        "`remote-runtime down PROFILE --force`",
    )


def _handle_event(event: Message, name: str, view: View, channel: ControlChannel) -> None:
    kind = event["event"]
    if kind in PROGRESS_EVENTS:
        show_progress(event, name, view)
    elif kind == "ask":
        try:
            answer: str | None = view.prompt(name, event["prompt"], secret=event["secret"])
        except EOFError:
            answer = None
        channel.send({"op": "answer", "id": event["id"], "text": answer})
    elif kind == "bug":
        raise KeeperBug(event["log"])


def _wait_until_down(channel: ControlChannel, name: str, context: CommandContext) -> None:
    """Wait until the runtime is stopped, or stop it on Ctrl-C; report outages meanwhile. Raises ``LocalError``:
    ``keeper-died``, or ``left-behind`` when something could not be removed."""
    with suppress(EOFError, OSError):  # the keeper has exited; its state file says why
        while not context.cancelled.is_set():
            event = channel.receive(0.2)
            if event is not None and event["event"] == "outage":
                context.view.note(name, event["text"])
        context.view.step(name, f"Stopping {name}", f"Stopped {name}")
        channel.send({"op": "cancel"})
    wait_for_exit(context.state, name, ROLLBACK_TIMEOUT_S)
    context.view.done(name)
    leftover = store.load(context.state, name)
    if leftover is None:
        return
    if leftover.state != "down":
        raise _died_error(context.state, name, "another program killed it")
    raise LocalError(
        "left-behind",
        f"{name} is down, but some resources could not be cleaned up",
        leftover.why,
        "`remote-runtime down PROFILE`",
    )


def _died_error(state: store.StateDir, name: str, why: str) -> LocalError:
    log = state.file_path(name, "log")
    last_line = log_file.last_line(log)
    return LocalError(
        "keeper-died",
        f"The background process of {name} ended unexpectedly",
        f"{why}; the last line of its log: {last_line}" if last_line else why,
        "`remote-runtime up PROFILE` restarts it, `remote-runtime down PROFILE` cleans up",
    )
