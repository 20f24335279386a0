"""`doctor`: checks a profile or this computer, and changes nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ... import profiles, ssh
from ...core.errors import LocalError, RemoteRuntimeError, from_code
from ...core.model import Finding, Runtime
from ...core.profile import Profile
from ...state import store
from ...state.ipc import uncounted_connector
from ...state.log_file import tail
from ...targets import open_target
from ..context import CommandContext
from ..logs import read_log
from ..profile_reference import load_profile, profile_reference
from ..status import read_status, status
from . import dry_run, issue_report, local_checks, running_checks
from .checklist import Checklist

CHECKS_TIMEOUT_S = 120.0  # for the checks after `up`
MAX_LOG_LINES = 200


def doctor(
    reference: str | None,
    context: CommandContext,
    *,
    on_finding: Callable[[Finding], None],
    report_to: Path | None,
    force: bool,
) -> dict[str, Any]:
    """Returns ``{"profile", "ok", "findings"}``; calls ``on_finding`` with each finding. Raises ``Interrupted``, and
    ``UsageError`` when the report's file exists."""
    if report_to is not None:
        issue_report.check_path(report_to, force=force)
    state, environ, view = context.state, context.environ, context.view
    name = profiles.name_of(reference) if reference else ""

    command_reference = profile_reference(reference, state, environ) if reference else ""
    checklist = Checklist(command_reference, on_finding, lambda text: view.step(name, text))
    profile = None
    if reference is None:
        statuses = status([], state, environ)
        local_checks.check_computer(checklist, state, environ, statuses)
    else:
        profile = _load(checklist, reference, context)
        if profile is not None:
            _check_profile(profile, checklist, context)
    view.done(name)
    if report_to is not None:
        view.step(name, "Writing the report")
        issue_report.write(report_to, _report(name, checklist, profile, context))
        view.done(name)
    return {"profile": name or None, "ok": checklist.passed, "findings": checklist.findings}


def _load(checklist: Checklist, reference: str, context: CommandContext) -> Profile | None:
    profile = checklist.step_value(
        ["profile"],
        lambda: load_profile(reference, context),
        lambda loaded: {"profile": f"{loaded.name} ({profiles.source(loaded.path)})"},
    )
    if profile is None:
        checklist.skip(*dry_run.ALL_CHECKS)
    return profile


def _check_profile(profile: Profile, checklist: Checklist, context: CommandContext) -> None:
    """Check the runtime if it is running, else do a dry run of `up`."""
    name, state, view = profile.name, context.state, context.view
    view.step(name, "Checking what is running")
    now = read_status(state, name)
    try:
        runtime = store.load(state, name)
    except LocalError as error:
        checklist.fail("keeper", error)
        runtime = None
    if store.is_alive(state, name) and runtime is not None:
        used = profiles.parse_profile(name, runtime.profile_path, runtime.profile_text)
        view.step(name, "Verifying the connection")
        deadline = context.deadline(used.timeouts.ready_s + CHECKS_TIMEOUT_S)
        connector = uncounted_connector(name, state)
        running_checks.check_running(checklist, used, runtime, now, deadline, connect_uncounted=connector)
    else:
        if runtime is not None:
            _report_leftovers(runtime, now, checklist)
        keys = ssh.Keys()
        dry_run.DryRun(
            profile=profile,
            open_target=lambda profile: open_target(profile, state, context.environ, keys),
            checklist=checklist,
            prompt=context.prompt(name),
            on_step=lambda text: view.step(name, text),
            leftover=runtime,
            last_run=store.load_last_run(state, name),
            deadline=context.deadline(profile.timeouts.total_s + CHECKS_TIMEOUT_S),
        ).run()
    local_checks.add_browser_notes(checklist)


def _report_leftovers(runtime: Runtime, status: Mapping[str, Any], checklist: Checklist) -> None:
    if runtime.state == "down":
        checklist.warn(
            "keeper",
            f"{runtime.name} is down, but not cleaned up",
            status["why"],
            "`remote-runtime up PROFILE` recovers it, `remote-runtime down PROFILE` cleans up",
        )
        return
    what = f"The background process of {runtime.name} ended unexpectedly"
    why = "what it had started may still be there" if runtime.unfinished else "Jupyter may still be running"
    checklist.fail("keeper", LocalError("keeper-died", what, why))


def _report(name: str, checklist: Checklist, profile: Profile | None, context: CommandContext) -> str:
    state, environ = context.state, context.environ
    names = [each for each in store.list_names(state) if name in ("", each)]
    logs: dict[str, list[str]] = {"Bugs": tail(state.path / "bugs.log", MAX_LOG_LINES)}
    for each in [name] if name else names:
        logs[f"Log of {each}"] = tail(state.file_path(each, "log"), MAX_LOG_LINES)
        if store.is_alive(state, each):
            logs[f"Jupyter's log of {each}"] = _server_log(each, state)
    return issue_report.compose(
        checklist.findings,
        versions={**local_checks.versions(), "OpenSSH": local_checks.openssh_version(environ) or "not installed"},
        profile=profile,
        runtimes=status(names, state, environ) if names else [],
        logs=logs,
        state=state,
        environ=environ,
    )


def _server_log(name: str, state: store.StateDir) -> list[str]:
    try:
        return list(read_log(name, server=True, follow=False, state=state, stop=threading.Event()))
    except RemoteRuntimeError as error:
        return [f"can't be read: {error}"]


def exit_code(findings: list[Finding]) -> int:
    """The exit code that `up` would have had with the first failure."""
    first = next((finding for finding in findings if finding.verdict == "failed"), None)
    return from_code(first.code, first.what).exit_code if first else 0
