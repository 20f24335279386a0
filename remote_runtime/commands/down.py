"""`down`: asks the keeper to stop its runtime, or stops it from the state file when there is no keeper."""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import ExitStack, closing
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Literal

from ..core.access import merge_keys
from ..core.deadline import Deadline
from ..core.errors import DeadlinePassed, LocalError, RemoteRuntimeError, UsageError, from_dict
from ..core.fast_dataclass import fast_dataclass
from ..core.model import Runtime
from ..state import ipc, store

if TYPE_CHECKING:
    from ..core.cluster import ClusterWorker
    from ..targets import Target
from .confirm_down import confirm_busy, confirm_deletion
from .context import PROGRESS_EVENTS, CommandContext, show_progress
from .status import require_known_name
from .up import exclusive, wait_for_exit

Action = Literal["stop", "suspend", "delete"]

DOWN_TIMEOUT_S = 420.0
CONNECT_TIMEOUT_S = 8.0
MAX_SILENCE_S = 150.0
MAX_SILENCE_WITH_FORCE_S = 30.0
STEP_MARGIN_S = 30.0


@fast_dataclass(frozen=True)
class DownOptions:
    """``instance``: overrides ``on_down.instance`` of the profile. ``stop_busy``: the user has confirmed that busy
    kernels end; ``yes``: that a VM is deleted."""

    keep_server: bool = False
    instance: Action | None = None
    purge: bool = False
    force: bool = False
    stop_busy: bool = False
    yes: bool = False


def down(name: str, options: DownOptions, context: CommandContext, *, named: bool = True) -> dict[str, Any]:
    """Returns an entry of ``stopped``, also for a runtime that is down already. ``named``: the user named the runtime,
    so a purge uses the profile that has this name now. Raises ``LocalError``: ``busy`` when kernels are busy and the
    user does not confirm, ``left-behind`` when something could not be removed."""
    state = context.state
    require_known_name(name, state, context.environ)
    if options.keep_server:
        _check_server_can_stay(name, state)
    deadline = context.deadline(DOWN_TIMEOUT_S)
    with exclusive(name, deadline, context):
        stopped = None
        if store.is_alive(state, name):
            stopped = _ask_keeper(name, options, context, deadline)
        if stopped is None:
            stopped = _clear_leftovers(name, options, context, named=named)
    context.view.done(name)
    remains = stopped.pop("remains")
    stopped.pop("elsewhere", None)
    if options.purge and not remains:
        store.save_last_run(state, name, replace(store.load_last_run(state, name), folder=False))
    if remains:
        raise LocalError(
            "left-behind",
            f"Stopped {name}, but some resources could not be cleaned up",
            "; ".join(remains),
            f"`remote-runtime down PROFILE{' --purge' * options.purge}` tries again; --force gives up on them",
        )
    return stopped


def _check_server_can_stay(name: str, state: store.StateDir) -> None:
    runtime = store.load_if_readable(state, name)
    if runtime is not None and runtime.target.get("kind") == "demo":
        raise UsageError(
            "usage",
            f"Can't keep Jupyter of {name} running",
            "the demo VM ends with its runtime",
            "`remote-runtime down PROFILE` stops both",
        )


