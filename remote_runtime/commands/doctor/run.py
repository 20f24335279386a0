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
from ...state.quietly import quietly
from ...targets.gce import Machines
from ..logs import read
from ..profile_reference import reference_of, spoken
from ..status import look
from ..ui import View
from . import browsers, dry_run, issue_report, local_checks, running_checks
from .checklist import Checkup

CHECKING_S = 120.0  # for what comes after Jupyter
LOG_LINES = 200


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
        issue_report.check_place(report_to, force=force)
    name = profiles.name_of(reference) if reference else ""

    def say(text: str, of: str) -> str:
        return spoken(text, of, state, environ)

    about = [reference] if reference else store.names(state)
    checkup = Checkup(name, found, lambda text: functools.reduce(say, about, text))
    profile = None
    if reference is None:
        local_checks.look(checkup, state, environ, [look(state, each) for each in store.names(state)])
    else:
        profile = _load(checkup, reference_of(reference, state, environ), environ)
        if profile is not None:
            _Visit(profile, checkup, state, environ, view, called_off).make()
    view.done(name)
    if report_to is not None:
        view.step(name, "Writing the report")
        issue_report.write(report_to, _report(name, checkup, profile, state, environ))
        view.done(name)
    return {"profile": name or None, "ok": checkup.ok, "findings": checkup.findings}


def _report(
    name: str, checkup: Checkup, profile: Profile | None, state: store.StateDir, environ: Mapping[str, str]
) -> str:
    there = [each for each in store.names(state) if name in ("", each)]
    logs: dict[str, list[str]] = {"Bugs": tail(state.path / "bugs.log", LOG_LINES)}
    for each in [name] if name else there:
        logs[f"Log of {each}"] = tail(state.of(each, "log"), LOG_LINES)
        if store.is_alive(state, each):
            logs[f"Jupyter's log of {each}"] = _server_log(each, state)
    return issue_report.compose(
        checkup.findings,
        versions={**local_checks.versions(), "OpenSSH": local_checks.openssh(environ) or "not installed"},
        profile=profile,
        runtimes=[look(state, each) for each in there],
        logs=logs,
        state=state,
        environ=environ,
    )


def _server_log(name: str, state: store.StateDir) -> list[str]:
    try:
        return list(read(name, server=True, follow=False, state=state, stop=threading.Event()))
    except RemoteRuntimeError as error:
        return [f"it cannot be read: {error}"]


def _load(checkup: Checkup, reference: str, environ: Mapping[str, str]) -> Profile | None:
    loaded: list[Profile] = []

    def load() -> Mapping[str, str]:
        profile = profiles.load(reference, environ=environ)
        loaded.append(profile)
        return {"profile": f"{profile.name} ({profile.path})"}

    if checkup.step(["profile"], load) is not None:
        checkup.skip(*dry_run.EVERY)
    return loaded[0] if loaded else None


class _Visit:
    def __init__(
        self,
        profile: Profile,
        checkup: Checkup,
        state: store.StateDir,
        environ: Mapping[str, str],
        view: View,
        called_off: threading.Event,
    ) -> None:
        self._profile = profile
        self._checkup = checkup
        self._state = state
        self._environ = environ
        self._view = view
        self._called_off = called_off

    def make(self) -> None:
        name = self._profile.name
        self._view.step(name, "Looking at what is up")
        now = look(self._state, name)
        runtime = self._known()
        if store.is_alive(self._state, name) and runtime is not None:
            used = profiles.restore(name, runtime.profile_path, runtime.profile_text)
            self._view.step(name, "Checking the path as Colab will use it")
            deadline = Deadline(used.timeouts.ready_s + CHECKING_S, self._called_off)
            running_checks.look(self._checkup, used, runtime, now, deadline, quietly=quietly(name, self._state))
        else:
            self._tell_what_is_left(runtime, now)
            self._travel(runtime)
        browsers.tell(self._checkup)

    def _known(self) -> Runtime | None:
        try:
            return store.load(self._state, self._profile.name)
        except LocalError as error:
            self._checkup.fails("keeper", error)
            return None

    def _tell_what_is_left(self, runtime: Runtime | None, now: Mapping[str, Any]) -> None:
        if runtime is None:
            return
        if runtime.state == "down":
            self._checkup.warn(
                "keeper",
                f"{runtime.name} is down, and something of it may be left",
                now["why"],
                "`remote-runtime up PROFILE` takes it over, `remote-runtime down PROFILE` clears it",
            )
            return
        what = f"The background process of {runtime.name} ended unexpectedly"
        why = "what it had started may still be there" if runtime.unfinished else "its server may still run"
        self._checkup.fails("keeper", LocalError("keeper-died", what, why))

    def _travel(self, runtime: Runtime | None) -> None:
        profile, limits = self._profile, self._profile.timeouts
        trip = dry_run.Journey(
            profile=profile,
            machines=Machines(self._state, self._environ, ssh.Keys()),
            checkup=self._checkup,
            ask=self._ask,
            show=lambda text: self._view.step(profile.name, text),
            left=runtime,
            remembered=store.remembered(self._state, profile.name),
        )
        within_s = limits.whole_s + CHECKING_S
        trip.make(Deadline(within_s, self._called_off))

    def _ask(self, prompt: str, *, secret: bool, code: str) -> str:
        try:
            return self._view.ask(self._profile.name, prompt, secret=secret)
        except EOFError as error:
            raise from_code(code, f"An answer is needed: {prompt}", "no terminal is there to ask on") from error


def exit_code(findings: list[Finding]) -> int:
    """That of the first failure, as if `up` had met it."""
    first = next((finding for finding in findings if finding.verdict == "failed"), None)
    return from_code(first.code, first.what).exit_code if first else 0
