"""Asks before a VM is created, or moved to another zone: both cost money."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from typing import Any

from ..core.creation import CreationPlan
from ..core.deadline import Deadline
from ..core.errors import RemoteRuntimeError, UsageError
from ..core.move import MovePlan, UpConsent
from ..lifecycle.context import MayMove
from ..lifecycle.move import finish_move
from ..targets import Target
from .subscribers import Subscribers

CODE = "confirmation-needed"
ANSWER_TIMEOUT_S = 600.0


@dataclass
class Confirmations:
    """The questions of the present `up`. ``consent``: what its user agreed to in advance."""

    subscribers: Subscribers
    cancelled: threading.Event
    consent: UpConsent = field(default_factory=UpConsent)
    _moved: MovePlan | None = field(default=None, init=False)

    def confirm_creation(self, plan: CreationPlan) -> None:
        """Returns if a user at a terminal agrees, or has agreed before. Raises ``UsageError`` ``confirmation-needed``,
        ``Interrupted``."""
        if why := self._refusal(f"Create {plan.instance}?"):
            reason = f"it does not exist, and creating it requires a confirmation: {why}"
            raise UsageError(CODE, f"{plan.instance} was not created", reason, "Run `remote-runtime up PROFILE --yes`")

    def for_context(self, consent: UpConsent, kind: str) -> dict[str, Any]:
        """The questions, as fields of ``BringUpContext``. ``kind``: of the target; a demo costs nothing."""
        self.consent = replace(consent, yes=consent.yes or kind == "demo")
        may_move = MayMove(self._confirm_move, self._keep, consent.delete_old) if consent.move else None
        return {"confirm_creation": self.confirm_creation, "may_move": may_move}

    def finish_move(self, target: Target) -> None:
        """After the new VM has become ready, and that is saved: else its failure could delete the only copy."""
        plan, self._moved = self._moved, None
        if plan is not None:
            finish_move(plan, target, self.subscribers, delete_old=self.consent.delete_old)

    def _confirm_move(self, plan: MovePlan) -> None:
        name, delete_old = plan.creation.instance, " --delete-old" * self.consent.delete_old
        if why := self._refusal(f"Move {name} to {next(zone.name for zone in plan.creation.zones if not zone.skip)}?"):
            hint = f"Run `remote-runtime up PROFILE --move{delete_old} --yes`"
            raise UsageError(CODE, f"{name} was not moved", f"moving it requires a confirmation: {why}", hint)

    def _keep(self, plan: MovePlan) -> None:
        self._moved = plan

    def _refusal(self, question: str) -> str:
        """Empty if a user at a terminal agrees, or has agreed before; else the reason. Raises ``Interrupted``."""
        if self.consent.yes:
            return ""
        deadline = Deadline(ANSWER_TIMEOUT_S, self.cancelled)
        try:
            answer = self.subscribers.prompt(f"{question} [y/N]", secret=False, code=CODE, deadline=deadline)
        except RemoteRuntimeError as error:
            if error.code != CODE:
                raise
            return error.why
        return "" if answer.strip().lower() in ("y", "yes") else "the answer was not yes"
