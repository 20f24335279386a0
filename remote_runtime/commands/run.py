"""`run`: starts a runtime for one program or notebook, and stops it afterwards."""

from __future__ import annotations

from typing import Any

from ..core.move import UpConsent
from ..profiles import name_of
from ..state import store
from .context import CommandContext
from .down import DownOptions, down
from .up import Options, up


def is_running(reference: str, context: CommandContext) -> bool:
    return store.is_alive(context.state, name_of(reference))


def start_for_code(reference: str, context: CommandContext, *, yes: bool) -> dict[str, Any]:
    """RUNTIME when it is ready. Raises as ``up``, which has undone everything then."""
    return up(reference, Options(consent=UpConsent(yes)), context, on_ready=lambda runtime: None)


def stop_after_code(reference: str, context: CommandContext, *, yes: bool) -> dict[str, Any]:
    """As the profile's ``on_down`` says. Code that is still running is stopped. Raises as ``down``."""
    return down(name_of(reference), DownOptions(stop_busy=True, yes=yes), context)
