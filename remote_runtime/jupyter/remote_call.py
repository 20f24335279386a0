"""One round trip: the launcher and its orders go to the machine's Python, its answers come back checked."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..core.callbacks import Outcome, Run, Tell
from ..core.deadline import Deadline
from ..core.errors import DeadlinePassed, MachineError, SshError
from .launcher_protocol import Dialogue, GivenUp, reasons
from .launcher_protocol import invalid as invalid
from .python_command import PYTHON, PYTHONS, command, document, search

# The launcher stops waiting first, so that it can still say what it waited for.
MARGIN_S = 2.0
# Login files may take their time; `read` in one of them, with a limit of its own, too.
PATIENCE_S = 6.0
AGAIN_S = 0.5


def ask(
    run: Run,
    orders: Mapping[str, Any],
    *,
    python: str,
    tell: Tell,
    deadline: Deadline,
    reaches: Callable[[str | int], bool] | None = None,
    began: Callable[[], None] = lambda: None,
    patience_s: float = PATIENCE_S,
) -> dict[str, Any]:
    """The launcher's result for ``orders``, still to be checked by who asked.

    ``python``: ``auto``, or a path on the machine. ``reaches``: whether the SSH server leads to a unix socket or port
    of the machine, for a launcher that asks. ``began``: called when the orders are sent. ``patience_s``: see
    ``Dialogue``.

    Raises ``MachineError``: what the launcher reports, ``python-missing``, or ``machine-answer-invalid``; ``SshError``
    ``ssh-refused`` where the login runs no command, and ``ssh-unreachable``.
    """
    marker, ready, mark = (f"rr-{each}{secrets.token_hex(12)}" for each in ("", "ready-", "tried-"))
    marker += ":"

    def program() -> bytes:
        began()
        within_s = max(1.0, deadline.remaining_s() - MARGIN_S)
        return document({**orders, "marker": marker, "within_s": within_s})

    direct = PYTHON if python == "auto" else python
    pythons = PYTHONS if python == "auto" else (python,)

    def converse(words: Sequence[str], patience_s: float) -> tuple[Dialogue, Outcome]:
        talk = Dialogue(marker, ready, mark, program, tell, patience_s=patience_s, reaches=reaches)
        try:
            outcome = run(words, stdin=b"", on_line=talk.take, reply=talk.reply, deadline=deadline)
        except DeadlinePassed as error:
            raise talk.took_too_long(deadline, error.why) from error
        except MachineError as error:
            if talk.began:
                raise
            raise (GivenUp() if words[0] == direct else talk.endless()) from error
        return converse(words, math.inf) if talk.is_late else (talk, outcome)

    for words in (command(direct, ready), search(pythons, ready, mark)):
        try:
            talk, outcome = converse(words, patience_s)
        except GivenUp:  # a Python that hangs or prints without end, or a login that does
            patience_s = math.inf
            continue
        if talk.began:
            return talk.result_of(outcome)
        if outcome.status is None:
            raise SshError("ssh-unreachable", "The SSH connection is lost", outcome.stderr)
        if talk.obeyed():
            patience_s = min(patience_s, AGAIN_S)
    if not talk.runs:
        raise talk.not_run(outcome)
    names = ", ".join(pythons) if python == "auto" else python
    told = "; ".join(reasons(outcome.stderr, mark)) or "none of them is there"
    raise MachineError(
        "python-missing", "The machine has no usable Python", f"tried {names}: {told}",
        "Install Python 3.8 or newer there, or name it: `jupyter.python`",
    )  # fmt: skip
