"""The findings of one visit, in order. A check that fails takes along those that need it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ...core.errors import CODES, RemoteRuntimeError, advised
from ...core.frozen import dataclass
from ...core.model import Finding

# Where an error is told, when the step that raised it has such a check; else its ``MAIN`` one has failed.
PLACES: Mapping[str, str] = {
    "no-credentials": "credentials",
    "cloud-unreachable": "credentials",
    "instance-not-found": "instance",
    "instance-ambiguous": "instance",
    "instance-stopped": "instance",
    "instance-not-startable": "instance",
    "quota-exceeded": "instance",
    "no-address": "instance",
    "permission-denied": "instance",
    "demo-failed": "instance",
    "firewall-blocked": "firewall",
    "os-login-required": "login",
    "ssh-unreachable": "ssh",
    "ssh-refused": "ssh",
    "ssh-config-unsupported": "ssh",
    "iap-refused": "ssh",
    "iap-backend-unreachable": "ssh",
    "iap-unreachable": "ssh",
    "host-key-unknown": "host-key",
    "host-key-changed": "host-key",
    "no-usable-key": "login",
    "key-not-added": "login",
    "passphrase-needed": "login",
    "two-factor-needed": "login",
    "python-missing": "interpreter",
    "machine-answer-invalid": "interpreter",
    "jupyter-missing": "jupyter",
    "jupyter-install-failed": "jupyter",
    "jupyter-did-not-start": "jupyter",
    "disk-full": "jupyter",
    "folder-unusable": "jupyter",
    "program-missing": "jupyter",
    "machine-busy": "jupyter",
    "attach-not-found": "jupyter",
    "attach-without-token": "jupyter",
    "attach-unfit": "cors",
    "bridge-not-loaded": "bridge",
    "not-answering": "answer",
    "jupyter-stuck": "answer",
    "stranger-answered": "answer",
    "token-refused": "token",
    "token-not-required": "token",
    "origin-refused": "cors",
}
MAIN = ("instance", "ssh", "jupyter")
# A login that runs no command is found out by the one who asks for Python.
ELSEWHERE: Mapping[str, str] = {"ssh-refused": "interpreter"}
# Nothing of the machine has answered: what lies before it was not seen.
SILENT = ("ssh-unreachable", "iap-backend-unreachable", "iap-unreachable", "iap-refused")
# Advice to run doctor, for who does.
_DOCTOR = re.compile(r"`?remote-runtime doctor\b(?! --report| \S+ --report)[^`;.]*`?[^;.]*(?:[;.]\s*|$)")
# What holds when a later check of the same step is the one that fails.
HOLDS: Mapping[str, str] = {
    "credentials": "accepted",
    "instance": "it is there",
    "ssh": "an SSH server answers",
    "host-key": "verified",
    "interpreter": "the machine has a Python",
    "jupyter": "it starts",
    "token": "accepted",
}


@dataclass(frozen=True)
class Excuse:
    """An error that is no failure: `up` would do what doctor does not. ``because`` follows its reason."""

    code: str
    because: str
    hint: str


class Checkup:
    """``name``: the runtime's, for the commands in hints. ``found`` is given each finding as it is made. ``spoken``:
    puts what the person typed into commands that name the runtime."""

    def __init__(
        self, name: str, found: Callable[[Finding], None], spoken: Callable[[str], str] = lambda text: text
    ) -> None:
        self.name = name
        self.findings: list[Finding] = []
        self.needs = ""
        self._found = found
        self._spoken = spoken

    @property
    def ok(self) -> bool:
        return all(finding.verdict != "failed" for finding in self.findings)

    def say(self, finding: Finding) -> None:
        known = replace(finding, why=self._named(finding.why), hint=self._named(finding.hint))
        self.findings.append(known)
        self._found(known)

    def holds(self, check: str, what: str, why: str = "") -> None:
        self.say(Finding(check, "ok", what, why))

    def note(self, check: str, what: str) -> None:
        """What cannot be checked from here, and a person should know."""
        self.say(Finding(check, "note", what))

    def warn(self, check: str, what: str, why: str, hint: str, *, code: str = "") -> None:
        self.say(Finding(check, "warning", what, why, hint, code))

    def fails(self, check: str, error: RemoteRuntimeError) -> None:
        """With the catalogue's cure where the error has no hint of its own."""
        told = advised(error, self.name)
        hint = _DOCTOR.sub("", told.hint) or (CODES[told.code].cure if told.hint else "")
        self.say(Finding(check, "failed", told.what, told.why or CODES[told.code].cause, hint, told.code))

    def skip(self, *checks: str) -> None:
        for check in checks:
            self.say(Finding(check, "skipped", "skipped", f"it needs {self.needs}"))

    def step(
        self,
        checks: Sequence[str],
        work: Callable[[], Mapping[str, str]],
        *,
        essential: bool = True,
        excuse: Excuse | None = None,
    ) -> RemoteRuntimeError | None:
        """Do ``work``, which proves ``checks`` and says what it saw of each. What it raised, told at its place.

        ``essential``: what comes later needs it.
        """
        if self.needs:
            self.skip(*checks)
            return None
        try:
            seen = work()
        except RemoteRuntimeError as error:
            self._stopped(checks, error, essential=essential, excuse=excuse)
            return error
        for check in checks:
            self.holds(check, seen.get(check, HOLDS.get(check, "good")))
        return None

    def _stopped(
        self, checks: Sequence[str], error: RemoteRuntimeError, *, essential: bool, excuse: Excuse | None
    ) -> None:
        place = next((at for at in (PLACES.get(error.code), ELSEWHERE.get(error.code)) if at in checks), None)
        is_known = place is not None and error.code not in SILENT
        place = place or next((check for check in checks if check in MAIN), checks[0])
        at, before, self.needs = checks.index(place), self.needs, place
        for check in checks[:at]:
            if is_known:
                self.holds(check, HOLDS.get(check, "good"))
            else:
                self.say(Finding(check, "skipped", "not looked at", "what failed does not show it"))
        if excuse is not None and excuse.code == error.code:
            self.warn(place, error.what, f"{error.why}; {excuse.because}", excuse.hint, code=error.code)
        else:
            self.fails(place, error)
        self.skip(*checks[at + 1 :])
        if not essential:
            self.needs = before

    def _named(self, text: str) -> str:
        return self._spoken(text.replace(" PROFILE", f" {self.name}") if self.name else text)
