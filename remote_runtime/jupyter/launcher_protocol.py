"""What is said and heard while the launcher runs: a question first, the program once Python has answered it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any

from ..core.callbacks import Outcome, Tell
from ..core.deadline import Deadline
from ..core.errors import DeadlinePassed, MachineError, RemoteRuntimeError, SshError
from ..core.sanitize import clean, clean_line
from .python_command import DEAF
from .remote.reply import NO, YES

ANSWERS_LIMIT = 20_000
SAY_LIMIT = 200
ERROR_LIMIT = 8_000
MOST_WORDS = 5
# A shell that login files put in Python's place ends by it (fish by the end of its input only), `read` is answered;
# Python passes over it.
NUDGE = b"exit\n"
OBEYED_S = 2.0
CHECK_THE_LOGIN = "`remote-runtime ssh PROFILE -- true` must end at once and print nothing"
LEAVE_THE_STREAMS = "In the login files there, redirect (`exec >FILE`) only if interactive: `[[ $- == *i* ]] && exec …`"
ONLY_INTERACTIVE = "In the login files there, start another shell only if interactive: `[[ $- == *i* ]] && exec SHELL`"


class NotRun(SshError):
    """``ssh-refused``: the login ran none of what was sent."""


class GivenUp(Exception):
    """Python did not answer, nor did the end of the input end what is there instead."""


class Dialogue:
    """One command of the machine's, as ``protocols.Run`` wants it: ``take`` hears its lines, ``reply`` says what to
    send. Until its line ``ready`` has come nothing is sent but, after ``patience_s``, a line that ends a shell, and
    after half as long again the end of the input. ``is_late``: Python answered after that, and can hear nothing more.
    After twice ``patience_s`` ``reply`` raises ``GivenUp``, unless commands are run.

    ``mark``: a line that shows that commands are run at all. ``program``: made when it is sent. ``reaches``: whether
    the SSH server leads to a place of the machine.
    """

    def __init__(
        self,
        marker: str,
        ready: str,
        mark: str,
        program: Callable[[], bytes],
        tell: Tell,
        *,
        patience_s: float,
        reaches: Callable[[str | int], bool] | None = None,
    ) -> None:
        self._marker = marker
        self._ready = ready
        self._mark = mark
        self._program = program
        self._tell = tell
        self._reaches = reaches
        now = time.monotonic()
        self._nudges: list[tuple[float, bytes | None]] = [(now + patience_s, NUDGE), (now + 1.5 * patience_s, None)]
        self._gives_up_at = now + 2 * patience_s
        self._due: list[bytes] = []
        self._count = 0
        self._last_said = ""
        self._result: dict[str, Any] | None = None
        self._error: dict[str, Any] | None = None
        self._nudged_at: float | None = None
        self.words: list[str] = []
        self.began = False
        self.runs = False
        self.is_late = False

    def take(self, line: str) -> bool:
        """Whether nothing more is to be heard."""
        if line == self._ready and not self.began:
            self.began = self._nudged_at is None or len(self._nudges) > 0
            self.is_late = not self.began
            self._due += [self._program()] if self.began else []
        elif line.startswith(self._marker):
            self._take_answer(line[len(self._marker) :])
        elif line == self._mark:
            self.runs = True
        elif not self.began and line.strip() and len(self.words) < MOST_WORDS:
            self.words.append(clean_line(line, SAY_LIMIT))
        return self.is_late or self._result is not None or self._error is not None

    def reply(self) -> bytes | None:
        if not self.began and self._nudges and time.monotonic() > self._nudges[0][0]:
            self._nudged_at = time.monotonic()
            self._tell("Waiting for the login files of the machine")
            return self._nudges.pop(0)[1]
        if not (self.began or self.runs) and time.monotonic() > self._gives_up_at:
            raise GivenUp
        return self._due.pop(0) if self._due else b""

    def _take_answer(self, text: str) -> None:
        self.began = True
        self._count += 1
        if self._count > ANSWERS_LIMIT or self._result is not None or self._error is not None:
            raise invalid("it goes on answering")
        try:
            # JSON can name halves of characters, which nothing can be sent or shown in: paths that are not UTF-8 do.
            answer = json.loads(json.dumps(json.loads(text), ensure_ascii=False).encode("utf-8", "replace"))
        except (ValueError, RecursionError):
            raise invalid("an answer is not JSON") from None
        match answer:
            case {"say": str(said)}:
                self._last_said = clean_line(said, SAY_LIMIT)
                self._tell(self._last_said)
            case {"result": dict(result)}:
                self._result = result
            case {"error": dict(error)}:
                self._error = error
            case {"reach": str() | int() as place} if self._reaches is not None:
                self._due.append(YES if self._reaches(place) else NO)
            case {"tick": _}:
                pass
            case _:
                raise invalid("an answer of an unknown kind")

    def result_of(self, outcome: Outcome) -> dict[str, Any]:
        if self._error is not None:
            raise reported(self._error)
        if outcome.status == DEAF and not self._count:
            raise _misled("take the input of commands for themselves", self.said())
        if self._result is None:
            ended = "the connection was lost" if outcome.status is None else f"exit status {outcome.status}"
            raise invalid(f"no result ({ended}) {clean(outcome.stderr, 2000)}".strip())
        return self._result

    def took_too_long(self, deadline: Deadline, stderr: str) -> RemoteRuntimeError:
        """With what was heard last."""
        after = f"more than {deadline.within_s:.0f} s"
        if self.began:
            why = f"the last that it told was: {self._last_said}" if self._last_said else "it had told nothing yet"
            return DeadlinePassed(f"Python on the machine took {after}", why)
        if self.runs:
            names = "; ".join(reasons(stderr, self._mark)) or "nothing was found yet"
            return DeadlinePassed(f"Looking for a Python on the machine took {after}", names)
        if printed := self._printed(stderr):
            why = f"after {deadline.within_s:.0f} s the login has not ended; it printed: {printed}"
            return SshError("ssh-refused", "The machine does not run commands", why, CHECK_THE_LOGIN)
        why = "its login files, or a command that is forced on this login, have not ended and print nothing"
        return DeadlinePassed(f"The login on the machine took {after}", why, CHECK_THE_LOGIN)

    def not_run(self, outcome: Outcome) -> SshError:
        """No command of ours is run in this login."""
        printed = self._printed(outcome.stderr)
        if outcome.status == DEAF:
            return _misled("redirect what commands print", printed)
        ended = f"the login ended with exit status {outcome.status}"
        why = f"{ended}; it printed: {printed}" if printed else f"{ended}, and printed nothing"
        if outcome.forced:
            why, hint = f"{outcome.forced} forces a command on this key; {why}", "Set another key: `ssh.identity_file`"
            return SshError("ssh-refused", "The machine runs another command", why, hint)
        if self.obeyed():
            what = "The login files of the machine start another program, which waits for input"
            return SshError("ssh-refused", what, why, ONLY_INTERACTIVE)
        return SshError("ssh-refused", "The machine does not run commands", why, CHECK_THE_LOGIN)

    def obeyed(self) -> bool:
        """Whether the command has ended just now because of the line that ends a shell."""
        return self._nudged_at is not None and time.monotonic() - self._nudged_at < OBEYED_S

    def endless(self) -> SshError:
        """More was printed than is read, and none of it was Python's."""
        what = "The login files of the machine print without end"
        return SshError("ssh-refused", what, f"they printed: {self.said()}" if self.words else "", CHECK_THE_LOGIN)

    def said(self) -> str:
        return " / ".join(self.words)

    def _printed(self, stderr: str) -> str:
        lines = [
            line for line in stderr.splitlines() if line.strip() and not line.startswith((self._mark, self._ready))
        ]
        return "; ".join(
            filter(None, [self.said(), " / ".join(clean_line(line, SAY_LIMIT) for line in lines[-MOST_WORDS:])])
        )


