"""One round trip: the launcher and its orders go to the machine's Python, its answers come back checked."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import MachineError
from ..protocols import Outcome, Run, Tell
from ..untrusted import clean, clean_line
from ..waits import Deadline
from .machine import SOURCES

# Without the empty entry of sys.path, which is the login's folder: a random.py of the user's must not be run there.
ENTRY = (
    "import sys;sys.path[:]=[p for p in sys.path if p];exec(sys.stdin.buffer.read(int(sys.stdin.buffer.readline())))"
)
PYTHONS = ("python3", "python", "/usr/bin/python3", "/opt/conda/bin/python3", "/usr/local/bin/python3")
# 127: the shell found no such command, 126: it may not be run, 9009: the same words from Windows.
NOT_THERE = (126, 127, 9009)
ANSWERS_LIMIT = 20_000
SAY_LIMIT = 200
ERROR_LIMIT = 8_000
# The launcher stops waiting first, so that it can still say what it waited for.
MARGIN_S = 2.0


def ask(run: Run, orders: Mapping[str, Any], *, python: str, tell: Tell, deadline: Deadline) -> dict[str, Any]:
    """The launcher's result for ``orders``, still to be checked by who asked.

    ``python``: ``auto``, or a path on the machine. Raises ``MachineError``: what the launcher reports,
    ``python-missing``, or ``machine-answer-invalid``.
    """
    marker = f"rr-{secrets.token_hex(12)}:"
    for name in PYTHONS if python == "auto" else (python,):
        answers = Answers(marker, tell)
        within_s = max(1.0, deadline.remaining_s() - MARGIN_S)
        outcome = run(
            command(name), stdin=document({**orders, "marker": marker, "within_s": within_s}),
            on_line=answers.take, deadline=deadline,
        )  # fmt: skip
        if answers.silent and (outcome.status in NOT_THERE or _is_python_2(outcome)):
            continue
        return answers.result_of(outcome)
    tried = ", ".join(PYTHONS) if python == "auto" else python
    raise MachineError(
        "python-missing", "The machine has no usable Python", f"tried {tried}",
        "Install Python 3.8 or newer there, or name it: `jupyter.python`",
    )  # fmt: skip


def command(python: str) -> tuple[str, ...]:
    """Reads the launcher's length, the launcher, and leaves the orders on stdin to it. ``-S``: it needs nothing that is
    installed there, so what others put into site-packages neither slows it down nor is run."""
    return (python, "-S", "-c", ENTRY)


def document(orders: Mapping[str, Any]) -> bytes:
    """What stdin carries: ``LENGTH\\n``, the launcher, its orders as JSON (with the modules that it needs)."""
    here = Path(__file__).parent
    launcher = (here / "launcher.py").read_text(encoding="utf-8")
    sources = [[name, (here / "machine" / f"{name}.py").read_text(encoding="utf-8")] for name in SOURCES]
    source = launcher.encode()
    return b"%d\n" % len(source) + source + json.dumps({**orders, "launcher": launcher, "sources": sources}).encode()


class Answers:
    """Collects the launcher's lines. Whatever else the machine prints is ignored."""

    def __init__(self, marker: str, tell: Tell) -> None:
        self._marker = marker
        self._tell = tell
        self._count = 0
        self._result: dict[str, Any] | None = None
        self._error: dict[str, Any] | None = None

    @property
    def silent(self) -> bool:
        return self._count == 0

    def take(self, line: str) -> None:
        if not line.startswith(self._marker):
            return
        self._count += 1
        if self._count > ANSWERS_LIMIT or self._result is not None or self._error is not None:
            raise invalid("it goes on answering")
        try:
            answer = json.loads(line[len(self._marker) :])
        except (ValueError, RecursionError):
            raise invalid("an answer is not JSON") from None
        match answer:
            case {"say": str(text)}:
                self._tell(clean_line(text, SAY_LIMIT))
            case {"result": dict(result)}:
                self._result = result
            case {"error": dict(error)}:
                self._error = error
            case {"tick": _}:
                pass
            case _:
                raise invalid("an answer of an unknown kind")

    def result_of(self, outcome: Outcome) -> dict[str, Any]:
        if self._error is not None:
            raise reported(self._error)
        if self._result is None:
            ended = "the connection was lost" if outcome.status is None else f"exit status {outcome.status}"
            raise invalid(f"no result ({ended}) {clean(outcome.stderr, 2000)}".strip())
        return self._result


def reported(error: Mapping[str, Any]) -> MachineError:
    """The error that the launcher describes; its words are the machine's, so they are cleaned."""
    code = error.get("code")
    if not isinstance(code, str) or code not in MachineError.codes:
        return invalid("an error with an unknown code")
    what, why, hint = (error.get(key, "") for key in ("what", "why", "hint"))
    return MachineError(
        code, clean_line(str(what), SAY_LIMIT), clean(str(why), ERROR_LIMIT), clean_line(str(hint), SAY_LIMIT)
    )


def invalid(why: str) -> MachineError:
    return MachineError("machine-answer-invalid", "The machine's answer is not what our launcher sends", why)


def _is_python_2(outcome: Outcome) -> bool:
    return "has no attribute 'buffer'" in outcome.stderr
