"""The findings of one run of doctor, in order. When a check fails, those that need it are skipped."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from ...core.errors import CODES, RemoteRuntimeError, with_default_hint
from ...core.errors.catalogue import fill_in_profile
from ...core.fast_dataclass import fast_dataclass
from ...core.model import Finding
from .checks import title_of

T = TypeVar("T")
# The error codes of each check. A code that two checks have belongs to the first that the failed step has: a login
# that runs no command is noticed by the search for Python.
CODES_OF_CHECK: Mapping[str, Sequence[str]] = {
    "credentials": ("no-credentials", "no-project", "cloud-unreachable"),
    "instance": (
        *("instance-not-found", "instance-ambiguous", "instance-stopped", "instance-not-startable", "no-capacity"),
        *("quota-exceeded", "no-address", "permission-denied", "demo-failed"),
    ),
    "firewall": ("firewall-blocked",),
    "ssh": (
        *("ssh-unreachable", "ssh-refused", "ssh-config-unsupported"),
        *("iap-refused", "iap-backend-unreachable", "iap-unreachable"),
    ),
    "host-key": ("host-key-unknown", "host-key-changed"),
    "login": ("os-login-required", "no-usable-key", "key-not-added", "passphrase-needed", "two-factor-needed"),
    "interpreter": ("python-missing", "machine-answer-invalid", "ssh-refused"),
    "jupyter": (
        *("jupyter-missing", "jupyter-install-failed", "jupyter-did-not-start", "disk-full", "folder-unusable"),
        *("program-missing", "machine-busy", "attach-not-found", "attach-without-token"),
    ),
    "bridge": ("bridge-not-loaded",),
    "answer": ("not-answering", "jupyter-stuck", "stranger-answered"),
    "token": ("token-refused", "token-not-required"),
    "cors": ("attach-unfit", "origin-refused"),
}
CLOUD_CHECKS = ("credentials", "instance")
LOGIN_CHECKS = ("firewall", "ssh", "host-key", "login")
SERVER_CHECKS = ("interpreter", "jupyter", "bridge")
# The checks that fail with any other code, when the failed step has one of them.
MAIN_CHECKS = ("instance", "ssh", "jupyter")
# The machine has not answered, so the checks before the failed one have no result.
UNREACHABLE_CODES = ("ssh-unreachable", "iap-backend-unreachable", "iap-unreachable", "iap-refused")
# A clause that advises to run doctor, which doctor leaves out.
_DOCTOR_ADVICE = re.compile(
    r"(?:(?<=[.;]\s)|^)[^`;.]*`remote-runtime doctor\b(?![^`]*--report)[^`]*`[^;.]*(?:[;.](?=\s|$)\s*|$)"
)
# The texts of checks that passed when a later check of the same step failed.
OK_TEXTS: Mapping[str, str] = {
    "credentials": "Accepted",
    "instance": "Found",
    "firewall": "Open",
    "ssh": "An SSH server responded",
    "host-key": "Verified",
    "interpreter": "Found",
    "jupyter": "Starts",
    "token": "Accepted",
}


@fast_dataclass(frozen=True)
class ExpectedFailure:
    """An error that is only a warning: `up` does what doctor does not. ``reason`` is appended to the error's."""

    code: str
    reason: str
    hint: str


