"""`up`: start a keeper, or join the one that is at work, and relay its story until the runtime is ready."""

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
from ..core.errors import DeadlinePassed, Interrupted, KeeperBug, LocalError, RemoteRuntimeError, from_dict
from ..core.frozen import dataclass
from ..core.model import Profile
from ..core.profile import ExtraForward
from ..state import launch, launch_request, log_file, store
from .ui import View

if TYPE_CHECKING:
    from ..state.ipc import Channel, Message

START_S = 20.0
BUSY_S = 30.0
PASSED_ON = ("SSH_AUTH_SOCK", "CLOUDSDK_", "GOOGLE_")  # what a keeper that lives for days takes over from a new `up`
END_S = 15.0
UNDO_S = 420.0
JOIN_EVERY_S = 0.005
PATIENCE_S = 60.0  # beyond the profile's own limits: the keeper is the one who ends the story


@dataclass(frozen=True)
class Options:
    port: int | None = None
    extra: tuple[ExtraForward, ...] = ()
    foreground: bool = False
    timeout_s: float | None = None


def up(
    reference: str,
    options: Options,
    *,
    state: store.StateDir,
    environ: Mapping[str, str],
    view: View,
    called_off: threading.Event,
    on_ready: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """RUNTIME when it is ready. With ``foreground`` stays until it is taken down, after ``on_ready(RUNTIME)``.

    Raises ``RemoteRuntimeError``; ``Interrupted`` when called off, everything undone; ``KeeperBug``.
    """
    profile = profiles.load(reference, environ=environ)
    name = profile.name
    view.note(name, f"Profile {name} ({profile.path})")
    deadline = Deadline(options.timeout_s or _patience_s(profile), called_off)
    message = {
        "op": "up",
        "name": name,
        "profile": str(profile.path),
        "port": options.port,
        "extra": [asdict(extra) for extra in options.extra],
        "within_s": options.timeout_s,
        "interactive": view.interactive,
        "foreground": options.foreground,
        "environ": {key: value for key, value in environ.items() if key.startswith(PASSED_ON)},
    }
    with ExitStack() as stack:
        stack.callback(view.failed, name)
        while True:
            with suppress(_EndedBefore):
                with sole(state, name, deadline, view):
                    child = None
                    if not store.is_alive(state, name):
                        store.check_writable(state)
                        wanted = profile.overridden(options.port, options.extra)
                        child = _start_keeper(reference, message, wanted, environ)
                    channel = _join(state, name, child, deadline, stack)
                    channel.send(message)
                runtime = _relay(channel, child, profile, reference, view, deadline, state)
                break
            view.step(name, "Waiting for an `up` that was interrupted to be undone")
            wait_for_end(state, name, UNDO_S, called_off)
        view.done(name)
        if options.foreground:
            on_ready(runtime)
            _stay(channel, name, view, called_off, state)
        return runtime


class _EndedBefore(Exception):
    """The keeper that was joined had nobody left to work for, and was at its end already."""


def _patience_s(profile: Profile) -> float:
    return profile.timeouts.whole_s + PATIENCE_S


@contextmanager
def sole(state: store.StateDir, name: str, deadline: Deadline, view: View) -> Iterator[None]:
    """While one command starts or ends this runtime, the others wait. Raises ``LocalError`` ``busy`` or
    ``state-dir-unusable``."""
    path = state.of(name, "busy")
    if file_lock.is_held(path):
        view.step(name, f"Waiting for another command that works on {name}")
    with ExitStack() as stack:
        try:
            stack.enter_context(file_lock.held(path, deadline.shorter(BUSY_S)))
        except DeadlinePassed as error:
            raise LocalError("busy", f"Another command works on {name}", f"it did not end in {BUSY_S:.0f} s") from error
        except OSError as error:
            raise store.unwritable(state, error) from error
        yield


def _start_keeper(
    reference: str, message: Message, profile: Profile, environ: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    child = launch.take(reference) or launch.begin(reference, environ)
    launch_request.give(child, launch_request.Errand(message, profile, profiles.as_yaml(profile)))
    return child


def _join(
    state: store.StateDir,
    name: str,
    child: subprocess.Popen[bytes] | None,
    deadline: Deadline,
    stack: ExitStack,
) -> Channel:
    from ..state import ipc  # by now the keeper is starting

    limit = deadline.shorter(START_S)
    while True:
        try:
            channel = stack.enter_context(ipc.connected(state, name, limit))
            if child is not None and child.stderr is not None:
                child.stderr.close()
            return channel
        except (FileNotFoundError, ConnectionError, EOFError) as error:
            if child is None and not store.is_alive(state, name):
                raise _EndedBefore from error
            if limit.passed() or (child is not None and child.poll() is not None):
                raise _died(state, name, _why_ended(child)) from error
        limit.pause(JOIN_EVERY_S)


def _why_ended(child: subprocess.Popen[bytes] | None) -> str:
    said = b"" if child is None or child.stderr is None or child.poll() is None else child.stderr.read()
    last = said.decode("utf-8", "replace").strip().rpartition("\n")[2]
    return f"it ended before it answered: {last}" if last else "it ended before it answered"


def _relay(
    channel: Channel,
    child: subprocess.Popen[bytes] | None,
    profile: Profile,
    reference: str,
    view: View,
    deadline: Deadline,
    state: store.StateDir,
) -> dict[str, Any]:
    """``child``: the keeper, if this command began it."""
    name, undone = profile.name, Deadline(UNDO_S)
    reason: RemoteRuntimeError | None = None
    while True:
        try:
            if reason is None and (reason := _called_off(deadline, name)) is not None:
                undone = Deadline(UNDO_S)
                channel.send({"op": "cancel"})
            event = channel.receive(0.2) or {"event": "silence"}
            if event["event"] == "note":
                event = {**event, "text": profiles.by_path(event["text"], reference)}
            _show(event, name, view, channel)
        except (EOFError, OSError) as error:
            if reason is None and (child is None or child.poll() == 0):
                raise _EndedBefore from error
            raise _died(state, name, "its connection ended; what it had started may still be there") from error
        if event["event"] == "ready" and reason is None:
            return dict(event["runtime"])
        if event["event"] == "failed":
            if event.get("abandoned") and reason is None:
                raise _EndedBefore
            if event.get("ends"):
                wait_for_end(state, name)
            raise _failure(event, reason, name)
        if reason is not None and undone.passed():
            raise _does_not_end(name)


def _called_off(deadline: Deadline, name: str) -> RemoteRuntimeError | None:
    if deadline.called_off.is_set():
        return Interrupted(f"`up {name}` was interrupted")
    if deadline.passed():
        return DeadlinePassed(
            f"`up {name}` took more than {deadline.within_s:.0f} s",
            hint="--timeout SECONDS gives it more time",
        )
    return None


def wait_for_end(
    state: store.StateDir, name: str, within_s: float = END_S, called_off: threading.Event | None = None
) -> None:
    """A keeper that has said goodbye, or broke off, is gone in a moment: wait until its lock is free."""
    with ExitStack() as stack:
        try:
            stack.enter_context(file_lock.held(state.of(name, "alive"), Deadline(within_s, called_off)))
        except DeadlinePassed as error:
            raise _does_not_end(name) from error


def _does_not_end(name: str) -> LocalError:
    return LocalError(
        "keeper-unresponsive",
        f"The background process of {name} does not end",
        "",
        f"`remote-runtime down {name} --force` ends it",
    )


def _show(event: Message, name: str, view: View, channel: Channel) -> None:
    kind = event["event"]
    if kind == "step":
        view.step(name, event["text"])
    elif kind == "detail":
        view.detail(name, event["text"])
    elif kind == "note":
        view.note(name, event["text"])
    elif kind == "ask":
        try:
            answer: str | None = view.ask(name, event["prompt"], secret=event["secret"])
        except EOFError:
            answer = None
        channel.send({"op": "answer", "id": event["id"], "text": answer})
    elif kind == "bug":
        raise KeeperBug(event["log"])


def _failure(event: Message, reason: RemoteRuntimeError | None, name: str) -> RemoteRuntimeError:
    error = from_dict(event["error"])
    if reason is not None and (event.get("undone") or error.code in ("interrupted", "deadline-passed")):
        reason.why = "what it had started is undone" if event.get("undone") else error.why
        error = reason
    if event["remains"]:
        if error is reason:
            error.why = ""
        error.why = f"{error.why or error.what}; still there: {'; '.join(event['remains'])}"
        error.hint = error.hint or "`remote-runtime down` tries again to take it away"
    if error is not reason:
        error.hint = error.hint or f"`remote-runtime doctor {name}` checks every step"
    return error


def _stay(channel: Channel, name: str, view: View, called_off: threading.Event, state: store.StateDir) -> None:
    """Until somebody takes it down, or this command is interrupted, which takes it down too.

    Raises ``LocalError``: ``keeper-died``, or ``left-behind`` when something could not be taken away.
    """
    with suppress(EOFError, OSError):  # the keeper has ended; its file says how
        while not called_off.is_set():
            channel.receive(0.2)
        view.step(name, f"Taking {name} down")
        channel.send({"op": "cancel"})
    wait_for_end(state, name, UNDO_S)
    view.done(name)
    left = store.load(state, name)
    if left is None:
        return
    if left.state != "down":
        raise _died(state, name, "it was ended from outside")
    raise LocalError(
        "left-behind",
        f"{name} is down here, but not everything could be taken away",
        left.why,
        f"`remote-runtime down {name}` tries again",
    )


def _died(state: store.StateDir, name: str, why: str) -> LocalError:
    log = state.of(name, "log")
    last = log_file.last_line(log)
    return LocalError(
        "keeper-died",
        f"The background process of {name} ended unexpectedly",
        f"{why}; its log ends with: {last}" if last else why,
        f"`remote-runtime logs {name}` shows more; `remote-runtime up {name}` starts it again, "
        f"`remote-runtime down {name}` cleans up",
    )
