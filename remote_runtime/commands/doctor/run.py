"""`doctor`: every check of a profile's path in order, or of this computer; it changes nothing."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ... import profiles, ssh
from ...core.deadline import Deadline
from ...core.errors import LocalError, RemoteRuntimeError, from_code
from ...core.model import Finding, Profile, Runtime
from ...state import store
from ...state.log_file import tail
from ...state.quietly import uncounted_connector
from ...targets.gce import Machines
from ..logs import read_log
from ..profile_reference import profile_reference, with_runnable_commands
from ..status import read_status
from ..ui import View
from . import dry_run, issue_report, local_checks, running_checks
from .checklist import Checklist

CHECKS_TIMEOUT_S = 120.0  # for what comes after Jupyter
MAX_LOG_LINES = 200


def doctor(
    reference: str | None,
    *,
    found: Callable[[Finding], None],
    report_to: Path | None,
    force: bool,
    state: store.StateDir,
    environ: Mapping[str, str],
    view: View,
    called_off: threading.Event,
) -> dict[str, Any]:
    """``{"profile", "ok", "findings"}``; ``found`` is told each finding as it is made.

    Raises ``Interrupted``, and ``UsageError`` when the report's file is there already.
    """
    if report_to is not None:
        issue_report.check_path(report_to, force=force)
    name = profiles.name_of(reference) if reference else ""

    def say(text: str, of: str) -> str:
        return with_runnable_commands(text, of, state, environ)

    references = [reference] if reference else store.list_names(state)
    checklist = Checklist(name, found, lambda text: functools.reduce(say, references, text))
    profile = None
    if reference is None:
        local_checks.check_computer(
            checklist, state, environ, [read_status(state, each) for each in store.list_names(state)]
        )
    else:
        profile = _load(checklist, profile_reference(reference, state, environ), environ)
        if profile is not None:
            _ProfileCheck(profile, checklist, state, environ, view, called_off).run()
    view.done(name)
    if report_to is not None:
        view.step(name, "Writing the report")
        issue_report.write(report_to, _report(name, checklist, profile, state, environ))
        view.done(name)
    return {"profile": name or None, "ok": checklist.passed, "findings": checklist.findings}


def _report(
    name: str, checklist: Checklist, profile: Profile | None, state: store.StateDir, environ: Mapping[str, str]
) -> str:
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
        runtimes=[read_status(state, each) for each in names],
        logs=logs,
        state=state,
        environ=environ,
    )


def _server_log(name: str, state: store.StateDir) -> list[str]:
    try:
        return list(read_log(name, server=True, follow=False, state=state, stop=threading.Event()))
    except RemoteRuntimeError as error:
        return [f"it cannot be read: {error}"]


def _load(checklist: Checklist, reference: str, environ: Mapping[str, str]) -> Profile | None:
    loaded: list[Profile] = []

    def load() -> Mapping[str, str]:
        profile = profiles.load(reference, environ=environ)
        loaded.append(profile)
        return {"profile": f"{profile.name} ({profile.path})"}

    if checklist.step(["profile"], load) is not None:
        checklist.skip(*dry_run.ALL_CHECKS)
    return loaded[0] if loaded else None


class _ProfileCheck:
    def __init__(
        self,
        profile: Profile,
        checkup: Checklist,
        state: store.StateDir,
        environ: Mapping[str, str],
        view: View,
        called_off: threading.Event,
    ) -> None:
        self._profile = profile
        self._checklist = checkup
        self._state = state
        self._environ = environ
        self._view = view
        self._cancelled = called_off

    def run(self) -> None:
        name = self._profile.name
        self._view.step(name, "Looking at what is up")
        status = read_status(self._state, name)
        runtime = self._load_runtime()
        if store.is_alive(self._state, name) and runtime is not None:
            profile = profiles.parse_profile(name, runtime.profile_path, runtime.profile_text)
            self._view.step(name, "Checking the path as Colab will use it")
            deadline = Deadline(profile.timeouts.ready_s + CHECKS_TIMEOUT_S, self._cancelled)
            running_checks.check_running(
                self._checklist,
                profile,
                runtime,
                status,
                deadline,
                connect_uncounted=uncounted_connector(name, self._state),
            )
        else:
            self._report_leftovers(runtime, status)
            self._dry_run(runtime)
        local_checks.add_browser_notes(self._checklist)

    def _load_runtime(self) -> Runtime | None:
        try:
            return store.load(self._state, self._profile.name)
        except LocalError as error:
            self._checklist.fail("keeper", error)
            return None

    def _report_leftovers(self, runtime: Runtime | None, status: Mapping[str, Any]) -> None:
        if runtime is None:
            return
        if runtime.state == "down":
            self._checklist.warn(
                "keeper",
                f"{runtime.name} is down, and something of it may be left",
                status["why"],
                "`remote-runtime up PROFILE` takes it over, `remote-runtime down PROFILE` clears it",
            )
            return
        what = f"The background process of {runtime.name} ended unexpectedly"
        why = "what it had started may still be there" if runtime.unfinished else "its server may still run"
        self._checklist.fail("keeper", LocalError("keeper-died", what, why))

    def _dry_run(self, runtime: Runtime | None) -> None:
        profile, limits = self._profile, self._profile.timeouts
        dry_run_checks = dry_run.DryRun(
            profile=profile,
            machines=Machines(self._state, self._environ, ssh.Keys()),
            checklist=self._checklist,
            prompt=self._prompt,
            on_step=lambda text: self._view.step(profile.name, text),
            leftover=runtime,
            last_run=store.load_last_run(self._state, profile.name),
        )
        timeout_s = limits.total_s + CHECKS_TIMEOUT_S
        dry_run_checks.run(Deadline(timeout_s, self._cancelled))

    def _prompt(self, prompt: str, *, secret: bool, code: str) -> str:
        try:
            return self._view.ask(self._profile.name, prompt, secret=secret)
        except EOFError as error:
            raise from_code(code, f"An answer is needed: {prompt}", "no terminal is there to ask on") from error


def exit_code(findings: list[Finding]) -> int:
    """That of the first failure, as if `up` had met it."""
    first = next((finding for finding in findings if finding.verdict == "failed"), None)
    return from_code(first.code, first.what).exit_code if first else 0
