"""`doctor` in this process: its front door with a world's files, and nobody at the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from remote_runtime.commands.context import CommandContext, View
from remote_runtime.commands.doctor.run import doctor
from remote_runtime.core.model import Finding
from remote_runtime.state import store

from .world import World


class RecordingView(View):
    """Remembers what was shown, and answers nothing."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def step(self, name: str, text: str, done: str = "") -> None:
        self.shown.append(text)

    def detail(self, name: str, text: str) -> None:
        self.shown.append(text)

    note = detail

    def finish(self, name: str, done: str) -> None:
        self.shown.append(done)


def visit(world: World, reference: str | None, *, report_to: Path | None = None, force: bool = False) -> dict[str, Any]:
    """What `doctor` answers; its findings must be those that it told on the way."""
    told: list[Finding] = []
    context = CommandContext(store.open_state_dir(world.environ), world.environ, RecordingView())
    result = doctor(reference, context, on_finding=told.append, report_to=report_to, force=force)
    assert told == result["findings"]
    return result


def first_failure(result: dict[str, Any]) -> Finding:
    assert not result["ok"], result["findings"]
    findings: list[Finding] = result["findings"]
    return next(finding for finding in findings if finding.verdict == "failed")


def verdicts(result: dict[str, Any]) -> dict[str, str]:
    return {finding.check: finding.verdict for finding in result["findings"]}
