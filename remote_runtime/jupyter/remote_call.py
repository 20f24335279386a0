"""One round trip: the launcher and its orders go to the machine's Python, its answers come back checked."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..core.callbacks import CommandResult, Progress, RunCommand
from ..core.deadline import Deadline
from ..core.errors import DeadlinePassed, MachineError, SshError
from .launcher_protocol import LauncherProtocol, PythonUnresponsive, probe_failures
from .launcher_protocol import invalid_reply as invalid_reply
from .python_command import PYTHON, PYTHONS, direct_command, launcher_input, search_command

# The launcher stops waiting first, so that it can still say what it waited for.
MARGIN_S = 2.0
# Login files may take their time; `read` in one of them, with a limit of its own, too.
LOGIN_WAIT_S = 6.0
RETRY_LOGIN_WAIT_S = 0.5


def call_launcher(
    run: RunCommand,
    request: Mapping[str, Any],
    *,
    python: str,
    progress: Progress,
    deadline: Deadline,
    can_forward_to: Callable[[str | int], bool] | None = None,
    on_start: Callable[[], None] = lambda: None,
    login_wait_s: float = LOGIN_WAIT_S,
) -> dict[str, Any]:
    """The launcher's result for ``orders``, still to be checked by who asked.

    ``python``: ``auto``, or a path on the machine. ``reaches``: whether the SSH server leads to a unix socket or port
    of the machine, for a launcher that asks. ``began``: called when the orders are sent. ``patience_s``: see
    ``Dialogue``.

    Raises ``MachineError``: what the launcher reports, ``python-missing``, or ``machine-answer-invalid``; ``SshError``
    ``ssh-refused`` where the login runs no command, and ``ssh-unreachable``.
    """
    marker, ready, search_marker = (f"rr-{each}{secrets.token_hex(12)}" for each in ("", "ready-", "tried-"))
    marker += ":"

    def program() -> bytes:
        on_start()
        within_s = max(1.0, deadline.remaining_s() - MARGIN_S)
        return launcher_input({**request, "marker": marker, "within_s": within_s})

    first_python = PYTHON if python == "auto" else python
    candidates = PYTHONS if python == "auto" else (python,)

    def attempt(argv: Sequence[str], login_wait_s: float) -> tuple[LauncherProtocol, CommandResult]:
        protocol = LauncherProtocol(
            marker, ready, search_marker, program, progress, login_wait_s=login_wait_s, can_forward_to=can_forward_to
        )
        try:
            outcome = run(argv, stdin=b"", on_line=protocol.on_line, reply=protocol.next_input, deadline=deadline)
        except DeadlinePassed as error:
            raise protocol.timeout_error(deadline, error.why) from error
        except MachineError as error:
            if protocol.has_started:
                raise
            raise (PythonUnresponsive() if argv[0] == first_python else protocol.endless_output_error()) from error
        return attempt(argv, math.inf) if protocol.is_late else (protocol, outcome)

    for argv in (direct_command(first_python, ready), search_command(candidates, ready, search_marker)):
        try:
            protocol, outcome = attempt(argv, login_wait_s)
        except PythonUnresponsive:  # a Python that hangs or prints without end, or a login that does
            login_wait_s = math.inf
            continue
        if protocol.has_started:
            return protocol.result(outcome)
        if outcome.status is None:
            raise SshError("ssh-unreachable", "The SSH connection is lost", outcome.stderr)
        if protocol.ended_by_exit():
            login_wait_s = min(login_wait_s, RETRY_LOGIN_WAIT_S)
    if not protocol.runs_commands:
        raise protocol.not_run_error(outcome)
    names = ", ".join(candidates) if python == "auto" else python
    failures = "; ".join(probe_failures(outcome.stderr, search_marker)) or "none of them is there"
    raise MachineError(
        "python-missing", "The machine has no usable Python", f"tried {names}: {failures}",
        "Install Python 3.8 or newer there, or name it: `jupyter.python`",
    )  # fmt: skip
