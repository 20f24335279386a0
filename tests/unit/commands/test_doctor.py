"""What doctor makes of what it is told: the order of its lines, the keeper's words, the browser's silence, secrets."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from remote_runtime.commands.doctor import browser_checks, issue_report, local_checks, running_checks
from remote_runtime.commands.doctor.checklist import CODES_OF_CHECK, Checklist, ExpectedFailure
from remote_runtime.commands.doctor.checks import BROWSER_ADVICE, CHECKS, GROUPS, group_of, title_of
from remote_runtime.commands.doctor.dry_run import ALL_CHECKS
from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import CODES, CloudError, LocalError, SshError, UsageError, from_code
from remote_runtime.core.metrics import Connections
from remote_runtime.core.model import Finding, Runtime
from remote_runtime.core.profile import Profile, SshTarget
from remote_runtime.state.store import StateDir

READY: dict[str, Any] = {
    "name": "work",
    "state": "ready",
    "why": "",
    "local_port": 8888,
    "target": {"kind": "gce"},
    "instance": {"name": "vm", "zone": "z", "project": "p", "status": "RUNNING"},
    "server": {"port": 1, "pid": 77, "jupyter_server": "2", "bridge": "1", "python": "3.12", "interpreter": "/py"},
    "keeper_pid": 5,
    "forwards": [{"local": 8888, "remote": "127.0.0.1:4242"}],
    "reconnects": 1,
    "rtt_ms": 21.4,
    "connections": {"carried": 0, "empty": 0, "waiting": 0},
    "page_requests": None,
    "last_error": None,
}
WAY_IN = ("firewall", "ssh", "host-key", "login")


def new(name: str = "work") -> tuple[Checklist, list[Finding]]:
    told: list[Finding] = []
    return Checklist(name, told.append), told


def lines(findings: list[Finding]) -> list[str]:
    return [f"{finding.check} {finding.verdict}" for finding in findings]


# ── the hints ──


NO_FINDINGS = ("bug", "report-not-written")  # the second is of doctor's own option


@pytest.mark.parametrize("code", [code for code in CODES if code not in NO_FINDINGS])
def test_no_hint_of_doctor_is_doctor(code: str) -> None:
    """And the general fix of a code with many causes names none of them."""
    checklist, told = new()
    checklist.fail("ssh", from_code(code, "it failed"))
    assert "remote-runtime doctor" not in told[0].hint
    if code == "ssh-refused":
        assert "sshd_config" not in told[0].hint


@pytest.mark.parametrize(
    ("hint", "kept"),
    [
        ("`remote-runtime doctor PROFILE` checks every step", CODES["ssh-unreachable"].fix),
        ("`remote-runtime doctor ./my.vm.yaml` looks for the reason.", CODES["ssh-unreachable"].fix),
        ("Wait a minute; `remote-runtime doctor PROFILE` names the cause", "Wait a minute;"),
        ("Run `remote-runtime doctor PROFILE`; then `remote-runtime up PROFILE`", "then `remote-runtime up work`"),
        ("`remote-runtime doctor PROFILE --report FILE` writes a report", None),
    ],
)
def test_advice_to_run_doctor_is_left_out_of_every_kind_of_finding(hint: str, kept: str | None) -> None:
    checklist, told = new()
    checklist.fail("ssh", from_code("ssh-unreachable", "it failed", "because", hint))
    checklist.warn("ssh", "it is slow", "because", hint, code="ssh-unreachable")
    expected = (kept or hint).replace(" PROFILE", " work")
    assert [finding.hint for finding in told] == [expected, expected]


def test_every_check_has_a_group_and_a_title_of_its_own() -> None:
    assert set(ALL_CHECKS) | set(CODES_OF_CHECK) <= set(CHECKS)
    assert {group for group, _ in CHECKS.values()} | {"Runtimes"} == set(GROUPS)
    assert len({title for _, title in CHECKS.values()}) == len(CHECKS)
    assert (group_of("runtime work"), title_of("runtime work")) == ("Runtimes", "work")


def test_what_is_checked_next_is_reported() -> None:
    steps: list[str] = []
    checklist = Checklist("work", lambda finding: None, steps.append)
    checklist.step(["token", "cors"], dict)
    checklist.blocked_by = "ssh"
    checklist.step(["kernel"], dict)
    assert steps == ["Checking token, CORS"]


# ── the order of the lines ──


def test_a_failure_is_told_at_its_place_and_what_needs_it_is_skipped_by_name() -> None:
    checklist, told = new()

    def refuse() -> Mapping[str, str]:
        raise SshError("host-key-changed", "another key", "because", "`remote-runtime host-key forget PROFILE`")

    checklist.step(WAY_IN, refuse)
    checklist.step(["jupyter"], lambda: {"jupyter": "never looked at"})
    assert lines(told) == ["firewall ok", "ssh ok", "host-key failed", "login skipped", "jupyter skipped"]
    assert told[2].hint == "`remote-runtime host-key forget work`"
    assert {finding.why for finding in told[3:]} == {"requires host key"}
    assert not checklist.passed
    assert checklist.findings == told


def test_an_error_without_reason_or_hint_gets_the_catalogues() -> None:
    checklist, told = new()
    checklist.fail("keeper", LocalError("keeper-died", "it died"))
    assert (told[0].why, told[0].code) == (CODES["keeper-died"].cause, "keeper-died")
    assert told[0].hint.startswith("Run `remote-runtime up work`")


def test_no_check_advises_to_run_doctor() -> None:
    for code in CODES:
        for hint in ("", "`remote-runtime doctor PROFILE` checks every step"):
            checklist, told = new()
            checklist.fail("ssh", from_code(code, "it failed", "because", hint))
            assert "remote-runtime doctor" not in told[0].hint or "--report" in told[0].hint, code
            assert told[0].hint or hint or code in ("bug", "interrupted"), code


@pytest.mark.parametrize("code", ["ssh-unreachable", "deadline-passed", "interrupted"])
def test_what_was_not_seen_is_not_said_to_hold(code: str) -> None:
    checklist, told = new()

    def fail() -> Mapping[str, str]:
        raise from_code(code, "nothing answers", "timed out")

    checklist.step(WAY_IN, fail)
    assert lines(told) == ["firewall skipped", "ssh failed", "host-key skipped", "login skipped"]
    assert told[0].what == "not checked"


def test_a_login_that_runs_no_command_fails_where_python_is_asked_for() -> None:
    checklist, told = new()

    def fail() -> Mapping[str, str]:
        raise SshError("ssh-refused", "The machine does not run commands", "sftp only")

    checklist.step(("interpreter", "jupyter", "bridge"), fail)
    assert lines(told) == ["interpreter failed", "jupyter skipped", "bridge skipped"]


def test_what_is_not_essential_stops_nothing() -> None:
    checklist, told = new()

    def take() -> Mapping[str, str]:
        raise LocalError("port-in-use", "taken")

    checklist.step(["port"], take, essential=False)
    checklist.step(["ssh"], lambda: {"ssh": "it answers"})
    assert lines(told) == ["port failed", "ssh ok"]
    assert told[1].what == "it answers"


def test_what_up_would_do_is_a_warning() -> None:
    checklist, told = new()

    def stop() -> Mapping[str, str]:
        raise CloudError("instance-stopped", "vm is not running", "its status is TERMINATED")

    checklist.step(
        ["credentials", "instance"], stop, expected=[ExpectedFailure("instance-stopped", "it costs", "`up`")]
    )
    checklist.step(["ssh"], dict)
    assert lines(told) == ["credentials ok", "instance warning", "ssh skipped"]
    assert told[1].why == "its status is TERMINATED; it costs"
    assert checklist.passed


def test_every_error_of_a_step_has_a_place_in_it() -> None:
    for code in CODES:
        checklist, told = new()

        def fail(code: str = code) -> Mapping[str, str]:
            raise from_code(code, "it failed")

        checklist.step(WAY_IN, fail)
        assert [finding.code for finding in told if finding.verdict == "failed"] == [code]
        assert [finding.check for finding in told] == list(WAY_IN)


# ── a runtime that is up ──


TROUBLES = [
    ({"state": "reconnecting", "why": "reset"}, "ssh", "ssh-unreachable"),
    ({"state": "unreachable", "why": "Jupyter hangs"}, "answer", "not-answering"),
    ({"state": "stranger", "why": "it cannot prove itself"}, "answer", "stranger-answered"),
    ({"state": "unreachable", "error": "instance-stopped"}, "instance", "instance-stopped"),
    ({"state": "unreachable", "error": "host-key-changed"}, "host-key", "host-key-changed"),
    ({"state": "unreachable", "error": "two-factor-needed"}, "login", "two-factor-needed"),
    ({"state": "unreachable", "error": "python-missing"}, "interpreter", "python-missing"),
    ({"state": "unreachable", "error": "jupyter-did-not-start"}, "jupyter", "jupyter-did-not-start"),
    ({"state": "unreachable", "error": "bridge-not-loaded"}, "bridge", "bridge-not-loaded"),
]


@pytest.mark.parametrize(("change", "check", "code"), TROUBLES, ids=[trouble[2] for trouble in TROUBLES])
def test_the_keepers_last_error_is_the_first_failing_line(change: dict[str, str], check: str, code: str) -> None:
    error = change.get("error")
    last = from_code(error, "it failed", "for a reason").as_dict() if error else None
    now = {**READY, "state": change["state"], "why": change.get("why", ""), "last_error": last}
    told = looked(now)
    failed = next(finding for finding in told if finding.verdict == "failed")
    assert (failed.check, failed.code) == (check, code)
    assert failed.why == (change.get("why") or "for a reason")
    before = told[: told.index(failed)]
    assert {finding.verdict for finding in before} == {"ok"}
    assert {finding.verdict for finding in told[told.index(failed) + 1 :]} == {"skipped"}


def test_a_runtime_that_is_coming_up_is_waited_for() -> None:
    told = looked({**READY, "state": "starting", "why": ""})
    assert told[0].verdict == "warning"
    assert {finding.verdict for finding in told[1:]} == {"skipped"}


def looked(now: dict[str, Any]) -> list[Finding]:
    checklist, told = new()
    runtime = Runtime("work", "/work.yaml", {"kind": "gce"}, "c", local_port=8888)
    profile = Profile("work", Path("/work.yaml"), SshTarget("box"))

    def connect(port: int, limit_s: float) -> Any:
        raise AssertionError("nothing is asked of a runtime that is not ready")

    running_checks.check_running(checklist, profile, runtime, now, Deadline(5.0), connect_uncounted=connect)
    return told


@pytest.mark.parametrize(
    ("connections", "requests", "verdict", "words"),
    [
        (Connections(carried=4), 3, "ok", "Colab has connected (3 requests)"),
        (Connections(carried=1), 1, "ok", "Colab has connected (1 request)"),
        (Connections(), 0, "warning", "no browser has connected"),
        (Connections(empty=1), 0, "warning", "denied the permission, or is still asking"),
        (Connections(tls=1, empty=1), 0, "warning", "speaks http"),
        (Connections(carried=2, waiting=1), 0, "warning", "denied the permission, or is still asking"),
        (Connections(carried=2), 0, "warning", "came from other programs"),
        (Connections(), None, "skipped", "requires HTTP"),
    ],
)
def test_a_browser_that_may_not_speak_is_told_from_one_that_never_came(
    connections: Connections, requests: int | None, verdict: str, words: str
) -> None:
    checklist, told = new()
    browser_checks.check_browser_seen(checklist, connections, requests)
    assert (told[0].check, told[0].verdict) == ("colab", verdict)
    assert words in f"{told[0].what} {told[0].why}"
    assert told[0].hint or verdict != "warning"


def test_an_origin_that_was_refused_is_named_until_colabs_page_arrives() -> None:
    checklist, told = new()
    refused = ("https://colab.other.example", "https://evil.example")
    browser_checks.check_browser_seen(checklist, Connections(carried=2), 0, refused)
    assert (told[0].check, told[0].verdict, refused[0] in told[0].what) == ("colab", "warning", True)
    assert "colab.origins" in told[0].hint
    checklist, told = new()
    browser_checks.check_browser_seen(checklist, Connections(carried=2), 3, refused)
    assert told[0].verdict == "ok"


# ── this computer ──


def test_this_computer_is_told_with_its_runtimes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    profiles = tmp_path / "profiles"
    profiles.mkdir()
    (profiles / "bad.yaml").write_text("version: 1\ntarget: {kind: nowhere}\n")
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "REMOTE_RUNTIME_PROFILES": str(profiles)}
    checklist, told = new("")
    stuck = {**READY, "name": "stuck", "state": "unreachable", "why": "Jupyter hangs"}
    local_checks.check_computer(checklist, StateDir(tmp_path), environ, [READY, stuck])
    seen = {finding.check: finding for finding in told}
    assert seen["profiles"].code == "profile-invalid"
    assert "bad.yaml" in seen["profiles"].hint
    assert seen["runtime work"].verdict == "ok"
    assert seen["runtime stuck"].verdict == "failed"
    assert "remote-runtime up stuck" in seen["runtime stuck"].hint
    assert "OpenSSH" in seen["ssh"].what
    assert set(BROWSER_ADVICE) <= set(seen)
    assert {seen[check].verdict for check in ("chrome", "firefox")} == {"note"}, "nothing was checked there"


def test_a_computer_without_openssh_is_told_what_it_misses(tmp_path: Path) -> None:
    checklist, told = new("")
    environ = {"PATH": str(tmp_path), "HOME": str(tmp_path), "REMOTE_RUNTIME_CONFIG_DIR": str(tmp_path)}
    local_checks.check_computer(checklist, StateDir(tmp_path), environ, [])
    assert next(finding for finding in told if finding.check == "ssh").verdict == "warning"


# ── the report ──

SECRET = [
    "token=0123456789abcdef",
    "Authorization: Bearer abcdefgh",
    "0123456789abcdef0123456789abcdef0123456789abcdef",
    "ya29.a0AfB_byC-xyz",
    "eyJhbGciOi.eyJpc3MiOi.c2lnbmF0dXJl",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ7lZ1xk0wq3 comment",
    "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n-----END OPENSSH PRIVATE KEY-----",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA cut off",
    "jane.doe+colab@example.co.uk",
    "as jane_doe_example_com it refused",
    "/home/jane/.config/remote-runtime",
    "planted",
]


@pytest.mark.parametrize("text", SECRET)
def test_what_is_secret_or_personal_is_taken_out(text: str) -> None:
    shown = issue_report.scrub(f"before {text} after", ["planted"], {"HOME": "/home/jane"})
    for word in ("0123456789", "abcdefgh", "a0AfB", "c2lnb", "AAAAC3", "b3Blbn", "MIIEow", "jane", "planted"):
        assert word not in shown
    assert shown.startswith("before")


@pytest.mark.parametrize(
    "text",
    [
        "aes256-gcm@openssh.com",
        "SHA256:uNiVztksCsDhcc0u9e8BgrJXVGDStnK6",
        "/usr/lib/python3/dist-packages/jupyter_server/services/kernels",
        "my-project us-central1-a my-dlvm 35.1.2.3 compute.4242424242424242424",
        "2e74ac21-c786-4586-a60f-75192df09cdb",
    ],
)
def test_what_is_needed_to_understand_stays(text: str) -> None:
    assert issue_report.scrub(text, [], {"HOME": "/"}) == text


def test_a_report_is_never_written_over_something_unasked(tmp_path: Path) -> None:
    path = tmp_path / "report.md"
    issue_report.check_path(path, force=False)
    path.write_text("mine")
    with pytest.raises(UsageError, match="already exists"):
        issue_report.check_path(path, force=False)
    issue_report.check_path(path, force=True)
    issue_report.write(path, "new")
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for nowhere in (tmp_path, tmp_path / "missing" / "report.md"):
        with pytest.raises(UsageError):
            issue_report.check_path(nowhere, force=True)
