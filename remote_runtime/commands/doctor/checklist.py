"""The findings of one visit, in order. A check that fails takes along those that need it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ...core.errors import CODES, RemoteRuntimeError, with_default_hint
from ...core.errors.hints import fill_in_profile
from ...core.fast_dataclass import fast_dataclass
from ...core.model import Finding

# Where an error is told, when the step that raised it has such a check; else its ``MAIN`` one has failed.
CHECK_OF_CODE: Mapping[str, str] = {
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
MAIN_CHECKS = ("instance", "ssh", "jupyter")
# A login that runs no command is found out by the one who asks for Python.
OTHER_CHECK_OF_CODE: Mapping[str, str] = {"ssh-refused": "interpreter"}
# Nothing of the machine has answered: what lies before it was not seen.
UNREACHABLE_CODES = ("ssh-unreachable", "iap-backend-unreachable", "iap-unreachable", "iap-refused")
# Advice to run doctor, for who does.
_DOCTOR_ADVICE = re.compile(r"`?remote-runtime doctor\b(?! --report| \S+ --report)[^`;.]*`?[^;.]*(?:[;.]\s*|$)")
# What holds when a later check of the same step is the one that fails.
OK_TEXTS: Mapping[str, str] = {
    "credentials": "accepted",
    "instance": "it is there",
    "ssh": "an SSH server answers",
    "host-key": "verified",
    "interpreter": "the machine has a Python",
    "jupyter": "it starts",
    "token": "accepted",
}


@fast_dataclass(frozen=True)
class ExpectedFailure:
    """An error that is no failure: `up` would do what doctor does not. ``because`` follows its reason."""

    code: str
    reason: str
    hint: str


class Checklist:
    """``reference``: what commands in hints call the profile. ``on_finding`` is called with each finding as it is made.

    ``blocked_by``: the failed check that the later ones need, empty while there is none.
    """

    def __init__(self, reference: str, on_finding: Callable[[Finding], None]) -> None:
        self.findings: list[Finding] = []
        self.blocked_by = ""
        self._reference = reference
        self._on_finding = on_finding

    @property
    def passed(self) -> bool:
        return all(finding.verdict != "failed" for finding in self.findings)

    def add(self, finding: Finding) -> None:
        why, hint = (fill_in_profile(text, self._reference) for text in (finding.why, finding.hint))
        finding = replace(finding, why=why, hint=hint)
        self.findings.append(finding)
        self._on_finding(finding)

    def ok(self, check: str, what: str, why: str = "") -> None:
        self.add(Finding(check, "ok", what, why))

    def note(self, check: str, what: str) -> None:
        """What cannot be checked from here, and a person should know."""
        self.add(Finding(check, "note", what))

    def warn(self, check: str, what: str, why: str, hint: str, *, code: str = "") -> None:
        self.add(Finding(check, "warning", what, why, hint, code))

    def fail(self, check: str, error: RemoteRuntimeError) -> None:
        """With the catalogue's remedy where the error has no hint of its own."""
        entry, error = CODES[error.code], with_default_hint(error)
        hint = _DOCTOR_ADVICE.sub("", error.hint) or (entry.remedy if error.hint else "")
        self.add(Finding(check, "failed", error.what, error.why or entry.cause, hint, error.code))

    def skip(self, *checks: str) -> None:
        for check in checks:
            self.add(Finding(check, "skipped", "skipped", f"it needs {self.blocked_by}"))

    def step(
        self,
        checks: Sequence[str],
        run_check: Callable[[], Mapping[str, str]],
        *,
        essential: bool = True,
        expected: ExpectedFailure | None = None,
    ) -> RemoteRuntimeError | None:
        """Do ``work``, which proves ``checks`` and says what it saw of each. What it raised, told at its place.

        ``essential``: what comes later needs it.
        """
        if self.blocked_by:
            self.skip(*checks)
            return None
        try:
            texts = run_check()
        except RemoteRuntimeError as error:
            self._add_failure(checks, error, essential=essential, expected=expected)
            return error
        for check in checks:
            self.ok(check, texts.get(check, OK_TEXTS.get(check, "good")))
        return None

    def _add_failure(
        self, checks: Sequence[str], error: RemoteRuntimeError, *, essential: bool, expected: ExpectedFailure | None
    ) -> None:
        failed_check = next(
            (
                index
                for index in (CHECK_OF_CODE.get(error.code), OTHER_CHECK_OF_CODE.get(error.code))
                if index in checks
            ),
            None,
        )
        is_known = failed_check is not None and error.code not in UNREACHABLE_CODES
        failed_check = failed_check or next((check for check in checks if check in MAIN_CHECKS), checks[0])
        at, blocked_before, self.blocked_by = checks.index(failed_check), self.blocked_by, failed_check
        for check in checks[:at]:
            if is_known:
                self.ok(check, OK_TEXTS.get(check, "good"))
            else:
                self.add(Finding(check, "skipped", "not looked at", "what failed does not show it"))
        if expected is not None and expected.code == error.code:
            self.warn(failed_check, error.what, f"{error.why}; {expected.reason}", expected.hint, code=error.code)
        else:
            self.fail(failed_check, error)
        self.skip(*checks[at + 1 :])
        if not essential:
            self.blocked_by = blocked_before
