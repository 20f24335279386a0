"""Prints the findings of doctor: a line per check, with reason and hint below one that fails."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ...core.model import Finding
from ...core.sanitize import clean_line
from .console import answer, fold, has_unicode, labelled, say
from .theme import paint

WIDTH = 17
MARKS = {
    "ok": ("✓", "+", "ok"),
    "note": ("i", "i", "info"),
    "warning": ("!", "!", "warning"),
    "failed": ("✗", "x", "error"),
    "skipped": ("·", "-", "detail"),
}


class FindingsPrinter:
    """``quiet``: print only failures. ``verbose``: print the reasons of passed checks too."""

    def __init__(self, *, quiet: bool, verbose: bool) -> None:
        self._quiet, self._verbose = quiet, verbose
        self._skipped: list[Finding] = []

    def show(self, finding: Finding) -> None:
        """Skipped checks with one reason are collected and printed in one line."""
        if finding.verdict != "skipped" or any(finding.why != each.why for each in self._skipped):
            self.flush()
        if finding.verdict == "skipped":
            self._skipped.append(finding)
        elif finding.verdict == "failed" or not self._quiet:
            _show(finding, verbose=self._verbose)

    def flush(self) -> None:
        """Print the collected skipped checks."""
        skipped, self._skipped = self._skipped, []
        if not skipped or self._quiet:
            return
        why = clean_line(skipped[0].why, 300)
        if len(skipped) == 1:
            _print_line("skipped", skipped[0].check, f"skipped: {why}")
        else:
            _print_line(
                "skipped", f"{len(skipped)} checks", f"skipped: {', '.join(each.check for each in skipped)} ({why})"
            )


def _show(finding: Finding, *, verbose: bool) -> None:
    _print_line(finding.verdict, finding.check, finding.what + (f" [{finding.code}]" if finding.code else ""))
    if finding.verdict == "ok" and not verbose:
        return
    for line in labelled("why", finding.why, WIDTH + 2) + labelled("next", finding.hint, WIDTH + 2):
        answer(line)


def _print_line(verdict: str, check: str, text: str) -> None:
    first, *rest = fold(clean_line(text, 600), WIDTH + 2)
    margin = " " * (WIDTH + 2)
    line = f"{_mark(verdict)} {clean_line(check, 40):<{WIDTH}}{first}"
    answer("\n".join([line, *(f"{margin}{part}" for part in rest)]))


def summarize(findings: Sequence[Finding]) -> None:
    """Print the last line: how many checks failed."""
    failed = [finding.check for finding in findings if finding.verdict == "failed"]
    warned = [finding.check for finding in findings if finding.verdict == "warning"]
    if failed:
        say(f"{len(failed)} of {len(findings)} checks failed: {', '.join(failed)}")
    elif warned:
        say(f"Nothing failed; look at {', '.join(warned)}")
    else:
        say("Everything holds.")


def _mark(verdict: str) -> str:
    mark, plain, style = MARKS[verdict]
    return paint(mark if has_unicode(sys.stdout) else plain, style, sys.stdout)