class Checklist:
    """``reference``: what commands in hints call the profile. ``on_finding`` is called with each finding as it is made,
    ``on_step`` with what is checked next. No finding advises to run doctor.

    ``blocked_by``: the failed check that the later ones need, empty while there is none.
    """

    def __init__(
        self, reference: str, on_finding: Callable[[Finding], None], on_step: Callable[[str], None] = lambda text: None
    ) -> None:
        self.findings: list[Finding] = []
        self.blocked_by = ""
        self._reference = reference
        self._on_finding = on_finding
        self._on_step = on_step

    @property
    def passed(self) -> bool:
        return all(finding.verdict != "failed" for finding in self.findings)

    def has_warning(self, code: str) -> bool:
        return any((finding.verdict, finding.code) == ("warning", code) for finding in self.findings)

    def add(self, finding: Finding) -> None:
        hint = _DOCTOR_ADVICE.sub("", finding.hint).strip()
        if finding.hint and not hint and finding.code:
            hint = CODES[finding.code].fix
        why, hint = (fill_in_profile(text, self._reference) for text in (finding.why, hint))
        finding = replace(finding, why=why, hint=hint)
        self.findings.append(finding)
        self._on_finding(finding)

    def ok(self, check: str, what: str, why: str = "") -> None:
        self.add(Finding(check, "ok", what, why))

    def note(self, check: str, what: str) -> None:
        """A fact that the user needs and that doctor cannot check."""
        self.add(Finding(check, "note", what))

    def warn(self, check: str, what: str, why: str, hint: str, *, code: str = "") -> None:
        self.add(Finding(check, "warning", what, why, hint, code))

    def fail(self, check: str, error: RemoteRuntimeError) -> None:
        """With the catalogue's fix where the error has no hint of its own."""
        error = with_default_hint(error)
        self.add(Finding(check, "failed", error.what, error.why or CODES[error.code].cause, error.hint, error.code))

    def skip(self, *checks: str) -> None:
        for check in checks:
            self.add(Finding(check, "skipped", "skipped", f"requires {title_of(self.blocked_by)}"))

    def step(
        self,
        checks: Sequence[str],
        run_check: Callable[[], Mapping[str, str]],
        *,
        essential: bool = True,
        expected: Sequence[ExpectedFailure] = (),
    ) -> RemoteRuntimeError | None:
        """Run ``run_check``, which covers ``checks`` and returns the text of each; return the error that it raised.

        ``essential``: the later checks need it.
        """
        if self.blocked_by:
            self.skip(*checks)
            return None
        self._on_step(f"Checking {', '.join(map(title_of, checks))}")
        try:
            texts = run_check()
        except RemoteRuntimeError as error:
            self._add_failure(checks, error, essential=essential, expected=expected)
            return error
        for check in checks:
            self.ok(check, texts.get(check, OK_TEXTS.get(check, "OK")))
        return None

    def step_value(
        self,
        checks: Sequence[str],
        run_check: Callable[[], T],
        texts: Callable[[T], Mapping[str, str]],
        *,
        essential: bool = True,
        expected: Sequence[ExpectedFailure] = (),
    ) -> T | None:
        """As ``step``; return the value of ``run_check``, None if it failed or was skipped."""
        values: list[T] = []

        def describe() -> Mapping[str, str]:
            values.append(run_check())
            return texts(values[0])

        self.step(checks, describe, essential=essential, expected=expected)
        return values[0] if values else None

    def _add_failure(
        self, checks: Sequence[str], error: RemoteRuntimeError, *, essential: bool, expected: Sequence[ExpectedFailure]
    ) -> None:
        failed_check = check_of(error.code, checks)
        is_known = failed_check is not None and error.code not in UNREACHABLE_CODES
        failed_check = failed_check or next((check for check in checks if check in MAIN_CHECKS), checks[0])
        at, blocked_before, self.blocked_by = checks.index(failed_check), self.blocked_by, failed_check
        for check in checks[:at]:
            if is_known:
                self.ok(check, OK_TEXTS.get(check, "OK"))
            else:
                self.add(Finding(check, "skipped", "not checked", "the failure does not show it"))
        known = next((each for each in expected if each.code == error.code), None)
        if known is not None:
            self.warn(failed_check, error.what, f"{error.why}; {known.reason}", known.hint, code=error.code)
        else:
            self.fail(failed_check, error)
        self.skip(*checks[at + 1 :])
        if not essential:
            self.blocked_by = blocked_before


def check_of(code: str, checks: Collection[str]) -> str | None:
    """The one of ``checks`` that fails with this code."""
    return next((check for check, codes in CODES_OF_CHECK.items() if code in codes and check in checks), None)
