"""Prints the findings of doctor in groups: a group that is good in one line, else a line for each check."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from ...commands.doctor.browser_checks import NOT_CONNECTED_YET
from ...commands.doctor.checks import BROWSER_ADVICE, GROUPS, group_of, title_of
from ...core.model import Finding
from ...core.sanitize import clean_line
from .console import COMMAND, answer, fold, fold_text, has_unicode, say
from .theme import paint

GROUP_WIDTH = 14
TITLE_WIDTH = 24
MARGIN = 2
MAX_TEXT_CHARS = 4000
MARKS = {
    "ok": ("✓", "+", "ok"),
    "note": ("i", "i", "info"),
    "warning": ("!", "!", "warning"),
    "failed": ("✗", "x", "error"),
    "skipped": ("·", "-", "detail"),
}
# The mark of a group is that of its first finding in this order.
_BY_WEIGHT = ("failed", "warning", "ok", "note", "skipped")


class FindingsPrinter:
    """Prints each group when the first finding of a later one arrives. ``quiet``: print only failures, at once.
    ``verbose``: fold no group, and print the reasons of passed checks and the advice for browsers too."""

    def __init__(self, *, quiet: bool, verbose: bool) -> None:
        self._quiet, self._verbose = quiet, verbose
        self._groups: dict[str, list[Finding]] = {}
        self._skipped_groups: dict[str, list[str]] = {}

    def show(self, finding: Finding) -> None:
        if self._quiet:
            if finding.verdict == "failed":
                self._print_finding(finding, 0)
            return
        group = group_of(finding.check)
        self._print_groups(GROUPS[: GROUPS.index(group)])
        self._groups.setdefault(group, []).append(finding)

    def flush(self) -> None:
        """Print what is left: the last group, and in one line the groups that were skipped for one reason."""
        self._print_groups(GROUPS)
        for why, groups in self._skipped_groups.items():
            _print_line("skipped", "Skipped", f"{', '.join(groups)} ({why})", 0, GROUP_WIDTH)
        self._skipped_groups.clear()

    def _print_groups(self, groups: Iterable[str]) -> None:
        for group in groups:
            findings = self._groups.pop(group, [])
            if not self._verbose and not _needs_advice(findings):
                findings = [finding for finding in findings if finding.check not in BROWSER_ADVICE]
            if findings:
                self._print_group(group, findings)

    def _print_group(self, group: str, findings: Sequence[Finding]) -> None:
        shown = [finding for finding in findings if self._verbose or not _is_expected(finding)]
        verdicts = {finding.verdict for finding in shown}
        if verdicts <= {"ok", "skipped"} and not self._verbose:
            self._print_folded(group, shown)
        else:
            worst = next(verdict for verdict in _BY_WEIGHT if verdict in verdicts)
            answer(f"{_mark(worst)} {paint(group, 'heading', sys.stdout)}")
            skipped = [finding for finding in shown if finding.verdict == "skipped" and not self._verbose]
            for finding in shown:
                if finding not in skipped:
                    self._print_finding(finding, MARGIN)
            for why, checks in _by_reason(skipped).items():
                _print_line("skipped", "Skipped", f"{', '.join(checks)} ({why})", MARGIN, TITLE_WIDTH)

    def _print_folded(self, group: str, findings: Sequence[Finding]) -> None:
        passed = [finding for finding in findings if finding.verdict == "ok"]
        skipped = [finding for finding in findings if finding.verdict == "skipped"]
        if passed:
            titles = [_heading(passed[0].check), *(title_of(each.check) for each in passed[1:])]
            if group == "Runtimes":
                text = ", ".join(f"{title_of(each.check)}: {each.what}" for each in passed)
            else:
                text = passed[0].what if len(findings) == 1 else ", ".join(titles)
            text += f" (skipped: {', '.join(title_of(each.check) for each in skipped)})" if skipped else ""
            _print_line("ok", group, text, 0, GROUP_WIDTH)
        else:
            for why in _by_reason(skipped):
                self._skipped_groups.setdefault(why, []).append(group)

    def _print_finding(self, finding: Finding, margin: int) -> None:
        is_skipped = finding.verdict == "skipped"
        text = f"skipped: {finding.why}" if is_skipped else finding.what
        text += f" [{finding.code}]" if finding.code else ""
        _print_line(finding.verdict, _heading(finding.check), text, margin, TITLE_WIDTH)
        if not is_skipped and (finding.verdict != "ok" or self._verbose):
            for label, detail in (("why", finding.why), ("fix", finding.hint)):
                _print_detail(label, detail, margin + 2)


def summarize(findings: Sequence[Finding]) -> None:
    """Print the last lines: what failed, or that all is well."""
    results = [each for each in findings if each.check not in BROWSER_ADVICE and not _is_expected(each)]
    failed, warned, passed = (
        [title_of(each.check) for each in results if each.verdict == verdict] for verdict in ("failed", "warning", "ok")
    )
    say("")
    if failed:
        _say_result("failed", f"{len(failed)} problem{'' if len(failed) == 1 else 's'}: {', '.join(failed)}")
    elif warned:
        checks = f"{len(passed)} check{'' if len(passed) == 1 else 's'} passed"
        warnings = f"{len(warned)} warning{'' if len(warned) == 1 else 's'}"
        _say_result("warning", f"{checks}, {warnings}: {', '.join(warned)}")
    else:
        _say_result("ok", f"All {len(passed)} checks passed.")
    if not failed and any(_is_expected(finding) for finding in findings):
        say(f"{NOT_CONNECTED_YET} (expected until you paste the URL).")


def _is_expected(finding: Finding) -> bool:
    """A warning only for programs: after `up`, a person has to paste the URL first."""
    return finding.verdict == "warning" and finding.what == NOT_CONNECTED_YET


def _needs_advice(findings: Sequence[Finding]) -> bool:
    return any(each.check == "colab" and each.verdict == "warning" and not _is_expected(each) for each in findings)


def _by_reason(skipped: Sequence[Finding]) -> dict[str, list[str]]:
    """The titles of the checks that were skipped for each reason."""
    reasons = dict.fromkeys(finding.why for finding in skipped)
    return {why: [title_of(finding.check) for finding in skipped if finding.why == why] for why in reasons}


def _print_line(verdict: str, title: str, text: str, margin: int, width: int) -> None:
    indent = margin + 2 + width
    text = text.replace(f"{Path.home()}{os.sep}", f"~{os.sep}")
    first, *rest = fold(clean_line(text, MAX_TEXT_CHARS), indent)
    line = f"{' ' * margin}{_mark(verdict)} {clean_line(title, 40):<{width - 2}}  {first}"
    answer("\n".join([line, *(f"{' ' * indent}{part}" for part in rest)]))


def _print_detail(label: str, text: str, margin: int) -> None:
    for number, line in enumerate(fold_text(text, MAX_TEXT_CHARS, margin + 5)):
        start = f"{' ' * margin}{'' if number else label + ':':<5}"
        if label == "why":
            answer(paint(start + line, "detail", sys.stdout))
        else:
            answer(start + COMMAND.sub(lambda command: paint(command[0], "command", sys.stdout), line))


def _say_result(verdict: str, text: str) -> None:
    mark, plain, style = MARKS[verdict]
    say(f"{mark if has_unicode(sys.stderr) else plain} {text}", style)


def _mark(verdict: str) -> str:
    mark, plain, style = MARKS[verdict]
    return paint(mark if has_unicode(sys.stdout) else plain, style, sys.stdout)


def _heading(check: str) -> str:
    title = title_of(check)
    return title if group_of(check) == "Runtimes" else title[:1].upper() + title[1:]