def reasons(stderr: str, mark: str) -> list[str]:
    """``PATH: its words`` of each Python that was tried."""
    told: dict[str, str] = {}
    for part in re.split(rf"^{re.escape(mark)} ", stderr, flags=re.MULTILINE)[1:]:
        path, *lines = [line.strip() for line in part.splitlines() if line.strip()] or [""]
        telling = next((line for line in lines if "rror" in line), lines[0] if lines else "it does not run")
        told.setdefault(clean_line(path, SAY_LIMIT), clean_line(telling, SAY_LIMIT))
    return [f"{path}: {words}" for path, words in told.items()]


def reported(error: dict[str, Any]) -> MachineError:
    """The error that the launcher describes. Its words are the machine's: they are cleaned, and a hint is marked."""
    code = error.get("code")
    if not isinstance(code, str) or code not in MachineError.codes:
        return invalid("an error with an unknown code")
    what, why, hint = (error.get(key, "") for key in ("what", "why", "hint"))
    advice = clean_line(str(hint), SAY_LIMIT)
    return MachineError(
        code,
        clean_line(str(what), SAY_LIMIT),
        clean(str(why), ERROR_LIMIT),
        f"The machine says: {advice}"[:SAY_LIMIT] if advice else "",
    )


def invalid(why: str) -> MachineError:
    return MachineError("machine-answer-invalid", "The machine's answer is not what our launcher sends", why)


def _misled(how: str, printed: str) -> NotRun:
    """Python runs, and the login files stand between it and us."""
    why = f"Python runs there, and nothing gets through to it{f'; printed was: {printed}' if printed else ''}"
    return NotRun("ssh-refused", f"The login files of the machine {how}", why, LEAVE_THE_STREAMS)
