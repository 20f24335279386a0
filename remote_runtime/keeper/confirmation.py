"""Asks before a VM is created: it costs money."""

from __future__ import annotations

import threading

from ..core.creation import CreationPlan
from ..core.deadline import Deadline
from ..core.errors import RemoteRuntimeError, UsageError
from .subscribers import Subscribers

CODE = "confirmation-needed"
YES_HINT = "Run `remote-runtime up PROFILE --yes`"
ANSWER_TIMEOUT_S = 600.0


def confirm_creation(subscribers: Subscribers, cancelled: threading.Event, plan: CreationPlan, *, agreed: bool) -> None:
    """Returns if a user at a terminal agrees, or has ``agreed`` before. Raises ``UsageError`` ``confirmation-needed``,
    ``Interrupted``."""
    if agreed:
        return
    question, deadline = f"Create {plan.instance}? [y/N]", Deadline(ANSWER_TIMEOUT_S, cancelled)
    try:
        answer = subscribers.prompt(question, secret=False, code=CODE, deadline=deadline)
    except RemoteRuntimeError as error:
        if error.code != CODE:
            raise
        what = f"{plan.instance} does not exist, and creating it requires a confirmation"
        raise UsageError(CODE, what, error.why, YES_HINT) from error
    if answer.strip().lower() not in ("y", "yes"):
        raise UsageError(CODE, f"{plan.instance} was not created", "the answer was not yes", YES_HINT)