def _ask_keeper(name: str, options: DownOptions, context: CommandContext, deadline: Deadline) -> dict[str, Any] | None:
    """None when the keeper exited meanwhile or was killed."""
    state = context.state
    with ExitStack() as stack:
        try:
            channel = stack.enter_context(ipc.connect(state, name, deadline.within(CONNECT_TIMEOUT_S)))
            channel.send({"op": "down", **asdict(options)})
            max_silence_s = MAX_SILENCE_WITH_FORCE_S if options.force else MAX_SILENCE_S
            silence_deadline = Deadline(max_silence_s)
            while True:
                event = channel.receive(0.5)
                if event is None:
                    _check_deadlines(deadline, silence_deadline, name)
                    continue
                if event["event"] == "limits" and not options.force:  # the profile's own limits are longer
                    max_silence_s = max(max_silence_s, event["step_s"] + STEP_MARGIN_S)
                    deadline = Deadline(max(deadline.remaining_s(), event["whole_s"]), deadline.cancelled)
                silence_deadline = Deadline(max_silence_s)
                if event["event"] in PROGRESS_EVENTS:
                    show_progress(event, name, context.view)
                elif event["event"] == "busy":
                    if not options.stop_busy:
                        confirm_busy(name, event["why"], context.view)
                    channel.send({"op": "go"})
                elif event["event"] == "confirm":
                    if not options.yes:
                        confirm_deletion(name, event["question"], context.view)
                    channel.send({"op": "go"})
                elif event["event"] == "refused":
                    raise from_dict(event["error"])
                elif event["event"] == "stopped":
                    wait_for_exit(state, name)
                    return {key: value for key, value in event.items() if key != "event"}
        except (FileNotFoundError, ConnectionError, EOFError):
            wait_for_exit(state, name)
            return None
        except LocalError as error:
            if error.code != "keeper-unresponsive" or not options.force:
                raise
            _kill_keeper(state, name)
            return None


def _clear_leftovers(name: str, options: DownOptions, context: CommandContext, *, named: bool) -> dict[str, Any]:
    state, view = context.state, context.view
    nothing_left = {"name": name, "tunnel": False, "server": "unknown", "instance": None, "remains": []}
    try:
        runtime = store.load(state, name)
    except LocalError:
        if not options.force:
            raise
        runtime = None
    if runtime is None and options.instance == "delete" and (left := _created_runtime(name, context)) is not None:
        return _take_down(left, options, context, no_server=True)
    if runtime is None:
        _remove_stray_demo(state, name)
        store.remove_files(state, name)
        if _is_demo(name, context):
            nothing_left["server"] = "gone"  # a demo machine is a process of this computer
        if options.purge:
            from . import ssh as machine

            remains = _purge(name, context, named=named)
            machine.remove_keys(name, store.load_last_run(state, name).keys, context)
            for what in remains if options.force else ():
                view.note(name, f"left behind: {what}")
            return {**nothing_left, "remains": [] if options.force else remains}
        return nothing_left
    stopped = _take_down(runtime, options, context)
    attached = runtime.server is not None and runtime.server.attached
    if stopped["server"] == "kept" and not attached and not stopped["remains"]:
        return stopped  # the state file stays for the next `down`
    if options.force or not stopped["remains"]:
        for what in stopped["remains"]:
            view.note(name, f"left behind: {what}")
        store.remove_files(state, name)
        stopped["remains"] = []
        if stopped.get("elsewhere"):
            store.assign_new_client_id(state, name)
    return stopped


def _take_down(
    runtime: Runtime, options: DownOptions, context: CommandContext, *, no_server: bool = False
) -> dict[str, Any]:
    from .. import profiles, ssh
    from ..core.documents import take_down_document
    from ..lifecycle.cluster_end import ClusterEnd
    from ..lifecycle.resources import Resources
    from ..lifecycle.take_down import TakeDown, TakeDownOptions
    from ..targets import open_target

    state, name = context.state, runtime.name

    def confirm(why: str) -> bool:
        if not options.stop_busy:
            confirm_busy(name, why, context.view)
        return True

    def confirm_delete(question: str) -> bool:
        if not options.yes:
            confirm_deletion(name, question, context.view)
        return True

    def open_worker(worker: ClusterWorker) -> Target:
        profile = profiles.parse_profile(worker.name, worker.profile_path, worker.profile_text)
        return open_target(profile, state, context.environ, keys)

    profile, keys = profiles.parse_profile(name, runtime.profile_path, runtime.profile_text), ssh.Keys()
    progress, prompt = context.progress(name), context.prompt(name)
    last_run = store.load_last_run(state, name)  # it has keys that an earlier `down` could not remove
    stopped = TakeDown(
        replace(runtime, keys=merge_keys(runtime.keys, last_run.keys)),
        Resources(),
        open_target(profile, state, context.environ, keys),
        TakeDownOptions(options.keep_server, options.instance, options.purge, no_server=no_server, force=options.force),
        progress=progress,
        prompt=prompt,
        confirm=confirm,
        confirm_deletion=confirm_delete,
        record=lambda installed: store.save_last_run(state, name, replace(last_run, keys=installed)),
        cluster_end=ClusterEnd(lambda: runtime, open_worker, progress, prompt) if runtime.cluster else None,
    ).run()
    return {**take_down_document(stopped), "tunnel": False}


