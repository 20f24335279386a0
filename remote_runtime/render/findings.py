"""The findings of doctor: a line a check, and what to do below one that fails."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from ..model import Finding
from ..untrusted import clean, clean_line
from . import LONGEST_REASON, answer, folded, say

WIDTH = 17
MARKS = {
    "ok": ("✓", "+", "32"),
    "note": ("i", "i", "36"),
    "warning": ("!", "!", "33"),
    "failed": ("✗", "x", "1;31"),
    "skipped": ("·", "-", "2"),
}


def show(finding: Finding, *, quiet: bool, verbose: bool) -> None:
    """``quiet``: only what fails. ``verbose``: the reason of what holds, too."""
    if quiet and finding.verdict != "failed":
        return
    line = f"{_mark(finding.verdict)} {clean_line(finding.check, 40):<{WIDTH}}"
    if finding.verdict == "skipped":
        answer(f"{line}skipped: {clean_line(finding.why, 300)}")
        return
    code = f" [{finding.code}]" if finding.code else ""
    margin = " " * (WIDTH + 2)
    what = folded(f"{clean_line(finding.what, 500)}{code}", WIDTH + 2)
    answer("\n".join([f"{line}{what[0]}", *(f"{margin}{part}" for part in what[1:])]))
    if finding.verdict == "ok" and not verbose:
        return
    for label, text in (("why", finding.why), ("next", finding.hint)):
        lines = clean(text, LONGEST_REASON).splitlines()
        lines = [part for each in lines for part in folded(each, WIDTH + 8)]
        if lines:
            answer("\n".join([f"{margin}{label + ':':<6}{lines[0]}", *(f"{margin}      {line}" for line in lines[1:])]))


def sum_up(findings: Sequence[Finding]) -> None:
    """The last line of the story."""
    failed = [finding.check for finding in findings if finding.verdict == "failed"]
    warned = [finding.check for finding in findings if finding.verdict == "warning"]
    if failed:
        say(f"{len(failed)} of {len(findings)} checks failed: {', '.join(failed)}")
    elif warned:
        say(f"Nothing failed; look at {', '.join(warned)}")
    else:
        say("Everything holds.")


def _mark(verdict: str) -> str:
    mark, plain, code = MARKS[verdict]
    encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower()
    mark = mark if "utf" in encoding else plain
    if "NO_COLOR" in os.environ or not sys.stdout.isatty():
        return mark
    return f"\x1b[{code}m{mark}\x1b[0m"
