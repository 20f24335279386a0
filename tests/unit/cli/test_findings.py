"""The screen of doctor: groups, folded where all is well, and a last line that says so."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from remote_runtime.cli.output.findings import FindingsPrinter, summarize
from remote_runtime.commands.doctor.browser_checks import NOT_CONNECTED_YET
from remote_runtime.core.model import Finding

Captured = pytest.CaptureFixture[str]
ADVICE = [
    Finding("chrome", "note", "Allow the browser"),
    Finding("firefox", "note", "Allow it there too"),
    Finding("safari", "skipped", "skipped", "Safari runs on macOS only"),
]
GOOD = [
    Finding("profile", "ok", "work (/work.yaml)"),
    Finding("port", "ok", "8888 is free"),
    Finding("credentials", "ok", "Accepted"),
    Finding("instance", "ok", "vm is RUNNING"),
    Finding("ssh", "ok", "Connected"),
    Finding("forward", "ok", "localhost:8888"),
    Finding("answer", "ok", "Responded"),
    Finding("cors", "ok", "Allowed"),
]
NEVER_CAME = Finding("colab", "warning", NOT_CONNECTED_YET, "no browser has connected", "In Colab: Connect")
BLOCKED = Finding("colab", "warning", "A browser sent nothing", "the browser denied the permission", "Allow it")
DOWN = [
    Finding("profile", "ok", "work (/work.yaml)"),
    Finding("port", "ok", "8888 is free"),
    Finding("firewall", "ok", "Open"),
    Finding("ssh", "failed", "No reply", "connection refused", "`remote-runtime up work` does it", "ssh-unreachable"),
    *(Finding(check, "skipped", "skipped", "requires SSH connection") for check in ("host-key", "login")),
    *(Finding(check, "skipped", "skipped", "requires SSH connection") for check in ("jupyter", "forward", "cors")),
    *ADVICE,
]


def shown(
    capsys: Captured, findings: Sequence[Finding], *, quiet: bool = False, verbose: bool = False
) -> tuple[list[str], list[str]]:
    printer = FindingsPrinter(quiet=quiet, verbose=verbose)
    for finding in findings:
        printer.show(finding)
    printer.flush()
    summarize(findings)
    out, err = capsys.readouterr()
    return out.splitlines(), err.splitlines()


def test_groups_that_are_good_are_a_line_each_and_the_last_line_says_so(capsys: Captured) -> None:
    assert shown(capsys, [*GOOD, NEVER_CAME, *ADVICE]) == (
        [
            "✓ Profile       work (/work.yaml)",
            "✓ Google Cloud  Credentials, VM",
            "✓ SSH           Connected",
            "✓ Tunnel        Local port, port forwarding, HTTP",
            "✓ Browser       Allowed",
        ],
        ["", "✓ All 8 checks passed.", "Colab has not connected yet (expected until you paste the URL)."],
    )


def test_a_group_that_is_bad_shows_each_check_and_what_was_skipped_is_one_line(capsys: Captured) -> None:
    assert shown(capsys, DOWN) == (
        [
            "✓ Profile       work (/work.yaml)",
            "✗ SSH",
            "  ✓ Firewall                Open",
            "  ✗ SSH connection          No reply [ssh-unreachable]",
            "    why: connection refused",
            "    fix: `remote-runtime up work` does it",
            "  · Skipped                 host key, login (requires SSH connection)",
            "✓ Tunnel        Local port (skipped: port forwarding)",
            "· Skipped       Jupyter, Browser (requires SSH connection)",
        ],
        ["", "✗ 1 problem: SSH connection"],
    )


def test_verbose_folds_nothing_and_gives_the_advice_for_browsers(capsys: Captured) -> None:
    out, _ = shown(capsys, [*GOOD, NEVER_CAME, *ADVICE], verbose=True)
    assert out[:2] == ["✓ Profile", "  ✓ Profile                 work (/work.yaml)"]
    assert out[-8:] == [
        "! Browser",
        "  ✓ CORS                    Allowed",
        "  ! Colab                   Colab has not connected yet",
        "    why: no browser has connected",
        "    fix: In Colab: Connect",
        "  i Chrome and Edge         Allow the browser",
        "  i Firefox                 Allow it there too",
        "  · Safari                  skipped: Safari runs on macOS only",
    ]


def test_the_advice_for_browsers_is_given_where_a_browser_seems_to_be_blocked(capsys: Captured) -> None:
    out, err = shown(capsys, [*GOOD, BLOCKED, *ADVICE])
    assert "  i Chrome and Edge         Allow the browser" in out
    assert err == ["", "! 8 checks passed, 1 warning: Colab"]


def test_quiet_prints_failures_only(capsys: Captured) -> None:
    out, _ = shown(capsys, DOWN, quiet=True)
    assert [line.split()[0] for line in out] == ["✗", "why:", "fix:"]


def test_runtimes_keep_their_names(capsys: Captured) -> None:
    found = [Finding("runtime work", "ok", "Ready"), Finding("runtime old", "failed", "down", "no reply", "`up`")]
    out, err = shown(capsys, found[:1])
    assert out == ["✓ Runtimes      work: Ready"]
    out, err = shown(capsys, found)
    assert out[2] == "  ✗ old                     down"
    assert err[-1] == "✗ 1 problem: old"