def _created_runtime(name: str, context: CommandContext) -> Runtime | None:
    """A runtime that is down and whose VM `up` created: an earlier `down` has kept the VM. None if it does not exist.
    Raises ``CloudError`` ``not-created-here``."""
    from .. import profiles, ssh
    from ..targets import open_target
    from .profile_reference import load_profile

    profile, client_id = load_profile(name, context), store.load_last_run(context.state, name).client_id
    target = open_target(profile, context.state, context.environ, ssh.Keys())
    context.view.step(name, "Finding the VM")
    deadline = context.deadline(profile.timeouts.instance_s)
    instance = target.find_created(client_id, progress=context.progress(name), deadline=deadline)
    if instance is None:
        return None
    text = profiles.to_yaml(profile)
    return Runtime(name, str(profile.path), profile.target_fields(), client_id, text, instance=instance)


def _purge(name: str, context: CommandContext, *, named: bool) -> list[str]:
    """Remove the remote-runtime directory that an earlier `down` left on the profile's machine.

    Returns a description of what remains."""
    state = context.state
    if not (state.file_path(name, "port").exists() and store.load_last_run(state, name).folder):
        return []  # never up from here, or nothing is left
    from .. import profiles
    from ..jupyter import server
    from . import ssh as machine
    from .profile_reference import profile_file, profile_reference

    try:
        reference = profile_reference(name, state, context.environ) if named else profile_file(name, state)
        profile = profiles.load(reference, environ=context.environ)
        if profile.target.kind == "demo":
            return []  # the machine ended with its runtime
        with closing(machine.connect(profile, context)) as session:
            context.view.step(name, "Removing the remote-runtime directory")
            purged = server.purge(session.run, profile.jupyter, deadline=context.deadline(profile.timeouts.jupyter_s))
    except RemoteRuntimeError as error:
        return [] if error.code == "instance-not-found" else [f"the remote-runtime directory may remain: {error}"]
    return [] if purged.done else [f"the remote-runtime directory is in use by {', '.join(purged.alive)}"]


def _is_demo(name: str, context: CommandContext) -> bool:
    from .profile_reference import load_profile

    try:
        return load_profile(name, context).target.kind == "demo"
    except RemoteRuntimeError:
        return False


def _remove_stray_demo(state: store.StateDir, name: str) -> None:
    """A demo machine exits when its folder is removed."""
    home = state.file_path(name, "machine")
    if home.exists():
        shutil.rmtree(home, ignore_errors=True)  # the machine removes its files at the same time


def _check_deadlines(deadline: Deadline, silence_deadline: Deadline, name: str) -> None:
    deadline.check()
    if silence_deadline.passed():
        raise LocalError(
            "keeper-unresponsive",
            f"The background process of {name} does not respond",
            f"no reply in {silence_deadline.timeout_s:.0f} s",
            "`remote-runtime down PROFILE --force` ends it",
        )
    if deadline.passed():
        raise DeadlinePassed(
            f"Stopping {name} took more than {deadline.timeout_s:.0f} s", "", "--force stops it at once"
        )


def _kill_keeper(state: store.StateDir, name: str) -> None:
    """The keeper holds its lock, so the pid in the state file is its own."""
    runtime = store.load_if_readable(state, name)
    if runtime is None or not store.is_alive(state, name):
        return
    os.kill(runtime.keeper_pid, getattr(signal, "SIGKILL", signal.SIGTERM))
    wait_for_exit(state, name)
