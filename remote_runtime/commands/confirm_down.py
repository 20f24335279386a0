"""The questions of `down`: before it ends running work, and before it deletes a VM."""

from __future__ import annotations

from ..core.errors import LocalError, UsageError
from .context import View


def confirm_busy(name: str, why: str, view: View) -> None:
    """Returns if running work can be ended. Raises ``LocalError`` ``busy``."""
    if not view.interactive:
        raise LocalError("busy", f"{name} was not stopped", why, "--force stops it anyway")
    if not view.confirm(name, f"{why[:1].upper()}{why[1:]} on {name}. Stop it anyway?"):
        raise LocalError("busy", f"{name} was not stopped", why)


def confirm_deletion(name: str, question: str, view: View) -> None:
    """Returns if the VM can be deleted. Raises ``UsageError`` ``confirmation-needed``."""
    hint = "Run `remote-runtime down PROFILE --delete-instance --yes`"
    if not view.interactive:
        what = f"Deleting the VM of {name} requires a confirmation"
        raise UsageError("confirmation-needed", what, f"stdin is not a terminal, and the question is: {question}", hint)
    if not view.confirm(name, question):
        raise UsageError("confirmation-needed", f"{name} was not stopped", "the answer was not yes", hint)
