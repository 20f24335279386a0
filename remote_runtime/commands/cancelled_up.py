"""The error of an `up` that failed, or that was cancelled: by Ctrl-C, or by its deadline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.deadline import Deadline
from ..core.errors import DeadlinePassed, Interrupted, RemoteRuntimeError, from_dict


def failure_of(event: Mapping[str, Any], cancel_reason: RemoteRuntimeError | None, current: str) -> RemoteRuntimeError:
    """The error of the keeper's ``failed`` event. ``cancel_reason``: why the command cancelled its work, if it did;
    ``current``: what was being done when the command was cancelled."""
    cause = error = from_dict(event["error"])
    is_cancelled = cause.code in ("interrupted", "deadline-passed")
    if cancel_reason is not None and (event.get("undone") or is_cancelled):
        error = cancel_reason
        if isinstance(error, DeadlinePassed):
            error.why = _describe_wait(current) if is_cancelled else str(cause)
        elif not event.get("undone"):  # other commands keep it
            error.why, error.hint = cause.why, cause.hint
    error.remains = tuple(event["remains"])
    if error.remains:
        error.why = "" if isinstance(error, Interrupted) else error.why
        error.hint = "`remote-runtime down PROFILE`"
    elif error is not cancel_reason:
        error.hint = error.hint or "`remote-runtime doctor PROFILE`"
    return error


def _describe_wait(text: str) -> str:
    """Why a deadline has passed, by the progress that was reported last."""
    is_activity = text.partition(" ")[0].endswith("ing")
    return f"it was still {text[:1].lower()}{text[1:]}" if is_activity else text


def cancel_reason_of(deadline: Deadline, name: str) -> RemoteRuntimeError | None:
    if deadline.cancelled.is_set():
        return Interrupted(why="Nothing was left running")
    if deadline.passed():
        return DeadlinePassed(
            f"{name} was not ready within {deadline.timeout_s:.0f} s",
            hint="Allow more time: run `remote-runtime up PROFILE --timeout SECONDS`",
        )
    return None
